//! One type for everything that goes wrong in a page. Handlers return [`PageError`]; `cx` renders it as a page in the design of the others, or
//! as `{"error": ...}` for scripts. Statuses follow [`ErrorKind`]; inner causes never appear.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use vt_services::ServiceError;
use vt_types::ErrorKind;

/// Why a page could not be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PageError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// One sentence for the reader.
    pub text: String,
    /// For [`ErrorKind::RateLimited`]: when to try again, seconds.
    pub retry_after_s: Option<u64>,
}

impl PageError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), retry_after_s: None }
    }

    /// Nothing lies under this address.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, text)
    }

    /// The request cannot be understood.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, text)
    }

    /// The viewer may not do this.
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, text)
    }

    /// Its HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        status(self.kind)
    }

    /// The heading of its page.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        match self.kind {
            ErrorKind::NotFound => "Not found",
            ErrorKind::AlreadyExists => "It exists already",
            ErrorKind::Invalid => "That does not fit",
            ErrorKind::Unauthenticated => "Please log in",
            ErrorKind::Forbidden => "Not allowed",
            ErrorKind::Conflict => "Not possible now",
            ErrorKind::RateLimited => "Too many attempts",
            ErrorKind::Unavailable => "Not available now",
            ErrorKind::Timeout => "No answer in time",
            ErrorKind::Internal => "Something went wrong here",
        }
    }
}

/// The HTTP status of a kind of error.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ServiceError> for PageError {
    fn from(error: ServiceError) -> Self {
        if let ServiceError::Internal(cause) = &error {
            tracing::error!(cause, "a page failed");
        }
        let retry_after_s = match &error {
            ServiceError::RateLimited { retry_after_s } => Some(*retry_after_s),
            _ => None,
        };
        Self { kind: error.kind(), text: sentence(&error.to_string()), retry_after_s }
    }
}

impl From<askama::Error> for PageError {
    fn from(error: askama::Error) -> Self {
        tracing::error!(%error, "a page could not be rendered");
        Self::new(ErrorKind::Internal, "The page could not be made. The server's log tells why.")
    }
}

impl IntoResponse for PageError {
    /// Leaves the error in the response's extensions; the layer in `cx` knows theme and viewer and makes the body.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Starts with a capital and ends with a full stop, as sentences on pages do.
pub fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let mut sentence: String = chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default();
    // Identities, method names and what a colon follows keep their spelling.
    if text.trim().split(' ').next().is_some_and(|word| word.contains(['.', '_', '/', ':'])) {
        sentence = text.trim().to_owned();
    }
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// The number by which the log knows a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_sentences() {
        assert_eq!(sentence("agent is already running"), "Agent is already running.");
        assert_eq!(sentence("platform.driver did not answer"), "platform.driver did not answer.");
        assert_eq!(sentence("config: this is no valid JSON"), "config: this is no valid JSON.");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn inner_causes_stay_in_the_log() {
        let error = PageError::from(ServiceError::Internal("/secret".to_owned()));
        assert!(!error.text.contains("secret"));
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(PageError::from(ServiceError::RateLimited { retry_after_s: 7 }).into_response().headers()[header::RETRY_AFTER], "7");
    }
}
