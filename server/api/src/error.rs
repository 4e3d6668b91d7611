//! Errors as clients see them: `{"error": "<sentence>"}` and a status. The only place where services' errors become HTTP.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vt_services::ServiceError;
use vt_types::{ErrorKind, RpcError};

/// Body of answers to callers who did not prove who they are, or may not do this; the same for both, as in VOLTTRON.
pub const NOT_AUTHORIZED: &str = "Not Authorized";

/// An answer that is an error.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// An error with one sentence.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, body: json!({"error": text.into()}), headers: Vec::new() }
    }

    /// An error with a body of its own, which should have the key `error`.
    pub fn with_body(status: StatusCode, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    /// 400. Also for what does not exist on the paths that VOLTTRON has.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404, for the paths that are ours.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// 401.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, NOT_AUTHORIZED).with_header(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// 403.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, NOT_AUTHORIZED)
    }

    /// Adds a header; values that are no header value are left out.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Adds the key `Error` that VOLTTRON uses on configuration routes.
    pub fn with_capital_key(mut self) -> Self {
        let text = self.body.get("error").cloned().unwrap_or_default();
        if let Value::Object(body) = &mut self.body {
            body.shift_insert(0, "Error".to_owned(), text);
        }
        self
    }

    /// What does not exist is 404 instead of VOLTTRON's 400.
    pub fn of_new_route(error: ServiceError) -> Self {
        let missing = error.kind() == ErrorKind::NotFound;
        let mut error = Self::from(error);
        if missing {
            error.status = StatusCode::NOT_FOUND;
        }
        error
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    pub fn text(&self) -> &str {
        self.body.get("error").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The status of a kind of error on VOLTTRON's routes.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound | ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        match &error {
            ServiceError::Unauthenticated(_) => Self::unauthenticated(),
            ServiceError::RateLimited { retry_after_s } => {
                let seconds = retry_after_s.to_string();
                Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).with_header(header::RETRY_AFTER, &seconds)
            }
            ServiceError::Rpc(RpcError::Remote(raised)) if error.kind() == ErrorKind::Internal => {
                let body = json!({"error": error.to_string(), "exception": {"type": raised.exc_type, "message": raised.message}});
                Self::with_body(StatusCode::BAD_GATEWAY, body)
            }
            ServiceError::Internal(cause) => {
                tracing::error!(cause, "a request failed by a fault of the platform");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            _ => Self::new(status(error.kind()), error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.body);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// A JSON answer.
pub fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_inside_the_platform_are_not_shown() {
        let error = ApiError::from(ServiceError::Internal("/secret".to_owned()));
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.text().contains("secret"));
    }

    #[test]
    fn kinds_have_their_status() {
        let raised = |class: &str| ApiError::from(ServiceError::Rpc(RpcError::raised(class, "text")));
        assert_eq!(raised("builtins.KeyError").status(), StatusCode::BAD_REQUEST);
        assert_eq!(raised("actuator.LockError").status(), StatusCode::CONFLICT);
        assert_eq!(raised("builtins.ZeroDivisionError").status(), StatusCode::BAD_GATEWAY);
        let limited = ApiError::from(ServiceError::RateLimited { retry_after_s: 7 }).into_response();
        assert_eq!(limited.headers()[header::RETRY_AFTER], "7");
        assert_eq!(ApiError::of_new_route(ServiceError::NotFound("x".to_owned())).status(), StatusCode::NOT_FOUND);
        assert_eq!(ApiError::invalid("x").with_capital_key().body.to_string(), r#"{"Error":"x","error":"x"}"#);
    }
}
