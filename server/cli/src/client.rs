//! A client of the server's local socket, `run/control.sock` below VOLTTRON_HOME: HTTP over a Unix socket, as the owner of the home.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;

use crate::trace::Trace;

/// Longest line of a stream, in bytes; as long as the longest body of a publication.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Why a call gave no result. Exit codes are those of `vctl`.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("VOLTTRON is not running. This command requires VOLTTRON platform to be running")]
    NotRunning,
    /// No answer in time.
    #[error("operation timed out")]
    TimedOut,
    /// The person at the keyboard pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The platform or an agent answered with an error.
    #[error("{message}")]
    Remote {
        /// Sort of failure, such as `unknown_peer`; empty if it is not told.
        kind: String,
        /// Python class, such as `builtins.KeyError`; empty if it is none.
        exc_type: String,
        /// One sentence.
        message: String,
    },
    /// The socket or the answer is not what it should be.
    #[error("the platform's local socket {path} cannot be used: {problem}")]
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

impl ClientError {
    /// The exit code of `vctl`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotRunning => 10,
            Self::TimedOut => 75,
            Self::Remote { .. } => 20,
            Self::Interrupted | Self::Socket { .. } => 1,
        }
    }
}

/// The client. One connection per call: commands are short.
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
    runtime: tokio::runtime::Runtime,
    trace: Trace,
}

impl Client {
    /// A client of the platform whose files are in `home`; each call may take `timeout`.
    pub fn new(home: &Path, timeout: Duration, trace: Trace) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket: home.join("run").join("control.sock"), timeout, runtime, trace })
    }

    /// Longest time for a call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where is told what is done.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Calls `method` of `peer` with positional arguments.
    pub fn call(&self, peer: &str, method: &str, args: Vec<Value>) -> Result<Value, ClientError> {
        self.call_with(peer, method, args, Map::new())
    }

    /// Calls `method` of `peer`.
    pub fn call_with(&self, peer: &str, method: &str, args: Vec<Value>, kwargs: Map<String, Value>) -> Result<Value, ClientError> {
        self.call_within(self.timeout, peer, method, args, kwargs)
    }

    /// Calls `method` of `peer`, which may take `limit`.
    pub fn call_within(
        &self,
        limit: Duration,
        peer: &str,
        method: &str,
        args: Vec<Value>,
        kwargs: Map<String, Value>,
    ) -> Result<Value, ClientError> {
        self.trace.debug(&format!("calling {method} of {peer}"));
        let body = json!({"peer": peer, "method": method, "args": Value::Array(args), "kwargs": Value::Object(kwargs), "timeout_s": limit.as_secs_f64()});
        let mut answer: Value = self.request_within(limit, Method::POST, "/rpc", &body)?;
        match answer.get_mut("error").map(Value::take) {
            None | Some(Value::Null) => Ok(answer.get_mut("result").map(Value::take).unwrap_or_default()),
            Some(error) => Err(remote(&error)),
        }
    }

    /// Sends a request to the local socket and gives the answer.
    pub fn request<T: DeserializeOwned>(&self, method: Method, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.request_within(self.timeout, method, path, body)
    }

    /// The same, for which there is `limit`.
    pub fn request_within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_string(body).map_err(|error| self.problem(&error))?;
        // The server keeps the time limit; this one is for a server that does not answer at all.
        let limit = limit + Duration::from_secs(2);
        let answer = self.run(async {
            let answered = async { self.json(self.send(method, path, body).await?).await };
            tokio::time::timeout(limit, answered).await.unwrap_or(Err(ClientError::TimedOut))
        })?;
        serde_json::from_value(answer).map_err(|error| self.problem(&error))
    }

    /// Hands each JSON line of a stream to `take` until that breaks, the stream ends, or `until` has come.
    pub fn follow(&self, path: &str, until: Option<Instant>, take: impl FnMut(Value) -> ControlFlow<()>) -> Result<(), ClientError> {
        self.stream(Method::GET, path, String::new(), until, take)
    }

    /// The same for a request with a body.
    pub fn follow_answer(
        &self,
        path: &str,
        body: &impl Serialize,
        until: Option<Instant>,
        take: impl FnMut(Value) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let body = serde_json::to_string(body).map_err(|error| self.problem(&error))?;
        self.stream(Method::POST, path, body, until, take)
    }

    fn stream(
        &self,
        method: Method,
        path: &str,
        body: String,
        until: Option<Instant>,
        mut take: impl FnMut(Value) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        self.run(async {
            let opening = tokio::time::timeout(self.timeout, self.send(method, path, body)).await;
            let response = opening.unwrap_or(Err(ClientError::TimedOut))?;
            if !response.status().is_success() {
                return self.json(response).await.map(drop);
            }
            let mut body = response.into_body();
            let mut lines = Vec::new();
            loop {
                let frame = match until {
                    Some(until) => match tokio::time::timeout_at(until.into(), body.frame()).await {
                        Ok(frame) => frame,
                        Err(_) => return Ok(()),
                    },
                    None => body.frame().await,
                };
                let Some(frame) = frame else { return Ok(()) };
                let Ok(data) = frame.map_err(|error| self.problem(&error))?.into_data() else { continue };
                lines.extend_from_slice(&data);
                if lines.len() > LINE_BYTES_MAX {
                    return Err(self.problem(&"it sent a line without an end"));
                }
                while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = lines.drain(..=end).collect();
                    let value = serde_json::from_slice(&line).map_err(|error| self.problem(&error))?;
                    if take(value).is_break() {
                        return Ok(());
                    }
                }
            }
        })
    }

    /// Waits a moment before looking again for something that another process does.
    pub fn pause(&self) {
        // Made inside, because a timer needs its runtime.
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }

    /// Waits, unless somebody presses Ctrl-C.
    pub fn wait_or_interrupt(&self, time: Duration) -> Result<(), ClientError> {
        self.run(async {
            tokio::time::sleep(time).await;
            Ok(())
        })
    }

    /// Waits for a task, or for Ctrl-C.
    fn run<T>(&self, task: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        self.runtime.block_on(async {
            tokio::select! {
                result = task => result,
                pressed = tokio::signal::ctrl_c() => match pressed {
                    Ok(()) => Err(ClientError::Interrupted),
                    Err(error) => Err(self.problem(&error)),
                },
            }
        })
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => ClientError::NotRunning,
            std::io::ErrorKind::PermissionDenied => {
                self.problem(&"it belongs to another user; run this command as the user who runs VOLTTRON")
            }
            _ => self.problem(&error),
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.problem(&error))?;
        // Ends when the answer is read to its end, or with the runtime.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.problem(&error))?;
        sender.send_request(request).await.map_err(|error| self.problem(&error))
    }

    async fn json(&self, response: Response<Incoming>) -> Result<Value, ClientError> {
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|error| self.problem(&error))?.to_bytes();
        if bytes.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_slice(&bytes).map_err(|_| self.problem(&format!("it answered {status}")))?;
        match answer.get("error") {
            _ if status.is_success() => Ok(answer),
            Some(error @ Value::Object(_)) => Err(remote(error)),
            _ => Err(remote(&answer)),
        }
    }

    fn problem(&self, problem: &dyn std::fmt::Display) -> ClientError {
        ClientError::Socket { path: self.socket.clone(), problem: problem.to_string() }
    }
}

fn remote(error: &Value) -> ClientError {
    if error.get("kind").and_then(Value::as_str) == Some("timeout") {
        return ClientError::TimedOut;
    }
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let message = text("message").or_else(|| text("error")).unwrap_or_else(|| error.to_string());
    ClientError::Remote { kind: text("kind").unwrap_or_default(), exc_type: text("exc_type").unwrap_or_default(), message }
}
