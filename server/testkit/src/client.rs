//! HTTPS against one server: trusts its CA alone, carries a token, and gives status and body together so that a failure shows both.

use std::time::Duration;

use reqwest::{Certificate, Method, StatusCode};
use serde_json::{Value, json};

/// Longest wait for one answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// The two tokens of a log-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Short-lived, opens the API.
    pub access: String,
    /// Longer-lived, renews the other.
    pub refresh: String,
}

/// An HTTPS client of one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    tokens: Option<Tokens>,
}

/// One answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON; panics when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Panics unless the status is this one.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// One header as text, empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Client {
    /// A client without tokens that trusts the CAs of the PEM text.
    #[must_use]
    pub fn new(url: &str, ca_pem: &[u8]) -> Self {
        // Refused when another client of the same process was first, which installed the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let trusted = Certificate::from_pem_bundle(ca_pem).expect("the CA file holds PEM certificates");
        let http = reqwest::Client::builder()
            .tls_certs_only(trusted)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(ANSWER_DEADLINE)
            .build()
            .expect("a client can be built");
        Self { http, url: url.to_owned(), tokens: None }
    }

    /// The same connections to a server that came back on another port.
    #[must_use]
    pub fn at(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// The tokens of the last log-in.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        self.tokens.as_ref().expect("nobody logged in")
    }

    /// The access token, when there is one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.tokens.as_ref().map(|tokens| tokens.access.as_str())
    }

    /// A request to a path, with the access token when there is one.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.tokens {
            Some(tokens) => request.bearer_auth(&tokens.access),
            None => request,
        }
    }

    /// Sends a request that fails to arrive only when the server is gone.
    ///
    /// # Errors
    /// The connection could not be made or broke.
    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Sends the first-run page's form.
    pub async fn setup(&self, code: &str, user: &str, password: &str) -> Answer {
        self.try_setup(code, user, password).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// Opens the first-run page and sends its form to a server that may be gone.
    ///
    /// # Errors
    /// The connection could not be made or broke.
    pub async fn try_setup(&self, code: &str, user: &str, password: &str) -> reqwest::Result<Answer> {
        let page = self.try_send(self.request(Method::GET, "/setup")).await?;
        // The form is bound to the visitor to whom it was shown; without one (a server that has its administrator) it is refused.
        let token =
            page.text.split_once("name=\"csrf\" value=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(token, _)| token);
        let visitor = page.header("set-cookie").split(';').next().unwrap_or_default();
        let form = [("csrf", token), ("code", code), ("user", user), ("password", password), ("repeat", password)];
        let body: Vec<String> = form.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
        let request = self.request(Method::POST, "/setup").header("content-type", "application/x-www-form-urlencoded");
        let request = request.header("cookie", visitor).header("sec-fetch-site", "same-origin").header("origin", &self.url);
        self.try_send(request.body(body.join("&"))).await
    }

    /// Logs in and keeps the tokens.
    pub async fn log_in(&mut self, user: &str, password: &str) {
        self.tokens = None;
        let answer = self.post("/authenticate", &json!({"username": user, "password": password})).await;
        assert_eq!(answer.status, StatusCode::OK.as_u16(), "{answer:?}");
        let body = answer.json();
        let token = |key: &str| body[key].as_str().unwrap_or_else(|| panic!("no {key} in {body}")).to_owned();
        self.tokens = Some(Tokens { access: token("access_token"), refresh: token("refresh_token") });
    }

    /// The same client with another access token, or with none.
    #[must_use]
    pub fn with_token(&self, access: Option<&str>) -> Self {
        let tokens = access.map(|access| Tokens { access: access.to_owned(), refresh: String::new() });
        Self { tokens, ..self.clone() }
    }
}

/// Percent-encodes everything but letters and digits; right for a path segment and for a form's value.
#[must_use]
pub fn encode(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_leaves_nothing_that_means_something_in_a_path() {
        assert_eq!(encode("a/../<b> ü"), "a%2F%2E%2E%2F%3Cb%3E%20%C3%BC");
    }
}
