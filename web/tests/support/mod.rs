//! Real services over in-memory repositories and a launcher that only remembers, behind the pages' router; and a visitor with a cookie jar.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up fails")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use chrono::{Duration, Utc};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use vt_backends::memory::{MemoryAlerts, MemoryAudit, MemoryConfigs, MemoryInstallations, MemoryPolicy, MemoryRevocations, MemoryUsers};
use vt_backends::{AgentKindInfo, AgentLauncher, InstalledAgent, LaunchError, LaunchObserver, RunState};
use vt_bus::Bus;
use vt_services::{
    AuthConfig, Caller, ConfigType, InstanceInfo, LogBook, PasswordPolicy, Services, ServicesDeps, ServicesTasks, SigningKey,
};
use vt_types::{AgentUuid, Clock, Identity, ManualClock};
use vt_web::WebState;

/// Code of the first run.
pub const CODE: &str = "ABCD-EFGH";
/// A password that is long enough.
pub const PASSWORD: &str = "correct horse battery";

/// The pages and what is behind them.
pub struct Site {
    pub router: Router,
    pub services: Services,
    pub clock: Arc<ManualClock>,
    _tasks: ServicesTasks,
}

impl Site {
    /// A site without users.
    pub async fn fresh() -> Self {
        let clock = Arc::new(ManualClock::new(Utc::now()));
        let timer: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let hashing = PasswordPolicy { memory_kib: 64, passes: 1, lanes: 1 };
        let deps = ServicesDeps {
            bus: Bus::new(vt_bus::Config::default(), Arc::clone(&timer)),
            clock: Arc::clone(&timer),
            instance: InstanceInfo {
                name: "harbor1".to_owned(),
                version: "0.1.0".to_owned(),
                started_at: clock.now(),
                message_bus: "zmq".to_owned(),
                vip_addresses: Vec::new(),
                web_address: "https://localhost:8443".to_owned(),
                other_platforms: Vec::new(),
            },
            users: Arc::new(MemoryUsers::default()),
            configs: Arc::new(MemoryConfigs::default()),
            installations: Arc::new(MemoryInstallations::default()),
            audit: Arc::new(MemoryAudit::default()),
            alerts: Arc::new(MemoryAlerts::default()),
            revocations: Arc::new(MemoryRevocations::default()),
            policy: Arc::new(MemoryPolicy::default()),
            launcher: Arc::new(Launcher::default()),
            auth: AuthConfig { password_hashing: hashing, ..AuthConfig::new(SigningKey::Hs256(vec![7; 32]), Some(CODE.to_owned())) },
            logs: Arc::new(LogBook::new(100)),
            platform_stop: CancellationToken::new(),
        };
        let (services, tasks) = Services::start(deps, CancellationToken::new()).await.unwrap();
        let router = vt_web::router(WebState::new(services.clone()));
        Self { router, services, clock, _tasks: tasks }
    }

    /// A site with the administrator `dana`, and her browser.
    pub async fn with_dana() -> (Self, Visitor) {
        let site = Self::fresh().await;
        site.services.auth.create_first_administrator(CODE, "dana", PASSWORD, None).await.unwrap();
        let mut dana = site.visitor();
        dana.log_in("dana", PASSWORD).await;
        (site, dana)
    }

    /// A browser that was never here.
    pub fn visitor(&self) -> Visitor {
        Visitor { router: self.router.clone(), cookies: BTreeMap::new() }
    }

    /// Stores an entry of the driver's configuration.
    pub async fn configure(&self, name: &str, kind: ConfigType, data: &str) {
        let driver = Identity::known("platform.driver");
        self.services.configs.set(&Caller::local("test"), &driver, name, kind, data).await.unwrap();
    }

    pub fn advance(&self, minutes: i64) {
        self.clock.advance(Duration::minutes(minutes));
    }
}

/// A browser: keeps cookies, finds form tokens, follows nothing by itself.
pub struct Visitor {
    router: Router,
    pub cookies: BTreeMap<String, String>,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap())
    }
}

impl Visitor {
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).header(header::ACCEPT, "text/html")).await
    }

    /// Sends a request as it is, with this browser's cookies.
    pub async fn send(&mut self, request: axum::http::request::Builder) -> Answer {
        self.send_body(request, Body::empty()).await
    }

    /// Sends a request with a text as it is.
    pub async fn send_text(&mut self, request: axum::http::request::Builder, body: &str) -> Answer {
        self.send_body(request, Body::from(body.to_owned())).await
    }

    /// The first piece of an event stream.
    pub async fn first_event(&mut self, path: &str) -> String {
        let jar: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::get(path).header(header::COOKIE, jar.join("; ")).header(header::ACCEPT, "text/event-stream");
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let frame = tokio::time::timeout(std::time::Duration::from_secs(5), response.into_body().frame()).await.unwrap();
        String::from_utf8(frame.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap()
    }

    async fn send_body(&mut self, mut request: axum::http::request::Builder, body: Body) -> Answer {
        if !self.cookies.is_empty() {
            let jar: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, jar.join("; "));
        }
        let response = self.router.clone().oneshot(request.header(header::HOST, "localhost:8443").body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        for line in parts.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = line.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name)
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned())
            };
        }
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The token of the forms on a page.
    pub async fn token(&mut self, page: &str) -> String {
        let answer = self.get(page).await;
        let (_, rest) = answer.body.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("{page} has no form: {}", answer.status));
        rest.split('"').next().unwrap().to_owned()
    }

    /// Posts a form with the token that `page` shows.
    pub async fn post(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token(page).await;
        self.post_with(&token, path, fields).await
    }

    /// Posts a form with this token.
    pub async fn post_with(&mut self, token: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .header(header::ACCEPT, "text/html");
        self.send_body(request, Body::from(form(token, fields))).await
    }

    pub async fn log_in(&mut self, user: &str, password: &str) -> Answer {
        self.post("/login", "/login", &[("user", user), ("password", password)]).await
    }
}

/// A form as browsers encode it.
pub fn form(token: &str, fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    std::iter::once(&("csrf", token)).chain(fields).map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

/// Starts nothing, remembers everything.
#[derive(Default)]
struct Launcher {
    running: Mutex<HashMap<AgentUuid, bool>>,
}

#[async_trait]
impl AgentLauncher for Launcher {
    fn kinds(&self) -> Vec<AgentKindInfo> {
        vec![AgentKindInfo {
            kind: "listener".to_owned(),
            name: "listeneragent-3.3".to_owned(),
            default_identity: "listener".to_owned(),
            summary: "Writes what it hears.".to_owned(),
        }]
    }
    async fn start(&self, agent: &InstalledAgent) -> Result<(), LaunchError> {
        match self.running.lock().unwrap().insert(agent.uuid, true) {
            Some(true) => Err(LaunchError::AlreadyRunning),
            _ => Ok(()),
        }
    }
    async fn stop(&self, uuid: AgentUuid) -> Result<(), LaunchError> {
        self.running.lock().unwrap().insert(uuid, false);
        Ok(())
    }
    async fn stop_all(&self) {}
    fn state(&self, uuid: AgentUuid) -> RunState {
        match self.running.lock().unwrap().get(&uuid) {
            None => RunState::NeverStarted,
            Some(true) => RunState::Running { pid: 7, since: Utc::now(), restarts: 0 },
            Some(false) => RunState::Stopped { pid: 7, exit_code: 0, at: Utc::now() },
        }
    }
    fn forget(&self, uuid: AgentUuid) {
        self.running.lock().unwrap().remove(&uuid);
    }
    fn observe(&self, _observer: Arc<dyn LaunchObserver>) {}
}
