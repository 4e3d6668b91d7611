//! One persistent TCP connection to one device: opened when first needed, opened again after it broke, with growing pauses while the
//! device is away. Requests of one device go one after the other; devices never wait for each other.
//! Bounds: each request takes at most twice the device's timeout (connecting, then the answer), and waits at most
//! [`WAIT_FACTOR`] times that for its turn.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::{Error, ExceptionCode, Request, Response, Slave};

use super::config::Target;
use crate::error::DriverError;

/// Pause after the second failure in a row; doubled with each further one. The first failure is tried again at once.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest pause; short, so that a device that is back is noticed soon.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How many requests' time a request waits for its turn before it fails as busy.
const WAIT_FACTOR: u32 = 4;

/// Why a request gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// The device answered with a Modbus exception; the connection is fine.
    Exception(ExceptionCode),
    /// No usable answer.
    Device(DriverError),
}

#[derive(Default)]
struct Link {
    open: Option<Open>,
    failures: u32,
    retry_at: Option<Instant>,
    last: Option<DriverError>,
}

struct Open {
    context: Context,
    _socket: OwnedSemaphorePermit,
}

/// The connection of one device.
pub struct Connection {
    target: Target,
    device: String,
    sockets: Arc<Semaphore>,
    link: Mutex<Link>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection to `target`, not opened yet.
    pub fn new(target: Target, sockets: Arc<Semaphore>) -> Self {
        Self { device: target.device(), target, sockets, link: Mutex::new(Link::default()) }
    }

    /// Where it leads.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// `host:port unit n`, for error texts.
    pub fn device(&self) -> String {
        format!("{} unit {}", self.device, self.target.slave_id)
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call(&self, request: Request<'static>) -> Result<Response, Failure> {
        let turn = timeout(self.target.timeout * WAIT_FACTOR, self.link.lock()).await;
        let Ok(mut link) = turn else {
            let reason = "other requests to the device take all its time".into();
            return Err(Failure::Device(DriverError::Busy { device: self.device.clone(), reason }));
        };
        if let Some(error) = link.waiting() {
            return Err(Failure::Device(error));
        }
        // The connection leaves the link while a request is under way: if this future is dropped, an answer that comes late is never
        // taken for that of another request.
        let mut reused = link.open.take();
        loop {
            let fresh = reused.is_none();
            let mut open = match reused.take() {
                Some(open) => open,
                None => match self.connect().await {
                    Ok(open) => open,
                    Err(error) => return Err(Failure::Device(link.failed(error))),
                },
            };
            let outcome = match timeout(self.target.timeout, open.context.call(request.clone())).await {
                Ok(Ok(outcome)) => outcome,
                // Devices close idle connections. One that had been open before is worth a second try on a new one.
                Ok(Err(Error::Transport(_))) if !fresh => continue,
                Ok(Err(error)) => return Err(Failure::Device(link.failed(self.broken(error)))),
                Err(_) => return Err(Failure::Device(link.failed(self.no_answer()))),
            };
            link.succeeded();
            if self.target.keep_open {
                link.open = Some(open);
            }
            return outcome.map_err(Failure::Exception);
        }
    }

    async fn connect(&self) -> Result<Open, DriverError> {
        let device = || self.device.clone();
        let limit = self.target.timeout;
        let socket = match timeout(limit, Arc::clone(&self.sockets).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            _ => return Err(DriverError::Busy { device: device(), reason: "max_open_sockets sockets are open already".into() }),
        };
        let stream = match timeout(limit, TcpStream::connect((self.target.host.as_str(), self.target.port))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(DriverError::ConnectionRefused { device: device() });
            }
            Ok(Err(error)) => return Err(DriverError::Unreachable { device: device(), reason: error.to_string() }),
            Err(_) => {
                let reason = format!("no connection within {} ms", limit.as_millis());
                return Err(DriverError::Unreachable { device: device(), reason });
            }
        };
        stream.set_nodelay(true).map_err(|error| DriverError::Unreachable { device: device(), reason: error.to_string() })?;
        Ok(Open { context: tcp::attach_slave(stream, Slave(self.target.slave_id)), _socket: socket })
    }

    fn no_answer(&self) -> DriverError {
        let timeout_ms = u64::try_from(self.target.timeout.as_millis()).unwrap_or(u64::MAX);
        DriverError::Timeout { device: self.device.clone(), timeout_ms }
    }

    fn broken(&self, error: Error) -> DriverError {
        let device = self.device.clone();
        match error {
            Error::Protocol(error) => DriverError::Protocol { device, reason: error.to_string().chars().take(200).collect() },
            Error::Transport(error) if error.kind() == io::ErrorKind::InvalidData => {
                DriverError::Protocol { device, reason: error.to_string() }
            }
            // The library reports the end of the stream as the last error of the operating system, which is none.
            Error::Transport(error) if matches!(error.raw_os_error(), Some(0)) || error.kind() == io::ErrorKind::UnexpectedEof => {
                DriverError::ConnectionLost { device, reason: "end of stream before the answer".into() }
            }
            Error::Transport(error) => DriverError::ConnectionLost { device, reason: error.to_string() },
        }
    }
}

impl Link {
    /// The error to give while the device is left alone.
    fn waiting(&self) -> Option<DriverError> {
        let left = self.retry_at?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let retry_in_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.last.clone().map(|last| DriverError::BackingOff { last: Box::new(last), retry_in_ms })
    }

    fn failed(&mut self, error: DriverError) -> DriverError {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = pause(self.failures).map(|pause| Instant::now() + pause);
        self.last = Some(error.clone());
        error
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        self.last = None;
    }
}

/// How long to leave a device alone after `failures` failures in a row; a quarter more or less, so that devices that failed together
/// do not come back together.
fn pause(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(2)?.min(8);
    let pause = (BACKOFF_FIRST * 2_u32.pow(doublings)).min(BACKOFF_MAX);
    Some(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn target(port: u16) -> Target {
        let host = "127.0.0.1".into();
        Target { host, port, slave_id: 1, timeout: Duration::from_millis(200), keep_open: true, write_multiple: true }
    }

    fn connection(port: u16) -> Connection {
        Connection::new(target(port), Arc::new(Semaphore::new(1)))
    }

    fn error(result: Result<Response, Failure>) -> DriverError {
        match result {
            Err(Failure::Device(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// A device that answers every request with `answer` (after the transaction id) and closes after `requests` of them.
    async fn device(answer: &'static [u8], requests: usize) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                for _ in 0..requests {
                    let mut request = [0; 12];
                    if stream.read_exact(&mut request).await.is_err() {
                        break;
                    }
                    stream.write_all(&[&request[..2], answer].concat()).await.unwrap();
                }
            }
        });
        port
    }

    const READ: Request<'static> = Request::ReadHoldingRegisters(0, 1);
    const ANSWER: &[u8] = &[0, 0, 0, 5, 1, 3, 2, 0, 42];

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!((pause(0), pause(1)), (None, None));
        for (failures, ms) in [(2, 500), (3, 1000), (4, 2000), (5, 4000), (6, 5000), (u32::MAX, 5000)] {
            let pause = pause(failures).unwrap().as_millis();
            assert!((ms * 3 / 4..=ms * 5 / 4).contains(&pause), "{failures}: {pause}");
        }
    }

    #[tokio::test]
    async fn a_connection_the_device_closed_is_opened_again_unnoticed() {
        let connection = connection(device(ANSWER, 1).await);
        for _ in 0..3 {
            assert!(matches!(connection.call(READ).await.unwrap(), Response::ReadHoldingRegisters(words) if words == [42]));
        }
    }

    #[tokio::test]
    async fn nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let connection = connection(port);
        let refused = DriverError::ConnectionRefused { device: format!("127.0.0.1:{port}") };
        assert_eq!(error(connection.call(READ).await), refused);
        assert_eq!(error(connection.call(READ).await), refused);
        let waiting = error(connection.call(READ).await);
        assert!(matches!(waiting, DriverError::BackingOff { last, .. } if *last == refused));
    }

    #[tokio::test]
    async fn a_silent_device_is_a_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = connection(listener.local_addr().unwrap().port());
        assert!(matches!(error(connection.call(READ).await), DriverError::Timeout { timeout_ms: 200, .. }));
    }

    #[tokio::test]
    async fn nonsense_is_a_protocol_error_and_no_panic() {
        for answer in [
            &[0, 0, 0, 5, 1, 4, 2, 0, 42][..],
            &[9, 9, 0, 5, 1, 3, 2, 0, 42],
            &[0, 0, 0, 0, 1, 3, 2, 0, 42],
            &[0, 0, 0, 3, 1, 3, 200, 0, 0],
            &[0, 0, 0, 4, 1, 3, 1, 7],
            &[0, 0, 0, 2, 1, 3],
        ] {
            let result = connection(device(answer, 1).await).call(READ).await;
            assert!(matches!(error(result), DriverError::Protocol { .. } | DriverError::ConnectionLost { .. }), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn sockets_are_bounded() {
        let port = device(ANSWER, 9).await;
        let sockets = Arc::new(Semaphore::new(1));
        let first = Connection::new(target(port), Arc::clone(&sockets));
        first.call(READ).await.unwrap();
        let second = Connection::new(target(port), Arc::clone(&sockets));
        assert!(matches!(error(second.call(READ).await), DriverError::Busy { .. }));
        drop(first);
        second.call(READ).await.unwrap();
    }

    #[tokio::test]
    async fn an_exception_leaves_the_connection_open() {
        let connection = connection(device(&[0, 0, 0, 3, 1, 0x83, 2], 2).await);
        for _ in 0..2 {
            assert!(matches!(connection.call(READ).await, Err(Failure::Exception(ExceptionCode::IllegalDataAddress))));
        }
    }
}
