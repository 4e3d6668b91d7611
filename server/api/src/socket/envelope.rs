//! `GET /vui/ws`, sub-protocol `volttron.v2`: one websocket, many subscriptions. Frames are JSON objects with `op`; `id` is any value of the
//! client's own and comes back in the answer.
//!
//! | → client sends | ← answer |
//! |---|---|
//! | `{"op":"subscribe","id","platform","prefix","replay"?}` | `{"op":"ok","id","sub"}`, then `{"op":"event","sub","platform","topic","headers","message","sender","at"}`; with `replay` true or 1 the latest message of each device below the prefix first |
//! | `{"op":"unsubscribe","id"?,"sub"}` | `{"op":"ok","id","sub"}` |
//! | `{"op":"publish","id","platform","topic","headers","message"}` | `{"op":"ok","id","number_of_subscribers"}` |
//! | `{"op":"token","id"?,"access_token"}` | `{"op":"ok","id","expires_at"}`; renews the session of the same user |
//! | `{"op":"logs","id","identity","lines"?}` | `{"op":"ok","id","sub"}`, then `{"op":"log","sub","seq","at","identity","level","logger","text"}`, first up to `lines` (default 100) old ones; without `identity` the whole platform (admin) |
//! | `{"op":"ping","id"}` | `{"op":"ok","id"}` |
//!
//! `platform` may be left out. Failures: `{"op":"error","id","status","error"}` with the status that REST would have. Without being asked:
//! `{"op":"agent.state","platform","identity","state","at"}`, `{"op":"alert","platform",...}`, and `{"op":"lagged","missed"}` when the oldest
//! frames were dropped because the client was too slow.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::Message;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use vt_services::{Caller, LiveFrame, LiveSession, LiveStream, LogLine, Services, Session};
use vt_types::timestamp;

use super::QUEUE_MAX;
use super::legacy::end_of;
use super::line::{self, Due, Gone, Line};
use crate::error::ApiError;
use crate::vui::{Answer, Cx, alerts, logs};

/// The sub-protocol.
const PROTOCOL: &str = "volttron.v2";
/// Frames sent in one write.
const BATCH_MAX: usize = 256;
/// Logs followed by one client.
const LOGS_MAX: usize = 16;
/// Old lines sent unless the client says otherwise, and at most.
const LINES: usize = 100;
const LINES_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Command {
    Subscribe {
        platform: Option<String>,
        prefix: String,
        #[serde(default)]
        replay: Value,
    },
    Unsubscribe {
        sub: String,
    },
    Publish {
        platform: Option<String>,
        topic: String,
        #[serde(default)]
        headers: Option<Map<String, Value>>,
        #[serde(default)]
        message: Value,
    },
    Token {
        access_token: String,
    },
    Logs {
        platform: Option<String>,
        identity: Option<String>,
        lines: Option<usize>,
    },
    Ping {},
}

/// Upgrades and serves.
pub async fn serve(mut cx: Cx) -> Answer {
    cx.only_get()?;
    let upgrade = line::upgrade(&mut cx).await?.protocols([PROTOCOL]);
    let (live, stream) = cx.services().live.open(&cx.caller, QUEUE_MAX);
    let services = cx.services().clone();
    let (caller, session) = (cx.caller, cx.session);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let line = Line::new(socket, line::lifetime(&services, &session));
        let log = services.logs.follow();
        let client = Client { services, caller, session, live, logs: HashMap::new(), last_log: 0 };
        client.run(line, stream, log).await;
    }))
}

/// One client.
struct Client {
    services: Services,
    caller: Caller,
    session: Session,
    live: LiveSession,
    logs: HashMap<String, FollowedLog>,
    last_log: u64,
}

struct FollowedLog {
    /// `None` for everything.
    identity: Option<String>,
    /// Lines up to this one were sent.
    seen: u64,
}

impl Client {
    async fn run(mut self, mut line: Line, mut stream: LiveStream, mut log: broadcast::Receiver<Arc<LogLine>>) {
        let (code, reason) = loop {
            let sent = tokio::select! {
                frame = stream.next() => {
                    let Some(frame) = frame else { break end_of(&self.services.auth, &self.session) };
                    self.send_frames(&mut line, &mut stream, frame).await
                }
                incoming = line.next() => match incoming {
                    None | Some(Ok(Message::Close(_))) => return,
                    Some(Ok(Message::Text(text))) => {
                        if self.logs.is_empty() {
                            // Nobody took in lines until now; what is old comes from the book.
                            log = log.resubscribe();
                        }
                        self.answer(&mut line, &text).await
                    }
                    Some(Ok(Message::Binary(_))) => {
                        line.send([text(&error(&Value::Null, &ApiError::invalid("Frames must be text.")))]).await
                    }
                    Some(Ok(_)) => Ok(()),
                    Some(Err(Due::Expired)) => break (line::SESSION_ENDED, "session expired"),
                    Some(Err(Due::Ping)) => {
                        if !self.services.auth.is_active(&self.session.id) {
                            break (line::SESSION_ENDED, "session ended");
                        }
                        line.ping().await
                    }
                },
                entry = log.recv(), if !self.logs.is_empty() => match entry {
                    Ok(entry) => {
                        let frames = self.log_frames(&entry);
                        line.send(frames).await
                    }
                    Err(RecvError::Lagged(missed)) => line.send([lagged(missed)]).await,
                    Err(RecvError::Closed) => break (line::GOING_AWAY, "the platform stops"),
                },
            };
            if matches!(sent, Err(Gone)) {
                return;
            }
        };
        line.close(code, reason).await;
    }

    async fn send_frames(&self, line: &mut Line, stream: &mut LiveStream, first: LiveFrame) -> Result<(), Gone> {
        let mut frames = vec![self.frame(&first)];
        while frames.len() < BATCH_MAX
            && let Some(frame) = stream.try_next()
        {
            frames.push(self.frame(&frame));
        }
        line.send(frames).await
    }

    fn frame(&self, frame: &LiveFrame) -> Message {
        let platform = &self.services.instance.name;
        match frame {
            LiveFrame::Event { sub, event } => {
                Message::Text(format!("{{\"op\":\"event\",\"sub\":\"{sub}\",{}", event.envelope_tail()).into())
            }
            LiveFrame::Lagged { missed } => lagged(*missed),
            LiveFrame::Agent(event) => text(&json!({
                "op": "agent.state", "platform": platform, "identity": event.identity, "state": event.state, "at": timestamp::format(event.at),
            })),
            LiveFrame::Alert(record) => {
                let mut frame = json!({"op": "alert", "platform": platform});
                if let (Value::Object(frame), Value::Object(alert)) = (&mut frame, alerts::alert(record)) {
                    frame.extend(alert);
                }
                text(&frame)
            }
        }
    }

    async fn answer(&mut self, line: &mut Line, frame: &str) -> Result<(), Gone> {
        let parsed: Value = match serde_json::from_str(frame) {
            Ok(parsed) => parsed,
            Err(problem) => {
                let problem = ApiError::invalid(format!("The frame is not JSON: {problem}"));
                return line.send([text(&error(&Value::Null, &problem))]).await;
            }
        };
        let id = parsed.get("id").cloned().unwrap_or_default();
        let result = match Command::deserialize(parsed) {
            Ok(command) => self.carry_out(line, command).await,
            Err(problem) => Err(ApiError::invalid(format!("The frame is not a command: {problem}"))),
        };
        match result {
            Ok((mut answer, frames)) => {
                answer["op"] = json!("ok");
                answer["id"] = id;
                line.send(std::iter::once(text(&answer)).chain(frames)).await
            }
            Err(problem) => line.send([text(&error(&id, &problem))]).await,
        }
    }

    /// Gives the answer and the frames that follow it at once.
    async fn carry_out(&mut self, line: &mut Line, command: Command) -> Result<(Value, Vec<Message>), ApiError> {
        let answer = match command {
            Command::Subscribe { platform, prefix, replay } => {
                self.check_platform(platform.as_deref())?;
                let replay = matches!(&replay, Value::Bool(true)) || replay.as_i64().is_some_and(|count| count > 0);
                json!({"op": "ok", "id": null, "sub": self.live.subscribe(&prefix, replay)?})
            }
            Command::Unsubscribe { sub } => {
                if self.logs.remove(&sub).is_none() && !self.live.unsubscribe(&sub) {
                    return Err(ApiError::invalid(format!("There is no subscription {sub:?}.")));
                }
                json!({"op": "ok", "id": null, "sub": sub})
            }
            Command::Publish { platform, topic, headers, message } => {
                self.check_platform(platform.as_deref())?;
                let subscribers = self.services.live.publish(&self.caller, &topic, headers.unwrap_or_default(), message).await?;
                json!({"op": "ok", "id": null, "number_of_subscribers": subscribers})
            }
            Command::Token { access_token } => {
                let expires_at = self.renew(&access_token)?;
                line.renew(line::lifetime(&self.services, &self.session));
                json!({"op": "ok", "id": null, "expires_at": timestamp::format(expires_at)})
            }
            Command::Logs { platform, identity, lines } => {
                self.check_platform(platform.as_deref())?;
                return self.follow_log(identity, lines.unwrap_or(LINES).min(LINES_MAX));
            }
            Command::Ping {} => json!({"op": "ok", "id": null}),
        };
        Ok((answer, Vec::new()))
    }

    fn check_platform(&self, platform: Option<&str>) -> Result<(), ApiError> {
        match platform {
            Some(platform) if platform != self.services.instance.name => Err(ApiError::invalid(format!("Unknown platform: {platform}"))),
            _ => Ok(()),
        }
    }

    fn renew(&mut self, access_token: &str) -> Result<timestamp::Timestamp, ApiError> {
        let session = self.services.auth.verify(access_token).map_err(|_| ApiError::unauthenticated())?;
        let caller = session.caller(self.caller.address);
        if session.user != self.session.user || !caller.may_use_vui() {
            return Err(ApiError::forbidden());
        }
        (self.caller, self.session) = (caller, session);
        Ok(self.services.auth.session_expires_at(&self.session))
    }

    fn follow_log(&mut self, identity: Option<String>, lines: usize) -> Result<(Value, Vec<Message>), ApiError> {
        if identity.is_none() {
            self.caller.require_admin().map_err(|_| ApiError::forbidden())?;
        }
        if self.logs.len() >= LOGS_MAX {
            return Err(ApiError::new(StatusCode::CONFLICT, format!("One connection may follow at most {LOGS_MAX} logs; end one first.")));
        }
        self.last_log += 1;
        let sub = format!("l{}", self.last_log);
        let old = self.services.logs.tail(identity.as_deref(), lines, None);
        let seen = old.last().map_or(0, |line| line.seq);
        let frames = old.iter().map(|line| log_frame(&sub, line)).collect();
        self.logs.insert(sub.clone(), FollowedLog { identity, seen });
        Ok((json!({"op": "ok", "id": null, "sub": sub}), frames))
    }

    /// The frames of a new line: one for each followed log that it belongs to.
    fn log_frames(&self, line: &LogLine) -> Vec<Message> {
        let wanted = self.logs.iter().filter(|(_, log)| line.seq > log.seen && (log.identity.is_none() || log.identity == line.identity));
        wanted.map(|(sub, _)| log_frame(sub, line)).collect()
    }
}

fn log_frame(sub: &str, line: &LogLine) -> Message {
    let mut frame = json!({"op": "log", "sub": sub});
    if let (Value::Object(frame), Value::Object(line)) = (&mut frame, logs::line(line)) {
        frame.extend(line);
    }
    text(&frame)
}

/// `type` is how the reference of the legacy interface spells it.
fn lagged(missed: u64) -> Message {
    text(&json!({"op": "lagged", "type": "lagged", "missed": missed}))
}

fn error(id: &Value, error: &ApiError) -> Value {
    json!({"op": "error", "id": id, "status": error.status().as_u16(), "error": error.text()})
}

fn text(frame: &Value) -> Message {
    Message::Text(frame.to_string().into())
}
