//! The layer around every request: request id, time limit, caught panics, security headers, counting, one log line. Sees no bodies and
//! logs no headers, so that no token can reach the log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tower_http::compression::predicate::Predicate;
use tracing::Instrument;

use crate::error::ApiError;
use crate::state::ApiState;

/// Longest time for one request; websockets live on after their upgrade.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest body unless a resource says otherwise, bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Smallest body worth compressing, bytes.
const COMPRESSED_FROM_BYTES: u64 = 1024;
/// Names a request in answers and in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken over from a caller, in characters.
const REQUEST_ID_CHARS_MAX: usize = 64;

/// What a response is counted under, set by its handler. Never made of what a caller sent.
#[derive(Debug, Clone, Copy)]
pub struct RouteLabel(pub &'static str);

/// Marks a response without secrets and worth compressing.
#[derive(Debug, Clone, Copy)]
pub struct Compressible;

/// Compresses what is marked. Everything else stays as it is: lengths of compressed secrets can be told apart.
#[derive(Debug, Clone, Copy)]
pub struct Compressed;

impl Predicate for Compressed {
    fn should_compress<B: HttpBody>(&self, response: &HttpResponse<B>) -> bool {
        response.extensions().get::<Compressible>().is_some() && response.body().size_hint().lower() >= COMPRESSED_FROM_BYTES
    }
}

/// The layer; gives up after the limit beside the state.
pub async fn layer(State((state, limit)): State<(Arc<ApiState>, Duration)>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    if let Ok(value) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(REQUEST_ID, value);
    }
    let method = request.method().clone();
    let span = tracing::info_span!("request", %method, path = request.uri().path(), request_id = id);
    let answer = tokio::time::timeout(limit, AssertUnwindSafe(next.run(request)).catch_unwind()).instrument(span.clone()).await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            span.in_scope(|| tracing::error!("a handler panicked"));
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "The platform failed to answer; its log tells more.").into_response()
        }
        Err(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "The request took too long and was given up.").into_response(),
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    let status = response.status();
    let elapsed = started.elapsed();
    let route = response.extensions().get::<RouteLabel>().map_or("other", |label| label.0);
    state.http.count(route, method.as_str(), status.as_u16(), elapsed);
    span.in_scope(|| {
        let elapsed_ms = elapsed.as_millis();
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), elapsed_ms, "request failed");
        } else {
            tracing::debug!(status = status.as_u16(), elapsed_ms, "request answered");
        }
    });
    response
}

/// The caller's own id if it is plain and short, else a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |text: &&str| {
        !text.is_empty()
            && text.len() <= REQUEST_ID_CHARS_MAX
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    given.filter(plain).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}
