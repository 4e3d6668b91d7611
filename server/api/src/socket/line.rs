//! What both forms of websockets share: the upgrade, keep-alive, expiry, and sending several frames in one write.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use chrono::TimeDelta;
use futures_util::SinkExt;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use vt_services::{Services, Session};

use crate::error::ApiError;
use crate::vui::Cx;

/// The session ended or its token expired.
pub const SESSION_ENDED: u16 = 4401;
/// The client is too slow.
pub const TOO_SLOW: u16 = 1013;
/// Ended by request.
pub const NORMAL: u16 = 1000;
/// The platform stops, or the client is silent.
pub const GOING_AWAY: u16 = 1001;

/// How often a client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Pings that may go unanswered.
const UNANSWERED_MAX: u32 = 2;
/// A client that takes in nothing for so long is cut off.
const SEND_LIMIT: Duration = Duration::from_secs(20);
/// How long a client may take to answer a close.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// Largest frame of a client, bytes.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// The client cannot be reached any more.
#[derive(Debug)]
pub struct Gone;

/// Takes the upgrade out of a request.
///
/// # Errors
/// 426 for a request that wants no upgrade.
pub async fn upgrade(cx: &mut Cx) -> Result<WebSocketUpgrade, ApiError> {
    let upgrade = WebSocketUpgrade::from_request_parts(&mut cx.parts, &()).await.map_err(|rejection| match rejection {
        WebSocketUpgradeRejection::InvalidWebSocketVersionHeader(_) | WebSocketUpgradeRejection::WebSocketKeyHeaderMissing(_) => {
            ApiError::invalid(rejection.to_string())
        }
        _ => ApiError::new(StatusCode::UPGRADE_REQUIRED, "This is a websocket; ask for it with an upgrade.")
            .with_header(header::UPGRADE, "websocket")
            .with_header(header::CONNECTION, "Upgrade"),
    })?;
    Ok(upgrade.max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX))
}

/// An open websocket with its clockwork.
pub struct Line {
    pub socket: WebSocket,
    ping: Interval,
    unanswered: u32,
    expires: Instant,
}

/// What the clockwork says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Time to ask whether the client is there.
    Ping,
    /// The token expired.
    Expired,
}

impl Line {
    /// A line that expires after `lifetime`.
    pub fn new(socket: WebSocket, lifetime: TimeDelta) -> Self {
        let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, ping, unanswered: 0, expires: deadline(lifetime) }
    }

    /// The session was renewed.
    pub fn renew(&mut self, lifetime: TimeDelta) {
        self.expires = deadline(lifetime);
    }

    /// The next message of the client or the next thing due. `None` when the client is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Message, Due>> {
        tokio::select! {
            message = self.socket.recv() => {
                let message = message?.ok()?;
                self.unanswered = 0;
                Some(Ok(message))
            }
            _ = self.ping.tick() => Some(Err(Due::Ping)),
            () = tokio::time::sleep_until(self.expires) => Some(Err(Due::Expired)),
        }
    }

    /// Asks whether the client is there.
    ///
    /// # Errors
    /// [`Gone`] when it did not answer the last ones.
    pub async fn ping(&mut self) -> Result<(), Gone> {
        if self.unanswered >= UNANSWERED_MAX {
            return Err(Gone);
        }
        self.unanswered += 1;
        self.send([Message::Ping(axum::body::Bytes::new())]).await
    }

    /// Sends frames in as few writes as possible.
    ///
    /// # Errors
    /// [`Gone`] when the client is gone or takes in nothing.
    pub async fn send(&mut self, frames: impl IntoIterator<Item = Message>) -> Result<(), Gone> {
        let sending = async {
            for frame in frames {
                self.socket.feed(frame).await?;
            }
            self.socket.flush().await
        };
        match tokio::time::timeout(SEND_LIMIT, sending).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    /// Closes with a code and a reason, and waits a moment for the client's own farewell: a connection dropped with unread data is reset, and
    /// then the client may never see the code.
    pub async fn close(mut self, code: u16, reason: &'static str) {
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        if self.send([frame]).await.is_err() {
            return;
        }
        let farewell = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        if tokio::time::timeout(FAREWELL_LIMIT, farewell).await.is_err() {
            tracing::debug!(code, "a client did not answer the close");
        }
    }
}

/// Time left for a session.
pub fn lifetime(services: &Services, session: &Session) -> TimeDelta {
    services.auth.session_expires_at(session) - services.clock.now()
}

fn deadline(lifetime: TimeDelta) -> Instant {
    // A year is long enough for any token and short enough for the timer.
    let left = lifetime.to_std().unwrap_or_default().min(Duration::from_secs(365 * 24 * 3600));
    Instant::now() + left
}
