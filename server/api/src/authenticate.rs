//! `/authenticate`: POST logs in, PUT renews the access token, DELETE ends the session. Source: VOLTTRON 9
//! `volttron/platform/web/authenticate_endpoint.py`.
//!
//! | Method | Request | Success | Failure |
//! |---|---|---|---|
//! | POST | JSON or form, `username`, `password` | 200 `{"refresh_token", "access_token"}`; with `Accept: text/plain` the bare access token | 401, 429 with `Retry-After` |
//! | PUT | `Authorization: Bearer <refresh token>`; a body is accepted and ignored | 200 `{"access_token"}` | 401 |
//! | DELETE | either token | 204; both tokens are void, sockets close | 401 |
//!
//! Differs from VOLTTRON: DELETE works; nothing ends in 500; a renewed token has the groups that the user has now.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vt_services::ServiceError;

use crate::edge::{BODY_BYTES_MAX, RouteLabel};
use crate::error::{ApiError, json_response};
use crate::identify::{self, Credentials};
use crate::query::Query;
use crate::state::ApiState;
use crate::vui::body;

const ALLOW: &str = "POST, PUT, DELETE";

/// Answers all methods.
pub async fn serve(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let result = match parts.method {
        Method::POST => log_in(&state, &parts, body).await,
        Method::PUT => renew(&state, &parts, body).await,
        Method::DELETE => log_out(&state, &parts).await,
        _ => Ok(method_not_allowed(&parts.method)),
    };
    let mut response = result.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(RouteLabel("/authenticate"));
    response
}

async fn log_in(state: &ApiState, parts: &Parts, body: Body) -> Result<Response, ApiError> {
    let fields = fields(parts, body).await?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (username, password) = match (text("username"), text("password")) {
        (Some(username), Some(password)) => (username, password),
        (username, password) => {
            let mut problem = String::new();
            if username.is_none() {
                problem.push_str("Invalid username passed");
            }
            if password.is_none() {
                problem.push_str("Invalid password passed");
            }
            return Ok(plain(StatusCode::UNAUTHORIZED, problem));
        }
    };
    match state.services.auth.login(username, password, identify::address(parts)).await {
        Ok(pair) if wants_bare_token(parts) => Ok(plain(StatusCode::OK, pair.access_token)),
        Ok(pair) => Ok(json_response(StatusCode::OK, &json!({"refresh_token": pair.refresh_token, "access_token": pair.access_token}))),
        Err(ServiceError::Unauthenticated(_)) => Ok(plain(StatusCode::UNAUTHORIZED, String::new())),
        Err(error) => Err(error.into()),
    }
}

async fn renew(state: &ApiState, parts: &Parts, body: Body) -> Result<Response, ApiError> {
    if is_json(parts) {
        // Accepted and without effect, but nonsense is told to be nonsense.
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            body::json(&bytes)?;
        }
    }
    let unauthorized = |text: &str| plain(StatusCode::UNAUTHORIZED, text.to_owned());
    let Some(Credentials::Given(token)) = identify::credentials(&parts.headers) else { return Ok(unauthorized("Unauthorized User")) };
    match state.services.auth.refresh(token).await {
        Ok(pair) => Ok(json_response(StatusCode::OK, &json!({"access_token": pair.access_token}))),
        Err(ServiceError::Unauthenticated(_)) if state.services.auth.verify(token).is_ok() => Ok(unauthorized("Invalid refresh token.")),
        Err(ServiceError::Unauthenticated(_) | ServiceError::Forbidden(_)) => Ok(unauthorized("Unauthorized User")),
        Err(error) => Err(error.into()),
    }
}

async fn log_out(state: &ApiState, parts: &Parts) -> Result<Response, ApiError> {
    let credentials = identify::credentials(&parts.headers).ok_or_else(ApiError::unauthenticated)?;
    let auth = &state.services.auth;
    let session = auth
        .verify(credentials.token())
        .or_else(|_| auth.session_of_refresh(credentials.token()))
        .map_err(|_| ApiError::unauthenticated())?;
    identify::refuse_foreign(credentials, parts)?;
    auth.logout(&session).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if matches!(credentials, Credentials::Cookie(_)) {
        let gone = HeaderValue::from_static("Bearer=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
        response.headers_mut().insert(header::SET_COOKIE, gone);
    }
    Ok(response)
}

fn method_not_allowed(method: &Method) -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, format!("/authenticate endpoint does not support {method} method."));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOW));
    response
}

/// The fields of a JSON object or of a form.
async fn fields(parts: &Parts, body: Body) -> Result<Map<String, Value>, ApiError> {
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    if is_json(parts) {
        return match body::json(&bytes)? {
            Value::Object(fields) => Ok(fields),
            _ => Err(ApiError::invalid("The body must be a JSON object with username and password.")),
        };
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::invalid("The body is not UTF-8 text."))?;
    let form = Query::parse(text);
    let field = |name: &str| Some((name.to_owned(), Value::from(form.get(name)?)));
    Ok(["username", "password"].into_iter().filter_map(field).collect())
}

fn is_json(parts: &Parts) -> bool {
    parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("application/json"))
}

/// Clients of VOLTTRON 6 expect the access token alone and say so.
fn wants_bare_token(parts: &Parts) -> bool {
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("text/plain") && !accept.contains("application/json")
}

fn plain(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
