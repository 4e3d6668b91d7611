//! What every request carries into its handler: the services, the session (renewed here when its access token runs out), theme, form subject,
//! message of the last redirect. On the way out: cookies, security headers, and the pages of errors.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use askama::Template;
use axum::extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde_json::json;
use vt_services::{Caller, Session, TokenPair};
use vt_types::ErrorKind;
use vt_types::timestamp::Timestamp;

use crate::cookies::{self, NewCookies};
use crate::error::{PageError, REQUEST_ID};
use crate::frame::{Flash, Frame, Section, Theme};
use crate::routes::Web;
use crate::{local, ui};

/// An access token with less than this to live is renewed early, so that scripts and sockets find a good one.
const RENEW_BEFORE_S: i64 = 6 * 60;
const CONTENT_SECURITY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// See the module.
#[derive(Clone)]
pub struct Cx {
    /// Services and what pages keep between requests.
    pub web: Arc<Web>,
    /// Who asks, if logged in.
    pub session: Option<Session>,
    /// What form tokens are bound to.
    pub subject: String,
    /// Where from.
    pub address: Option<IpAddr>,
    /// When the request came.
    pub now: Timestamp,
    /// A script keeps the page current; it wants the changing parts only.
    pub refresh: bool,
    theme: Theme,
    flash: Option<Flash>,
    here: String,
}

impl Cx {
    /// What surrounds a page of `section`.
    #[must_use]
    pub fn frame(&self, section: Section) -> Frame {
        Frame {
            instance: self.web.services.instance.name.clone(),
            user: self.session.as_ref().map(|session| session.user.clone()),
            is_admin: self.session.as_ref().is_some_and(|session| session.caller(None).is_admin()),
            theme: self.theme,
            section,
            csrf: self.web.csrf.token(&self.subject),
            flash: self.flash.clone(),
            now: self.now,
            here: self.here.clone(),
        }
    }
}

/// A logged-in viewer with the right to see pages.
#[derive(Clone)]
pub struct Viewer {
    /// The request.
    pub cx: Cx,
    /// Who asks.
    pub caller: Caller,
    /// The session.
    pub session: Session,
}

impl<S: Send + Sync> FromRequestParts<S> for Cx {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| PageError::new(ErrorKind::Internal, "The request did not pass the pages' own layer."))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let cx = <Cx as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        let Some(session) = cx.session.clone() else {
            return Err(PageError::new(ErrorKind::Unauthenticated, "Your session has ended."));
        };
        let caller = session.caller(cx.address);
        caller.require_vui().map_err(|_| PageError::forbidden("Your account may not use these pages; it needs the group vui or admin."))?;
        Ok(Self { cx, caller, session })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Viewer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(<Self as FromRequestParts<S>>::from_request_parts(parts, state).await.ok())
    }
}

/// Renders a page.
pub fn page(template: &impl Template) -> Result<Response, PageError> {
    page_with(StatusCode::OK, template)
}

/// Renders a page with another status than 200.
pub fn page_with(status: StatusCode, template: &impl Template) -> Result<Response, PageError> {
    let mut response = (status, Html(template.render()?)).into_response();
    response.extensions_mut().insert(Rendered);
    Ok(response)
}

/// Goes to `path` and shows a message there.
pub fn back_with(cx: &Cx, path: &str, tone: ui::Tone, text: impl Into<String>) -> Response {
    let mut cookies = NewCookies::default();
    cookies.flash(&Flash { tone, text: text.into() }, cx.web.secure);
    let mut response = Redirect::to(path).into_response();
    cookies.apply(response.headers_mut());
    response
}

/// The cookies that a new pair of tokens needs.
pub fn token_cookies(pair: &TokenPair, now: Timestamp, secure: bool) -> NewCookies {
    let mut cookies = NewCookies::default();
    cookies.set(cookies::ACCESS, &pair.access_token, (pair.access_expires_at - now).num_seconds(), secure);
    cookies.set(cookies::REFRESH, &pair.refresh_token, (pair.refresh_expires_at - now).num_seconds(), secure);
    cookies
}

/// The page carries the flash message, which is thereby spent.
#[derive(Clone, Copy)]
struct Rendered;

/// The layer around all pages.
pub async fn layer(State(web): State<Arc<Web>>, mut request: Request, next: Next) -> Response {
    let now = web.services.clock.now();
    let mut cookies = NewCookies::default();
    let session = session(&web, request.headers(), now, &mut cookies).await;
    let subject = match &session {
        Some(session) => session.id.clone(),
        None => visitor(request.headers(), &mut cookies, web.secure),
    };
    let refresh = request.headers().contains_key("x-refresh");
    let cx = Cx {
        session,
        subject,
        address: request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()),
        now,
        refresh,
        theme: Theme::parse(cookies::find(request.headers(), cookies::THEME).unwrap_or_default()),
        // A script that refreshes a page must not take the message away from the page that follows a redirect.
        flash: if refresh { None } else { cookies::read_flash(request.headers()) },
        here: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        web,
    };
    let asked = Asked::of(&request);
    let request_id = asked.request_id.clone();
    request.extensions_mut().insert(cx.clone());
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<PageError>() {
        response = explain(&cx, &asked, &error, &response);
    }
    if cx.flash.is_some() && response.extensions().get::<Rendered>().is_some() {
        cookies.remove(cookies::FLASH, cx.web.secure);
    }
    // Cookies of the handler come last and win.
    let own: Vec<_> = response.headers().get_all(header::SET_COOKIE).iter().cloned().collect();
    response.headers_mut().remove(header::SET_COOKIE);
    cookies.apply(response.headers_mut());
    for cookie in own {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    secure(response.headers_mut(), cx.web.secure);
    response
}

/// What the answer to an error depends on.
struct Asked {
    json: bool,
    get: bool,
    path: String,
    back: Option<String>,
    request_id: String,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        Self {
            json: text(header::ACCEPT)
                .is_some_and(|accept| accept.starts_with("application/json") || accept.starts_with("text/event-stream")),
            get: matches!(*request.method(), Method::GET | Method::HEAD),
            path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            back: text(header::REFERER).and_then(local::path_of_url),
            request_id: text(REQUEST_ID).filter(|id| is_plain(id)).map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned),
        }
    }
}

/// Whether a caller's own request number can stand in a log line and a page.
fn is_plain(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn explain(cx: &Cx, asked: &Asked, error: &PageError, bare: &Response) -> Response {
    let status = bare.status();
    if status.is_server_error() {
        tracing::warn!(request_id = asked.request_id, path = asked.path, status = status.as_u16(), error = error.text, "a page failed");
    }
    let mut response = if asked.json {
        (status, axum::Json(json!({"error": error.text, "request_id": asked.request_id}))).into_response()
    } else if error.kind == ErrorKind::Unauthenticated {
        if !cx.web.services.auth.has_users() {
            return Redirect::to("/setup").into_response();
        }
        let next = if asked.get { asked.path.clone() } else { asked.back.clone().unwrap_or_else(|| "/".to_owned()) };
        return Redirect::to(&local::login_for(&next)).into_response();
    } else {
        let page = ErrorPage {
            frame: cx.frame(Section::None),
            status: status.as_u16(),
            heading: error.heading(),
            text: &error.text,
            back: asked.back.as_deref().filter(|_| !asked.get),
            request_id: status.is_server_error().then_some(asked.request_id.as_str()),
        };
        match page.render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => (status, error.text.clone()).into_response(),
        }
    };
    for (name, value) in bare.headers() {
        if *name == header::RETRY_AFTER || *name == header::ALLOW {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// 403, 404, 500 and their like.
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    /// Surroundings.
    pub frame: Frame,
    /// HTTP status.
    pub status: u16,
    /// Heading.
    pub heading: &'static str,
    /// What the reader should know.
    pub text: &'a str,
    /// Where the form was that failed.
    pub back: Option<&'a str>,
    /// The request's number in the log.
    pub request_id: Option<&'a str>,
}

/// The session of the cookies; renewed, with new cookies, when the access token has run out or soon will.
async fn session(web: &Web, headers: &HeaderMap, now: Timestamp, new: &mut NewCookies) -> Option<Session> {
    let present = cookies::find(headers, cookies::ACCESS).and_then(|token| web.services.auth.verify(token).ok());
    if let Some(session) = &present
        && (session.access_expires_at - now).num_seconds() > RENEW_BEFORE_S
    {
        return present;
    }
    let Some(refresh) = cookies::find(headers, cookies::REFRESH) else { return present };
    match web.services.auth.refresh(refresh).await {
        Ok(pair) => {
            *new = token_cookies(&pair, now, web.secure);
            web.services.auth.verify(&pair.access_token).ok()
        }
        Err(error) if error.kind() == ErrorKind::Unauthenticated && present.is_none() => {
            new.remove(cookies::ACCESS, web.secure);
            new.remove(cookies::REFRESH, web.secure);
            None
        }
        Err(_) => present,
    }
}

/// The anonymous visitor's mark; set when there is none.
fn visitor(headers: &HeaderMap, new: &mut NewCookies, secure: bool) -> String {
    if let Some(known) =
        cookies::find(headers, cookies::VISITOR).filter(|value| value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return known.to_owned();
    }
    let fresh = format!("{:032x}", rand::random::<u128>());
    new.set(cookies::VISITOR, &fresh, 24 * 3600, secure);
    fresh
}

fn secure(headers: &mut HeaderMap, https: bool) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    // Pages show live state and carry form tokens; files say themselves how long they may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
