//! Protection of state changes against other sites: the browser's own word (`Sec-Fetch-Site`, else `Origin`) and a token in every form that is
//! bound to the session. Cookies are `SameSite=Strict` besides. The key lives as long as the process: a form that is older than the server is
//! refused with advice; with scripts it asks `/session` for its new token before it is sent.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, Uri, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::cx::Cx;
use crate::error::PageError;

/// SHA-256 works on blocks of so many bytes.
const BLOCK: usize = 64;
/// What is said to whoever sends a token that does not fit.
const OLD_FORM: &str = "This form is older than your session or than the server's last start. Go back, load the page again and repeat.";

/// Makes and checks form tokens.
pub struct CsrfKey([u8; 32]);

impl CsrfKey {
    /// A key from the operating system's random numbers.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The token of forms shown to `subject`: a session, or an anonymous visitor's cookie.
    #[must_use]
    pub fn token(&self, subject: &str) -> String {
        self.mac(subject.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn fits(&self, subject: &str, token: &str) -> bool {
        self.token(subject).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// HMAC-SHA-256 (RFC 2104) for a key shorter than a block.
    fn mac(&self, message: &[u8]) -> [u8; 32] {
        let pad = |mask: u8| {
            let mut block = [mask; BLOCK];
            for (to, from) in block.iter_mut().zip(self.0) {
                *to ^= from;
            }
            block
        };
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
    }
}

/// A posted form that this site's own page sent, and the session's own.
pub struct Checked<T>(pub T);

#[derive(Deserialize)]
struct WithToken<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    form: T,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Checked<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let Some(cx) = request.extensions().get::<Cx>().cloned() else {
            return Err(PageError::forbidden("This form did not come through a page of this server."));
        };
        check_site(request.headers(), request.uri())?;
        let axum::Form(WithToken { csrf, form }) = axum::Form::<WithToken<T>>::from_request(request, state).await.map_err(|rejection| {
            PageError { kind: vt_types::ErrorKind::Invalid, text: format!("The form could not be read: {rejection}."), retry_after_s: None }
        })?;
        if !cx.web.csrf.fits(&cx.subject, &csrf) {
            return Err(PageError::forbidden(OLD_FORM));
        }
        Ok(Self(form))
    }
}

/// A posted form with a file, checked as [`Checked`] is. At most one file is taken; the body's limit is the route's.
pub struct CheckedUpload {
    /// Fields by name.
    pub texts: BTreeMap<String, String>,
    /// Name and content of the file, if one was chosen.
    pub file: Option<(String, Vec<u8>)>,
}

impl<S: Send + Sync> FromRequest<S> for CheckedUpload {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let Some(cx) = request.extensions().get::<Cx>().cloned() else {
            return Err(PageError::forbidden("This form did not come through a page of this server."));
        };
        check_site(request.headers(), request.uri())?;
        let unreadable = |error: &dyn std::fmt::Display| PageError::invalid(format!("The form could not be read: {error}."));
        let mut form = Multipart::from_request(request, state).await.map_err(|error| unreadable(&error))?;
        let mut upload = Self { texts: BTreeMap::new(), file: None };
        while let Some(field) = form.next_field().await.map_err(|error| unreadable(&error.body_text()))? {
            let (name, file_name) = (field.name().unwrap_or_default().to_owned(), field.file_name().map(str::to_owned));
            // The token comes first, so that nobody's file is read who may not send one.
            let is_known = upload.texts.get("csrf").is_some_and(|token| cx.web.csrf.fits(&cx.subject, token));
            match file_name {
                Some(_) if !is_known => break,
                Some(file_name) => {
                    let content = field.bytes().await.map_err(|error| unreadable(&error.body_text()))?;
                    if !file_name.is_empty() {
                        upload.file = Some((file_name, content.to_vec()));
                    }
                }
                None => {
                    upload.texts.insert(name, field.text().await.map_err(|error| unreadable(&error.body_text()))?);
                }
            }
        }
        if !cx.web.csrf.fits(&cx.subject, upload.texts.get("csrf").map_or("", String::as_str)) {
            return Err(PageError::forbidden(OLD_FORM));
        }
        Ok(upload)
    }
}

/// Refuses requests that another site caused.
fn check_site(headers: &HeaderMap, uri: &Uri) -> Result<(), PageError> {
    let refused = || PageError::forbidden("This request was sent by a page of another site.");
    if let Some(site) = headers.get("sec-fetch-site") {
        return if matches!(site.as_bytes(), b"same-origin" | b"none") { Ok(()) } else { Err(refused()) };
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let host =
        uri.authority().map(|authority| authority.as_str()).or_else(|| headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    if origin.is_some() && origin == host { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn mac_agrees_with_rfc_4231() {
        // Test case 1 has a key of 20 bytes 0x0b; zero padding makes 32 of it.
        let mut key = [0_u8; 32];
        key[..20].fill(0x0b);
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        let mac: String = CsrfKey(key).mac(b"Hi There").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(mac, expected);
    }

    #[test]
    fn a_token_fits_its_own_session_only() {
        let key = CsrfKey::random();
        let token = key.token("one");
        assert!(key.fits("one", &token));
        assert!(!key.fits("two", &token));
        assert!(!key.fits("one", ""));
        assert!(!CsrfKey::random().fits("one", &token));
    }

    fn site(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers =
            pairs.iter().map(|(name, value)| (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        check_site(&headers, &Uri::from_static("/login")).is_ok()
    }

    #[test]
    fn other_sites_are_refused() {
        assert!(site(&[("sec-fetch-site", "same-origin")]));
        assert!(!site(&[("sec-fetch-site", "cross-site")]));
        assert!(!site(&[("sec-fetch-site", "same-site"), ("origin", "https://h:8443"), ("host", "h:8443")]));
        assert!(site(&[("origin", "https://h:8443"), ("host", "h:8443")]));
        assert!(!site(&[("origin", "https://evil:8443"), ("host", "h:8443")]));
        assert!(!site(&[("origin", "null"), ("host", "h:8443")]));
        assert!(site(&[("host", "h:8443")]), "no browser: the token still decides");
    }
}
