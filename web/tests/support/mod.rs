//! The services' test bench behind the pages' router, and visitors with cookie jars.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up fails")]

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use chrono::Duration;
use http_body_util::BodyExt;
use tower::ServiceExt;
use vt_services::bench::{Bench, Running};
use vt_services::{Caller, ConfigType, Services};
use vt_types::Identity;
use vt_web::WebState;

/// Code of the first run.
pub const CODE: &str = "ABCD-EFGH";
/// A password that is long enough.
pub const PASSWORD: &str = "correct horse battery";

/// The pages and what is behind them.
pub struct Site {
    pub router: Router,
    pub services: Services,
    pub bench: Bench,
    pub running: Running,
}

impl Site {
    /// A site without users.
    pub async fn fresh() -> Self {
        let bench = Bench { setup_code: Some(CODE.to_owned()), ..Bench::default() };
        let running = bench.start().await;
        let services = running.services.clone();
        Self { router: vt_web::router(WebState::new(services.clone())), services, bench, running }
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
        self.bench.clock.advance(Duration::minutes(minutes));
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

    pub async fn send_body(&mut self, mut request: axum::http::request::Builder, body: Body) -> Answer {
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

    /// Posts a form with a file, as browsers do, with the token that `page` shows.
    pub async fn upload(&mut self, page: &str, path: &str, fields: &[(&str, &str)], file: Option<(&str, &str)>) -> Answer {
        let token = self.token(page).await;
        let text = |name: &str, value: &str| format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        let mut body = text("csrf", &token);
        body.extend(fields.iter().map(|(name, value)| text(name, value)));
        let (name, content) = file.unwrap_or_default();
        body += &format!("--limit\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n--limit--\r\n");
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=limit")
            .header("sec-fetch-site", "same-origin")
            .header(header::ACCEPT, "text/html");
        self.send_body(request, Body::from(body)).await
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
