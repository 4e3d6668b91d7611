//! Who asks: the access token of a request, from the header, from the cookie of our pages, or (websockets of browsers, which cannot set
//! headers) from the list of sub-protocols. A cookie is sent by the browser whoever made it ask, so a request with one must come from our
//! own pages if it changes anything or opens a socket.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use vt_services::{Auth, Caller, Session};

use crate::error::ApiError;

/// Cookie with the access token.
pub const COOKIE: &str = "Bearer";
/// Start of the sub-protocol that carries a token.
const PROTOCOL: &str = "bearer.";

/// Who asks, verified.
pub struct Asker {
    pub session: Session,
    pub caller: Caller,
}

/// A token and how it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// By the program itself.
    Given(&'a str),
    /// By a browser, perhaps without its user's knowledge.
    Cookie(&'a str),
}

impl<'a> Credentials<'a> {
    /// The token.
    pub fn token(self) -> &'a str {
        match self {
            Self::Given(token) | Self::Cookie(token) => token,
        }
    }
}

/// Verifies the token and that a cookie came from our own pages.
///
/// # Errors
/// 401 without a good token, 403 for a foreign page and for users without the right to use `/vui`.
pub fn identify(auth: &Auth, parts: &Parts) -> Result<Asker, ApiError> {
    let credentials = credentials(&parts.headers).ok_or_else(ApiError::unauthenticated)?;
    let session = auth.verify(credentials.token()).map_err(|_| ApiError::unauthenticated())?;
    refuse_foreign(credentials, parts)?;
    let caller = session.caller(address(parts));
    if !caller.may_use_vui() {
        return Err(ApiError::forbidden());
    }
    Ok(Asker { session, caller })
}

/// The token of a request; `None` also for an `Authorization` header of any other form.
pub fn credentials(headers: &HeaderMap) -> Option<Credentials<'_>> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return bearer(value.to_str().ok()?).map(Credentials::Given);
    }
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    if let Some(token) = protocols.flat_map(|line| line.split(',')).find_map(|protocol| protocol.trim().strip_prefix(PROTOCOL)) {
        return Some(Credentials::Given(token));
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && !value.is_empty())
        .map(|(_, value)| Credentials::Cookie(value))
}

/// The token of `Bearer <token>`, the scheme in any case, exactly two parts.
fn bearer(value: &str) -> Option<&str> {
    let mut words = value.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(scheme), Some(token), None) if scheme.eq_ignore_ascii_case("bearer") => Some(token),
        _ => None,
    }
}

/// # Errors
/// 403 if a cookie came along from a page that is not ours.
pub fn refuse_foreign(credentials: Credentials<'_>, parts: &Parts) -> Result<(), ApiError> {
    let harmless = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) && !parts.headers.contains_key(header::UPGRADE);
    if matches!(credentials, Credentials::Given(_)) || harmless || is_own_page(parts) {
        return Ok(());
    }
    Err(ApiError::new(
        axum::http::StatusCode::FORBIDDEN,
        "A request with a cookie must come from this platform's own pages; programs send the token in the Authorization header.",
    ))
}

/// Whether the browser says that our own page, or the user, made the request.
fn is_own_page(parts: &Parts) -> bool {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let own_origin = text("origin").is_some_and(|origin| {
        let host = text("host").or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
        let origin_host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        origin_host.is_some() && origin_host == host
    });
    match text("sec-fetch-site") {
        Some(site) => matches!(site, "same-origin" | "none") && (own_origin || text("origin").is_none() || text("origin") == Some("null")),
        None => own_origin,
    }
}

/// Where the request came from.
pub fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(method: Method, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/vui");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn found(headers: &[(&str, &str)]) -> Option<String> {
        credentials(&parts(Method::GET, headers).headers).map(|credentials| format!("{credentials:?}"))
    }

    #[test]
    fn the_header_wins_over_the_cookie_and_must_have_two_parts() {
        for scheme in ["bearer", "BEARER", "Bearer"] {
            assert_eq!(found(&[("authorization", &format!("{scheme} t")), ("cookie", "Bearer=c")]).as_deref(), Some("Given(\"t\")"));
        }
        assert_eq!(found(&[("authorization", "Bearer a b"), ("cookie", "Bearer=c")]), None);
        assert_eq!(found(&[("authorization", "Basic a")]), None);
        assert_eq!(found(&[("cookie", "x=y; Bearer=c")]).as_deref(), Some("Cookie(\"c\")"));
        assert_eq!(found(&[("sec-websocket-protocol", "volttron.v2, bearer.t")]).as_deref(), Some("Given(\"t\")"));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_cookie_changes_things_only_from_our_own_pages() {
        let allowed = |method: Method, headers: &[(&str, &str)]| refuse_foreign(Credentials::Cookie("c"), &parts(method, headers)).is_ok();
        assert!(allowed(Method::GET, &[]));
        assert!(allowed(Method::PUT, &[("sec-fetch-site", "same-origin")]));
        assert!(allowed(Method::PUT, &[("origin", "https://h:1"), ("host", "h:1")]));
        for foreign in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil"), ("host", "h:1")],
            &[("origin", "https://evil"), ("host", "h:1"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(!allowed(Method::PUT, foreign), "{foreign:?}");
        }
        assert!(!allowed(Method::GET, &[("upgrade", "websocket"), ("origin", "https://evil"), ("host", "h:1")]));
        assert!(refuse_foreign(Credentials::Given("t"), &parts(Method::PUT, &[])).is_ok());
    }
}
