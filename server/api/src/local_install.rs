//! `POST /install` of the local socket, for `vctl install`: installs an agent and tells how it goes on while it does.
//!
//! [`InstallCall`] → 200 with one JSON object per line ([`InstallLine`], `application/x-ndjson`): steps and lines of the tools as they come,
//! and at the end either what was installed or why not. Closing the connection does not end the installation. A request that is none is
//! 400 with one line `{"error": ...}`.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vt_services::{Caller, Install, InstallOutcome, InstallRequest, PackageInstall, PackageSource, ServiceError};
use vt_types::{AgentUuid, ErrorKind, Priority, Tag};

use crate::edge::RouteLabel;
use crate::local::caller;
use crate::state::ApiState;
use crate::vui::body;

/// Largest request, bytes; packages are named and not sent.
const CALL_BYTES_MAX: usize = 17 << 20;

/// What is to be installed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstallCall {
    /// The code.
    pub source: InstallSource,
    /// Identity, may contain `{n}`; absent for the one that the package asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Nickname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Start order, 0 to 99, as text; an agent with one is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Content of the configuration file, kept as it is; of a built-in agent it must be JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Replaces an agent of the same identity.
    #[serde(default)]
    pub force: bool,
    /// As `force`, and what is not given stays as well; it runs afterwards if it ran before. Not for built-in agents.
    #[serde(default)]
    pub upgrade: bool,
    /// Starts it at once.
    #[serde(default)]
    pub start: bool,
    /// Name or path of the Python interpreter; absent for the platform's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// Whether versions that are not final may be chosen.
    #[serde(default)]
    pub allow_prerelease: bool,
    /// Leaves a directory's `requirements.txt` alone.
    #[serde(default)]
    pub skip_requirements: bool,
}

/// Where the code comes from; paths are absolute and of the server's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallSource {
    /// A directory with `pyproject.toml` or `setup.py`.
    Directory(PathBuf),
    /// A wheel.
    Wheel(PathBuf),
    /// A package's name in the index, such as `volttron-listener==2.0.0rc3`.
    Package(String),
    /// A kind that comes with the platform.
    Kind(String),
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallLine {
    /// A step begins.
    Step {
        /// Such as `environment`.
        name: String,
        /// Rough part that is done.
        percent: u8,
    },
    /// A tool said this.
    Output(String),
    /// Done; the last line.
    Installed(Installed),
    /// Not done; the last line.
    Error {
        /// Such as `already_exists`.
        kind: String,
        /// One readable sentence.
        message: String,
    },
}

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Installation id.
    pub uuid: String,
    /// Identity.
    pub identity: String,
    /// Name and version.
    pub name: String,
    /// Process id, if it was started.
    pub pid: Option<u32>,
    /// Why it was not started although that was wanted.
    pub start_error: Option<String>,
}

/// Serves the endpoint.
pub(crate) async fn install(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let caller = caller(&request);
    let call = match read(request.into_body()).await {
        Ok(call) => call,
        Err(message) => return whole(StatusCode::BAD_REQUEST, &refusal(&ServiceError::Invalid(message))),
    };
    match begin(&state, &caller, call).await {
        Ok(Begun::Package(install)) => lines(stream_of(install)),
        Ok(Begun::Done(outcome)) => whole(StatusCode::OK, &ended(Ok(*outcome))),
        Err(error) => whole(StatusCode::OK, &refusal(&error)),
    }
}

enum Begun {
    Package(Arc<Install>),
    /// Agents that come with the platform are there at once.
    Done(Box<InstallOutcome>),
}

async fn read(body: Body) -> Result<InstallCall, String> {
    let bytes = body::read(body, CALL_BYTES_MAX).await.map_err(|error| error.text().to_owned())?;
    serde_json::from_slice(&bytes).map_err(|error| format!("the body is no call: {error}"))
}

async fn begin(state: &ApiState, caller: &Caller, call: InstallCall) -> Result<Begun, ServiceError> {
    let invalid = |error: vt_types::InstallationError| ServiceError::Invalid(error.to_string());
    let tag = call.tag.as_deref().map(Tag::parse).transpose().map_err(invalid)?;
    let priority = call.priority.as_deref().map(Priority::parse).transpose().map_err(invalid)?;
    let agents = &state.services.agents;
    let source = match call.source {
        InstallSource::Directory(path) => PackageSource::Directory(path),
        InstallSource::Wheel(path) => PackageSource::File(path),
        InstallSource::Package(name) => PackageSource::Requirement(name),
        InstallSource::Kind(kind) => {
            let config = call.config.as_deref().map(serde_json::from_str::<Value>).transpose();
            let config = config.map_err(|error| ServiceError::Invalid(format!("the configuration is not JSON: {error}")))?;
            let request = InstallRequest { kind, identity: call.identity, tag, priority, config, force: call.force };
            let agent = agents.install(caller, request).await?;
            let started = if call.start { agents.start(caller, &agent.identity).await } else { Ok(()) };
            let agent = agents.by_identity(agent.identity.as_str()).unwrap_or(agent);
            let start_error = started.err().map(|error| error.to_string());
            return Ok(Begun::Done(Box::new(InstallOutcome { agent, start_error })));
        }
    };
    let request = PackageInstall {
        source,
        identity: call.identity,
        tag,
        priority,
        config: call.config,
        force: call.force,
        upgrade: call.upgrade,
        start: call.start,
        interpreter: call.interpreter,
        allow_prerelease: call.allow_prerelease,
        skip_requirements: call.skip_requirements,
    };
    agents.begin_install(caller, request).await.map(Begun::Package)
}

/// The lines of an installation until its end.
fn stream_of(install: Arc<Install>) -> impl stream::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    let changes = install.changes();
    stream::unfold(Some((install, changes, 0, "")), |state| async move {
        let (install, mut changes, mut next_line, mut step) = state?;
        loop {
            changes.mark_unchanged();
            let news = install.news(next_line);
            let mut text = String::new();
            if news.step != step && news.outcome.is_none() {
                text += &line(&InstallLine::Step { name: news.step.to_owned(), percent: news.percent });
            }
            (step, next_line) = (news.step, news.next_line);
            text.extend(news.lines.into_iter().map(|output| line(&InstallLine::Output(output))));
            if let Some(outcome) = news.outcome {
                text += &line(&ended(outcome));
                return Some((Ok(Bytes::from(text)), None));
            }
            if !text.is_empty() {
                return Some((Ok(Bytes::from(text)), Some((install, changes, next_line, step))));
            }
            // The sender lives as long as the installation, which is held here.
            changes.changed().await.ok()?;
        }
    })
}

fn ended(outcome: Result<InstallOutcome, ServiceError>) -> InstallLine {
    match outcome {
        Err(error) => refusal(&error),
        Ok(InstallOutcome { agent, start_error }) => InstallLine::Installed(Installed {
            uuid: AgentUuid::to_string(&agent.uuid),
            identity: agent.identity.to_string(),
            name: agent.name,
            pid: Some(agent.state).filter(|state| state.is_running()).and_then(|state| state.pid_and_exit_code().0),
            start_error,
        }),
    }
}

fn refusal(error: &ServiceError) -> InstallLine {
    let kind = match error.kind() {
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Forbidden => "forbidden",
        ErrorKind::Conflict => "conflict",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Timeout => "timeout",
        _ => "unavailable",
    };
    InstallLine::Error { kind: kind.to_owned(), message: error.to_string() }
}

fn line(line: &InstallLine) -> String {
    serde_json::to_string(line).map_or_else(|_| String::new(), |text| text + "\n")
}

fn whole(status: StatusCode, only: &InstallLine) -> Response {
    labelled((status, [(header::CONTENT_TYPE, "application/x-ndjson")], line(only)).into_response())
}

fn lines(stream: impl stream::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static) -> Response {
    labelled(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

fn labelled(mut response: Response) -> Response {
    response.extensions_mut().insert(RouteLabel("/install"));
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use serde_json::json;
    use tower::ServiceExt;
    use vt_services::bench::Bench;

    use super::*;

    async fn post_install(router: &Router, call: &Value) -> (StatusCode, Vec<InstallLine>) {
        let request = Request::post("/install").body(Body::from(call.to_string())).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (status, lines)
    }

    #[tokio::test]
    async fn an_installation_is_told_from_the_first_step_to_the_last() {
        let running = Bench::default().start().await;
        let state = Arc::new(ApiState::new(running.services.clone()));
        let router = Router::new().route("/install", post(install)).with_state(state);
        let call = json!({"source": {"package": "listeneragent==3.3"}, "identity": "listener", "tag": "mine", "start": true});
        let (status, lines) = post_install(&router, &call).await;
        assert_eq!(status, StatusCode::OK);
        assert!(lines.contains(&InstallLine::Output("preparing listeneragent-3.3".to_owned())), "{lines:?}");
        let Some(InstallLine::Installed(installed)) = lines.last() else { panic!("{lines:?}") };
        assert_eq!((installed.identity.as_str(), installed.name.as_str()), ("listener", "listeneragent-3.3"));
        assert!(installed.pid.is_some() && installed.start_error.is_none());

        let (status, lines) = post_install(&router, &call).await;
        let message = "Agent with VIP ID listener already installed on platform.".to_owned();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(lines.last(), Some(&InstallLine::Error { kind: "already_exists".to_owned(), message }));

        let (_, lines) = post_install(&router, &json!({"source": {"kind": "platform_driver"}, "config": "{}"})).await;
        assert!(matches!(&lines[..], [InstallLine::Installed(installed)] if installed.identity == "platform.driver"), "{lines:?}");
        let (_, lines) = post_install(&router, &json!({"source": {"package": "broken"}})).await;
        assert!(matches!(lines.last(), Some(InstallLine::Error { message, .. }) if message == "pip failed: told to fail"), "{lines:?}");
        let (status, _) = post_install(&router, &json!({"source": "x"})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}
