//! A client of the server's local socket, `run/control.sock` below VOLTTRON_HOME: HTTP over a Unix socket, as the owner of the home.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;

/// Why a call gave no result. Exit codes are those of `vctl`.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("VOLTTRON is not running. This command requires VOLTTRON platform to be running")]
    NotRunning,
    /// No answer in time.
    #[error("operation timed out")]
    TimedOut,
    /// The platform or an agent answered with an error.
    #[error("{message}")]
    Remote {
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
            Self::Socket { .. } => 1,
        }
    }
}

/// The client. One connection per call: commands are short.
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// A client of the platform whose files are in `home`; each call may take `timeout`.
    pub fn new(home: &Path, timeout: Duration) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket: home.join("run").join("control.sock"), timeout, runtime })
    }

    /// Calls `method` of `peer` with positional arguments.
    pub fn call(&self, peer: &str, method: &str, args: Vec<Value>) -> Result<Value, ClientError> {
        self.call_with(peer, method, args, Map::new())
    }

    /// Calls `method` of `peer`.
    pub fn call_with(&self, peer: &str, method: &str, args: Vec<Value>, kwargs: Map<String, Value>) -> Result<Value, ClientError> {
        let body = json!({"peer": peer, "method": method, "args": Value::Array(args), "kwargs": Value::Object(kwargs), "timeout_s": self.timeout.as_secs_f64()});
        let mut answer = self.request(Method::POST, "/rpc", &body)?;
        match answer.get_mut("error").map(Value::take) {
            None | Some(Value::Null) => Ok(answer.get_mut("result").map(Value::take).unwrap_or_default()),
            Some(error) => Err(remote(&error)),
        }
    }

    /// Waits a moment before looking again for something that another process does.
    pub fn pause(&self) {
        // Made inside, because a timer needs its runtime.
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }

    /// Sends a request to the local socket and gives the JSON answer.
    pub fn request(&self, method: Method, path: &str, body: &Value) -> Result<Value, ClientError> {
        // The server keeps the time limit; this one is for a server that does not answer at all.
        let limit = self.timeout + Duration::from_secs(2);
        self.runtime.block_on(async {
            match tokio::time::timeout(limit, self.exchange(method, path, body)).await {
                Ok(result) => result,
                Err(_) => Err(ClientError::TimedOut),
            }
        })
    }

    async fn exchange(&self, method: Method, path: &str, body: &Value) -> Result<Value, ClientError> {
        let problem = |problem: String| ClientError::Socket { path: self.socket.clone(), problem };
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => ClientError::NotRunning,
            std::io::ErrorKind::PermissionDenied => {
                problem("it belongs to another user; run this command as the user who runs VOLTTRON".to_owned())
            }
            _ => problem(error.to_string()),
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| problem(error.to_string()))?;
        let driving = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| problem(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| problem(error.to_string()))?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|error| problem(error.to_string()))?.to_bytes();
        driving.abort();
        if bytes.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_slice(&bytes).map_err(|_| problem(format!("it answered {status}")))?;
        if status.is_success() || answer.get("error").is_some_and(Value::is_object) { Ok(answer) } else { Err(remote(&answer)) }
    }
}

fn remote(error: &Value) -> ClientError {
    if error.get("kind").and_then(Value::as_str) == Some("timeout") {
        return ClientError::TimedOut;
    }
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let message = text("message").or_else(|| text("error")).unwrap_or_else(|| error.to_string());
    ClientError::Remote { exc_type: text("exc_type").unwrap_or_default(), message }
}
