//! Fetching a wheel from `vctl` over a channel. The server asks, the client answers; both know the channel's name from the call that
//! installs. Source: vip-zmq.md §8.2, VOLTTRON `volttron/platform/control/control_connection.py` and `control.py` of version 6.
//!
//! Bounds: a wheel has at most [`PACKAGE_BYTES_MAX`] bytes, each answer comes within 30 s and the whole within 5 minutes, and no more than
//! [`TRANSFERS_MAX`] go on at the same time.

use std::time::Duration;

use sha2::{Digest, Sha512};
use tokio::sync::{Semaphore, SemaphorePermit};
use vt_backends::packages::PACKAGE_BYTES_MAX;
use vt_backends::{Channel, ChannelError};

use crate::ServiceError;

/// Name of the channel of versions 7 to 10; version 6 makes up a name.
const CHANNEL_OF_9: &str = "agent_sender";
/// How much version 9 is asked for at once, bytes.
const CHUNK_OF_9: usize = 1_000_000;
/// How much version 6 is asked for at once, bytes; it cannot do more.
const CHUNK_OF_6: usize = 4096;
/// How long the client may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long the whole may take; clients wait no longer for their agent.
const TRANSFER_LIMIT: Duration = Duration::from_secs(300);
/// Wheels that may be on their way; of each up to [`PACKAGE_BYTES_MAX`] bytes are held.
const TRANSFERS_MAX: usize = 4;

/// Places for those that go on.
pub struct Transfers(Semaphore);

impl Default for Transfers {
    fn default() -> Self {
        Self(Semaphore::new(TRANSFERS_MAX))
    }
}

impl Transfers {
    /// A place, until it is dropped.
    pub fn enter(&self) -> Result<SemaphorePermit<'_>, ServiceError> {
        let full =
            || ServiceError::Unavailable(format!("{TRANSFERS_MAX} wheels are being sent already; try again when one of them is here"));
        self.0.try_acquire().map_err(|_| full())
    }
}

/// Fetches the whole content.
pub async fn fetch(mut channel: Box<dyn Channel>, name: &str) -> Result<Vec<u8>, ServiceError> {
    let mut transfer = Transfer { channel: channel.as_mut(), content: Vec::new(), digest: Sha512::new() };
    let whole = async {
        match name {
            CHANNEL_OF_9 => transfer.fetch_9().await,
            _ => transfer.fetch_6().await,
        }
    };
    let late = || ServiceError::Timeout(format!("the wheel was not here after {} s; nothing was installed", TRANSFER_LIMIT.as_secs()));
    tokio::time::timeout(TRANSFER_LIMIT, whole).await.map_err(|_| late())??;
    Ok(transfer.content)
}

struct Transfer<'a> {
    channel: &'a mut dyn Channel,
    content: Vec<u8>,
    digest: Sha512,
}

impl Transfer<'_> {
    async fn fetch_9(&mut self) -> Result<(), ServiceError> {
        let words = |text: String| vec![text.into_bytes()];
        loop {
            let chunk = self.ask(words(format!("[\"fetch\", {CHUNK_OF_9}]"))).await?;
            if chunk == b"complete" {
                return Ok(());
            }
            self.take(&chunk)?;
            let digest = self.ask(words("[\"checksum\"]".to_owned())).await?;
            self.compare(&digest)?;
        }
    }

    async fn fetch_6(&mut self) -> Result<(), ServiceError> {
        loop {
            let offset = self.content.len().to_string().into_bytes();
            let chunk = self.ask(vec![b"fetch".to_vec(), offset, CHUNK_OF_6.to_string().into_bytes()]).await?;
            self.take(&chunk)?;
            if chunk.len() < CHUNK_OF_6 {
                break;
            }
        }
        let digest = self.ask(vec![b"checksum".to_vec(), Vec::new(), Vec::new()]).await?;
        self.compare(&digest)
    }

    async fn ask(&mut self, frames: Vec<Vec<u8>>) -> Result<Vec<u8>, ServiceError> {
        self.channel.send(frames).await?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.channel.receive()).await;
        let frames = answer.map_err(|_| ServiceError::Timeout("the client that sends the wheel does not answer".to_owned()))??;
        frames.into_iter().next().ok_or_else(|| ServiceError::Invalid("the client that sends the wheel answered with nothing".to_owned()))
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), ServiceError> {
        if self.content.len() + chunk.len() > PACKAGE_BYTES_MAX {
            return Err(ServiceError::Invalid(format!("the wheel has more than the {PACKAGE_BYTES_MAX} bytes allowed here")));
        }
        self.content.extend_from_slice(chunk);
        self.digest.update(chunk);
        Ok(())
    }

    fn compare(&self, digest: &[u8]) -> Result<(), ServiceError> {
        if self.digest.clone().finalize()[..] == *digest {
            return Ok(());
        }
        Err(ServiceError::Invalid("the wheel's checksum does not match; nothing was installed".to_owned()))
    }
}

impl From<ChannelError> for ServiceError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::InUse { .. } => Self::Conflict(error.to_string()),
            ChannelError::NoPeer(_) | ChannelError::Full(_) | ChannelError::Gone(_) => Self::Unavailable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use vt_backends::Channels;
    use vt_backends::memory::{MemoryChannel, MemoryChannels};
    use vt_types::Identity;

    use super::*;

    async fn ends(name: &str) -> (Box<dyn Channel>, MemoryChannel) {
        let channels = MemoryChannels::default();
        let (control, vctl) = (Identity::known("control"), Identity::known("control.connection"));
        let far = channels.peer(&vctl, name);
        (channels.open(&control, &vctl, name).await.unwrap(), far)
    }

    /// VOLTTRON 9's side.
    async fn client_9(mut far: MemoryChannel, content: Vec<u8>, spoil: bool) {
        let mut sent = 0;
        while let Ok(frames) = far.receive().await {
            assert_eq!(frames.len(), 1);
            let asked: serde_json::Value = serde_json::from_slice(&frames[0]).unwrap();
            let answer = match asked[0].as_str().unwrap() {
                "fetch" => {
                    assert_eq!(asked[1], 1_000_000);
                    let chunk = &content[sent..content.len().min(sent + 1_000_000)];
                    sent += chunk.len();
                    if chunk.is_empty() { b"complete".to_vec() } else { chunk.to_vec() }
                }
                _ => Sha512::digest(&content[..if spoil { 0 } else { sent }]).to_vec(),
            };
            far.send(vec![answer]).await.unwrap();
        }
    }

    /// VOLTTRON 6's side.
    async fn client_6(mut far: MemoryChannel, content: Vec<u8>) {
        while let Ok(frames) = far.receive().await {
            let [what, offset, size] = frames.try_into().unwrap();
            let number = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().parse::<usize>().unwrap();
            let answer = match what.as_slice() {
                b"fetch" => {
                    let from = number(offset);
                    content[from..content.len().min(from + number(size))].to_vec()
                }
                _ => Sha512::digest(&content).to_vec(),
            };
            far.send(vec![answer]).await.unwrap();
        }
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[tokio::test]
    async fn version_9_sends_chunks_with_a_checksum_after_each() {
        for size in [0, 1, 1_000_000, 2_500_000] {
            let (near, far) = ends("agent_sender").await;
            let (fetched, ()) = tokio::join!(fetch(near, "agent_sender"), client_9(far, content(size), false));
            assert!(fetched.unwrap() == content(size), "{size}");
        }
    }

    #[tokio::test]
    async fn version_6_is_asked_for_offsets_until_a_short_answer() {
        for size in [0, 1, 4096, 10_000] {
            let (near, far) = ends("9f0a").await;
            let (fetched, ()) = tokio::join!(fetch(near, "9f0a"), client_6(far, content(size)));
            assert!(fetched.unwrap() == content(size), "{size}");
        }
    }

    #[tokio::test]
    async fn a_wrong_checksum_and_a_client_that_leaves_end_it() {
        let (near, far) = ends("agent_sender").await;
        let (fetched, ()) = tokio::join!(fetch(near, "agent_sender"), client_9(far, content(10), true));
        assert!(matches!(fetched, Err(ServiceError::Invalid(text)) if text.contains("checksum")));
        let (near, far) = ends("agent_sender").await;
        drop(far);
        assert!(matches!(fetch(near, "agent_sender").await, Err(ServiceError::Unavailable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_answer_is_not_waited_for_for_ever() {
        let (near, _far) = ends("agent_sender").await;
        assert!(matches!(fetch(near, "agent_sender").await, Err(ServiceError::Timeout(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_slowly_is_not_waited_for_for_ever() {
        let (near, mut far) = ends("9f0a").await;
        let drip = async {
            // Full answers, so that version 6's way would go on.
            while far.receive().await.is_ok() {
                tokio::time::sleep(ANSWER_LIMIT / 2).await;
                if far.send(vec![vec![0; CHUNK_OF_6]]).await.is_err() {
                    break;
                }
            }
        };
        let began = tokio::time::Instant::now();
        let (fetched, ()) = tokio::join!(fetch(near, "9f0a"), drip);
        assert!(matches!(fetched, Err(ServiceError::Timeout(text)) if text.contains("300 s")));
        assert!(began.elapsed() <= TRANSFER_LIMIT + ANSWER_LIMIT);
    }

    #[test]
    fn only_so_many_go_on_at_the_same_time() {
        let transfers = Transfers::default();
        let mut places: Vec<_> = (0..TRANSFERS_MAX).map(|_| transfers.enter().unwrap()).collect();
        assert!(matches!(transfers.enter(), Err(ServiceError::Unavailable(_))));
        places.pop();
        assert!(transfers.enter().is_ok());
    }
}
