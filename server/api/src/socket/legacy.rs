//! `GET P/pubsub/{topic}` with an upgrade: each message on a topic that starts with `{topic}` comes as a text frame with its body alone, as
//! JSON. What the client sends is ignored. A client that is too slow is closed with 1013, for a gap could not be told in this form.

use std::sync::Arc;

use axum::extract::ws::Message;
use vt_services::{Auth, LiveFrame, LiveStream, Session};

use super::QUEUE_MAX;
use super::line::{self, Due, Line};
use super::open_topics::Registered;
use crate::vui::{Answer, Cx};

/// Frames sent in one write.
const BATCH_MAX: usize = 256;

/// Upgrades and serves.
pub async fn serve(mut cx: Cx, topic: &str) -> Answer {
    let upgrade = line::upgrade(&mut cx).await?;
    let (session, stream) = cx.services().live.open(&cx.caller, QUEUE_MAX);
    // Before the upgrade, so that a refusal has a status and nothing published after it is missed.
    session.subscribe(topic, false)?;
    let registered = cx.state.open_topics.register(&cx.caller.user, topic);
    let auth = Arc::clone(&cx.services().auth);
    let lifetime = line::lifetime(cx.services(), &cx.session);
    let user = cx.session;
    Ok(upgrade.on_upgrade(move |socket| async move {
        let line = Line::new(socket, lifetime);
        run(line, stream, registered, &auth, &user).await;
        drop(session);
    }))
}

async fn run(mut line: Line, mut stream: LiveStream, registered: Registered, auth: &Auth, user: &Session) {
    let (code, reason) = loop {
        tokio::select! {
            frame = stream.next() => {
                let Some(frame) = frame else { break end_of(auth, user) };
                let mut frames = Vec::new();
                let mut lagged = false;
                let mut next = Some(frame);
                while let Some(frame) = next {
                    match frame {
                        LiveFrame::Event { event, .. } => frames.push(Message::Text((&**event.body()).into())),
                        LiveFrame::Lagged { .. } => lagged = true,
                        LiveFrame::Agent(_) | LiveFrame::Alert(_) => {}
                    }
                    next = if frames.len() < BATCH_MAX && !lagged { stream.try_next() } else { None };
                }
                if line.send(frames).await.is_err() {
                    return;
                }
                if lagged {
                    break (line::TOO_SLOW, "too slow");
                }
            }
            incoming = line.next() => match incoming {
                None | Some(Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
                Some(Err(Due::Expired)) => break (line::SESSION_ENDED, "session expired"),
                Some(Err(Due::Ping)) => {
                    if !auth.is_active(&user.id) {
                        break (line::SESSION_ENDED, "session ended");
                    }
                    if line.ping().await.is_err() {
                        return;
                    }
                }
            },
            () = registered.stop.cancelled() => break (line::NORMAL, "ended by request"),
        }
    };
    line.close(code, reason).await;
}

/// Why the stream of a viewer ended.
pub fn end_of(auth: &Auth, user: &Session) -> (u16, &'static str) {
    if auth.is_active(&user.id) { (line::GOING_AWAY, "the platform stops") } else { (line::SESSION_ENDED, "session ended") }
}
