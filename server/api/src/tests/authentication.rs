//! `/authenticate`, tokens, cookies, cross-site requests.

use vt_services::bench::PASSWORD;

use super::{Api, P};

const LOGIN: &str = "/authenticate";

async fn log_in(api: &Api, body: &str) -> super::Reply {
    api.anonymous("POST", LOGIN, &[("content-type", "application/json")], Some(body)).await
}

#[tokio::test]
async fn both_kinds_of_bodies_log_in() {
    let api = Api::start().await;
    let json = log_in(&api, &format!(r#"{{"username":"dana","password":"{PASSWORD}"}}"#)).await.expect(200).json();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["refresh_token", "access_token"]);
    let form = format!("username=dana&password={PASSWORD}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert!(api.anonymous("POST", LOGIN, &headers, Some(&form)).await.expect(200).json()["access_token"].is_string());
    let bare = api.anonymous("POST", "/authenticate/", &[("accept", "text/plain")], Some(&form)).await.expect(200);
    assert!(bare.header("content-type").starts_with("text/plain"));
    let bearer = format!("Bearer {}", bare.text());
    api.anonymous("GET", "/vui", &[("authorization", &bearer)], None).await.expect(200);
}

#[tokio::test]
async fn refusals_have_their_texts() {
    let api = Api::start().await;
    assert_eq!(log_in(&api, r#"{"username":"dana","password":"wrong"}"#).await.expect(401).text(), "");
    assert_eq!(log_in(&api, r#"{"username":"nobody","password":"wrong"}"#).await.expect(401).text(), "");
    assert_eq!(log_in(&api, r#"{"password":"x"}"#).await.expect(401).text(), "Invalid username passed");
    assert_eq!(log_in(&api, r#"{"username":"dana","password":""}"#).await.expect(401).text(), "Invalid password passed");
    assert_eq!(log_in(&api, "{}").await.expect(401).text(), "Invalid username passedInvalid password passed");
    log_in(&api, "{").await.expect(400).error();
    log_in(&api, "[]").await.expect(400).error();
    log_in(&api, &" ".repeat(2 << 20)).await.expect(413).error();
}

#[tokio::test]
async fn guessing_is_slowed_down_and_says_for_how_long() {
    let api = Api::start().await;
    for _ in 0..30 {
        let reply = log_in(&api, r#"{"username":"dana","password":"wrong"}"#).await;
        if reply.status == 429 {
            assert!(reply.header("retry-after").parse::<u64>().unwrap() > 0);
            return;
        }
    }
    panic!("thirty wrong passwords in a row were answered");
}

#[tokio::test]
async fn a_refresh_token_gives_a_new_access_token() {
    let api = Api::start().await;
    let refresh = format!("Bearer {}", api.refresh);
    for body in [None, Some("{}"), Some(r#"{"current_access_token":"x"}"#)] {
        let headers = [("authorization", refresh.as_str()), ("content-type", "application/json")];
        let answer = api.anonymous("PUT", LOGIN, &headers, body).await.expect(200).json();
        assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["access_token"]);
        let bearer = format!("bearer {}", answer["access_token"].as_str().unwrap());
        api.anonymous("GET", "/vui", &[("authorization", &bearer)], None).await.expect(200);
    }
    let access = format!("Bearer {}", api.token);
    assert_eq!(api.anonymous("PUT", LOGIN, &[("authorization", &access)], None).await.expect(401).text(), "Invalid refresh token.");
    assert_eq!(api.anonymous("PUT", LOGIN, &[], None).await.expect(401).text(), "Unauthorized User");
    assert_eq!(api.anonymous("PUT", LOGIN, &[("authorization", "Bearer x.y.z")], None).await.expect(401).text(), "Unauthorized User");
    let broken = [("authorization", refresh.as_str()), ("content-type", "application/json")];
    api.anonymous("PUT", LOGIN, &broken, Some("{")).await.expect(400);
}

#[tokio::test]
async fn logging_out_voids_both_tokens() {
    let api = Api::start().await;
    api.delete(LOGIN).await.expect(204);
    api.get("/vui").await.expect(401);
    let refresh = format!("Bearer {}", api.refresh);
    api.anonymous("PUT", LOGIN, &[("authorization", &refresh)], None).await.expect(401);
    api.delete(LOGIN).await.expect(401);
}

#[tokio::test]
async fn other_methods_are_405() {
    let api = Api::start().await;
    for method in ["GET", "PATCH", "OPTIONS"] {
        let reply = api.anonymous(method, LOGIN, &[], None).await.expect(405);
        assert_eq!(reply.header("allow"), "POST, PUT, DELETE");
        assert!(reply.text().contains(method), "{}", reply.text());
    }
}

#[tokio::test]
async fn without_a_good_token_nothing_is_answered() {
    let api = Api::start().await;
    let paths = ["/vui", "/vui/nothing", P, &format!("{P}/status"), "/vui/ws", &format!("{P}/pubsub/x")];
    let refresh = format!("Bearer {}", api.refresh);
    let three = format!("Bearer {} x", api.token);
    for path in paths {
        for authorization in ["", "Bearer", "Bearer x.y.z", "Basic ZGFuYTp4", &three, &refresh] {
            let reply = api.anonymous("GET", path, &[("authorization", authorization)], None).await.expect(401);
            assert_eq!(reply.text(), r#"{"error":"Not Authorized"}"#, "{path} {authorization}");
            assert_eq!(reply.header("content-type"), "application/json");
        }
    }
    let stranger = format!("Bearer {}", api.token_of("stranger", &["others"]).await);
    let reply = api.anonymous("GET", "/vui", &[("authorization", &stranger)], None).await.expect(403);
    assert_eq!(reply.text(), r#"{"error":"Not Authorized"}"#);
}

#[tokio::test]
async fn the_cookie_counts_without_a_header_and_only_from_our_own_pages() {
    let api = Api::start().await;
    let cookie = format!("a=b; Bearer={}", api.token);
    let path = format!("{P}/pubsub/x");
    let body = r#"{"message":1}"#;
    api.anonymous("GET", "/vui", &[("cookie", &cookie)], None).await.expect(200);
    api.anonymous("GET", "/vui", &[("cookie", &cookie), ("authorization", "Bearer x.y.z")], None).await.expect(401);
    api.anonymous("PUT", &path, &[("cookie", &cookie)], Some(body)).await.expect(403);
    api.anonymous("PUT", &path, &[("cookie", &cookie), ("sec-fetch-site", "cross-site")], Some(body)).await.expect(403);
    api.anonymous("PUT", &path, &[("cookie", &cookie), ("sec-fetch-site", "same-origin")], Some(body)).await.expect(200);
    let own = [("cookie", cookie.as_str()), ("origin", "https://h:8443"), ("host", "h:8443")];
    api.anonymous("PUT", &path, &own, Some(body)).await.expect(200);
    api.anonymous("DELETE", LOGIN, &[("cookie", &cookie)], None).await.expect(403);
    let gone = api.anonymous("DELETE", LOGIN, &own, None).await.expect(204);
    assert!(gone.header("set-cookie").starts_with("Bearer=;"), "{gone:?}");
}
