//! `/setup` (first administrator), `/login`, `/logout`, `/session` (renewal, for scripts) and the choice of colours.

use askama::Template;
use axum::Json;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;
use vt_types::ErrorKind;

use crate::cookies::{self, NewCookies};
use crate::csrf::Checked;
use crate::cx::{Cx, back_with, page, page_with, token_cookies};
use crate::error::PageError;
use crate::frame::{Frame, Section, Theme};
use crate::local;
use crate::ui::{self, Tone};

/// What the form asks for at least; the service decides.
const PASSWORD_CHARS_MIN: usize = 10;

/// `/setup`
#[derive(Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    /// Surroundings.
    pub frame: Frame,
    /// What was wrong.
    pub problem: Option<String>,
    /// What was entered.
    pub code: String,
    /// What was entered.
    pub user: String,
    /// For the form.
    pub password_chars_min: usize,
}

/// `/login`
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    /// Surroundings.
    pub frame: Frame,
    /// What was wrong.
    pub problem: Option<String>,
    /// What was entered.
    pub user: String,
    /// Where to go afterwards.
    pub next: String,
}

/// `GET /setup`, only while no user exists.
pub async fn setup(cx: Cx) -> Result<Response, PageError> {
    if cx.web.services.auth.has_users() {
        return Ok(Redirect::to("/login").into_response());
    }
    page(&setup_page(&cx, None, String::new(), String::new()))
}

fn setup_page(cx: &Cx, problem: Option<String>, code: String, user: String) -> SetupPage {
    SetupPage { frame: cx.frame(Section::None), problem, code, user, password_chars_min: PASSWORD_CHARS_MIN }
}

/// Fields of the first-run form.
#[derive(Deserialize)]
pub struct SetupForm {
    #[serde(default)]
    code: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    repeat: String,
}

/// `POST /setup`. The service lets exactly one of several posts win.
pub async fn create_first(cx: Cx, Checked(form): Checked<SetupForm>) -> Result<Response, PageError> {
    let auth = &cx.web.services.auth;
    if auth.has_users() {
        return Ok(back_with(&cx, "/login", Tone::Stale, "The first administrator exists already. Log in with that account."));
    }
    if form.password != form.repeat {
        let problem = Some("The two passwords differ. Type them again.".to_owned());
        return page_with(StatusCode::UNPROCESSABLE_ENTITY, &setup_page(&cx, problem, form.code, form.user));
    }
    match auth.create_first_administrator(form.code.trim(), form.user.trim(), &form.password, cx.address).await {
        Ok(pair) => {
            let mut response =
                back_with(&cx, "/", Tone::Good, format!("Welcome, {}. You are the administrator of this instance.", form.user.trim()));
            token_cookies(&pair, cx.now, cx.web.secure).apply(response.headers_mut());
            Ok(response)
        }
        Err(_) if auth.has_users() => {
            Ok(back_with(&cx, "/login", Tone::Stale, "Somebody else just created the first administrator. Log in with that account."))
        }
        Err(error) => {
            let error = PageError::from(error);
            page_with(error.status(), &setup_page(&cx, Some(error.text), form.code, form.user))
        }
    }
}

/// Query of the log-in page.
#[derive(Deserialize)]
pub struct LoginQuery {
    #[serde(default)]
    next: String,
}

/// `GET /login`
pub async fn login(cx: Cx, Query(query): Query<LoginQuery>) -> Result<Response, PageError> {
    if !cx.web.services.auth.has_users() {
        return Ok(Redirect::to("/setup").into_response());
    }
    let next = local::path_or_root(&query.next);
    if cx.session.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    page(&LoginPage { frame: cx.frame(Section::None), problem: None, user: String::new(), next: next.to_owned() })
}

/// Fields of the log-in form.
#[derive(Deserialize)]
pub struct LoginForm {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /login`
pub async fn log_in(cx: Cx, Checked(form): Checked<LoginForm>) -> Result<Response, PageError> {
    let next = local::path_or_root(&form.next);
    match cx.web.services.auth.login(form.user.trim(), &form.password, cx.address).await {
        Ok(pair) => {
            let mut response = Redirect::to(next).into_response();
            token_cookies(&pair, cx.now, cx.web.secure).apply(response.headers_mut());
            Ok(response)
        }
        Err(error) => {
            let error = PageError::from(error);
            let text = match error.kind {
                ErrorKind::Unauthenticated | ErrorKind::Invalid => "User name or password is wrong.".to_owned(),
                _ => error.text.clone(),
            };
            let mut response = page_with(
                error.status(),
                &LoginPage { frame: cx.frame(Section::None), problem: Some(text), user: form.user, next: next.to_owned() },
            )?;
            if let Some(seconds) = error.retry_after_s {
                response.headers_mut().insert(axum::http::header::RETRY_AFTER, axum::http::HeaderValue::from(seconds));
            }
            Ok(response)
        }
    }
}

/// A form that has nothing but its token.
#[derive(Deserialize)]
pub struct Empty {}

/// `POST /logout`
pub async fn log_out(cx: Cx, Checked(Empty {}): Checked<Empty>) -> Result<Response, PageError> {
    if let Some(session) = &cx.session {
        cx.web.services.auth.logout(session).await?;
    }
    let mut response = back_with(&cx, "/login", Tone::Good, "You are logged out.");
    let mut cookies = NewCookies::default();
    cookies.remove(cookies::ACCESS, cx.web.secure);
    cookies.remove(cookies::REFRESH, cx.web.secure);
    cookies.apply(response.headers_mut());
    Ok(response)
}

/// `GET /session`: who is logged in and until when, or `"user": null`; passing `cx::layer` has renewed it if that was due. Not an error
/// without a session: pages ask in order to know. `csrf` is the token of forms from now on: with it a form that is older than its session, or
/// than the server's last start, is sent with what was typed into it.
pub async fn session(cx: Cx) -> Response {
    let csrf = cx.web.csrf.token(&cx.subject);
    match &cx.session {
        Some(session) => {
            Json(json!({"user": session.user, "groups": session.groups, "expires_at": ui::stamp(session.access_expires_at), "csrf": csrf}))
                .into_response()
        }
        None => Json(json!({"user": null, "csrf": csrf})).into_response(),
    }
}

/// The choice of colours.
#[derive(Deserialize)]
pub struct ThemeForm {
    #[serde(default)]
    theme: String,
    #[serde(default)]
    next: String,
}

/// `POST /preferences/theme`
pub async fn theme(cx: Cx, Checked(form): Checked<ThemeForm>) -> Response {
    let mut response = Redirect::to(local::path_or_root(&form.next)).into_response();
    let mut cookies = NewCookies::default();
    cookies.theme(Theme::parse(&form.theme).as_str(), cx.web.secure);
    cookies.apply(response.headers_mut());
    response
}
