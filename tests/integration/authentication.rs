//! `/authenticate`, tokens and the users file, as VOLTTRON's clients use them.

use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use vt_testkit::{Client, TestServer};

#[tokio::test]
async fn a_log_in_opens_the_api_and_nothing_else_does() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    client.get("/vui").await.expect(200);
    let tokens = client.tokens().clone();
    let forged = format!("{}.{}.AAAA", "eyJhbGciOiJub25lIn0", tokens.access.split('.').nth(1).unwrap());
    let mut tampered = tokens.access.clone();
    tampered.replace_range(tokens.access.len() - 6..tokens.access.len() - 3, "AAA");
    let oversized = "a".repeat(64 * 1024);
    for token in ["", "x", "a.b.c", &forged, &tampered, &tokens.refresh] {
        let answer = client.with_token(Some(token)).get("/vui").await;
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
        assert_eq!(answer.json(), json!({"error": "Not Authorized"}), "{token}");
    }
    let refused = client.with_token(Some(&oversized)).get("/vui").await.status;
    assert!((400..500).contains(&refused), "{refused}");
    client.with_token(None).get("/vui").await.expect(401);
}

#[tokio::test]
async fn wrong_credentials_are_refused_without_saying_which_part_was_wrong() {
    let server = TestServer::start().await;
    let client = server.administrator().await.with_token(None);
    let wrong_password = client.post("/authenticate", &json!({"username": "admin", "password": "wrong"})).await.expect(401);
    let unknown_user = client.post("/authenticate", &json!({"username": "nobody", "password": "wrong"})).await.expect(401);
    assert_eq!(wrong_password.text, unknown_user.text);
    for body in [
        json!({}),
        json!({"username": "admin"}),
        json!({"password": "x"}),
        json!({"username": "admin", "password": ""}),
        json!([]),
        json!("x"),
    ] {
        let answer = client.post("/authenticate", &body).await;
        assert!((400..=401).contains(&answer.status), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_form_and_a_json_body_log_in_alike() {
    let server = TestServer::start().await;
    let client = server.administrator().await.with_token(None);
    let request = client.request(Method::POST, "/authenticate").header("content-type", "application/x-www-form-urlencoded");
    let answer = client.send(request.body("username=admin&password=correct+horse+battery")).await.expect(200);
    assert!(answer.json()["access_token"].is_string());
}

#[tokio::test]
async fn a_refresh_token_renews_and_a_log_out_ends_the_session() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let tokens = client.tokens().clone();
    let refreshing = client.with_token(Some(&tokens.refresh));
    let renewed = refreshing.send(refreshing.request(Method::PUT, "/authenticate")).await.expect(200).json();
    let access = renewed["access_token"].as_str().unwrap();
    client.with_token(Some(access)).get("/vui").await.expect(200);
    client.put("/authenticate", &json!({})).await.expect(401);

    client.with_token(Some(&tokens.refresh)).delete("/authenticate").await.expect(204);
    refreshing.put("/authenticate", &json!({})).await.expect(401);
    client.with_token(Some(&tokens.access)).get("/vui").await.expect(401);
}

#[tokio::test]
async fn claims_are_those_that_clients_of_volttron_read() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let claims = claims(&client.tokens().access);
    assert_eq!(claims["grant_type"], "access_token");
    let groups = claims["groups"].as_array().unwrap();
    assert!(groups.contains(&json!("admin")) && groups.contains(&json!("vui")), "{claims}");
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 15 * 60, "{claims}");
    assert_eq!(self::claims(&client.tokens().refresh)["grant_type"], "refresh_token");
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let server = TestServer::start().await;
    let client = server.administrator().await.with_token(None);
    let mut statuses = Vec::new();
    for number in 0..30 {
        let answer = client.post("/authenticate", &json!({"username": "admin", "password": format!("guess {number}")})).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
        }
        statuses.push(answer.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn the_users_file_may_be_edited_by_hand() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let path = server.home().join("web-users.json");
    let mut users: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let hash = users["admin"]["hashed_password"].clone();
    assert!(hash.as_str().unwrap().starts_with("$argon2id$"), "{users}");
    users["kiosk"] = json!({"hashed_password": hash, "groups": ["vui"]});
    users["guest"] = json!({"hashed_password": hash, "groups": []});
    std::fs::write(&path, users.to_string()).unwrap();

    let log_in = async |user: &str| {
        client.with_token(None).post("/authenticate", &json!({"username": user, "password": "correct horse battery"})).await
    };
    // The file is looked at every second; asking more often would only run into the limit of wrong attempts.
    let mut every = tokio::time::interval(Duration::from_millis(1_500));
    let mut answer = log_in("kiosk").await;
    for _ in 0..6 {
        if answer.status != 401 {
            break;
        }
        every.tick().await;
        answer = log_in("kiosk").await;
    }
    let kiosk = answer.expect(200).json();
    client.with_token(kiosk["access_token"].as_str()).get("/vui").await.expect(200);
    let guest = log_in("guest").await.expect(200).json();
    client.with_token(guest["access_token"].as_str()).get("/vui").await.expect(403);

    let good = users.to_string();
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    tokio::time::timeout(Duration::from_secs(10), client.get("/vui")).await.unwrap().expect(200);
    log_in("kiosk").await.expect(200);
}

#[tokio::test]
async fn tokens_over_http_are_hs256_with_the_key_of_the_file_and_outlive_a_restart() {
    let mut server = TestServer::builder().argument("--bind-web-address").argument("http://127.0.0.1:0").start().await;
    assert!(server.url().starts_with("http://"), "{}", server.url());
    let client = server.administrator().await;
    let header: Value = serde_json::from_slice(&base64url(client.tokens().access.split('.').next().unwrap())).unwrap();
    assert_eq!(header["alg"], "HS256");
    let config = server.home().join("config");
    let text = std::fs::read_to_string(&config).unwrap();
    let key = text.lines().find_map(|line| line.strip_prefix("web-secret-key = ")).unwrap().to_owned();
    assert!(key.len() == 130 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");

    server.end(Signal::SIGTERM, Duration::from_secs(5)).await;
    server.start_again().await;
    let client = client.at(server.url());
    client.get("/vui").await.expect(200);

    server.end(Signal::SIGTERM, Duration::from_secs(5)).await;
    std::fs::write(&config, text.replace(&key, &"0123456789".repeat(13))).unwrap();
    server.start_again().await;
    client.at(server.url()).get("/vui").await.expect(401);
}

#[tokio::test]
async fn a_collector_elsewhere_reads_the_metrics_with_its_token() {
    let server = TestServer::builder().environment("VOLTTRON_METRICS_TOKEN", "collector-0123456789").start().await;
    let client = server.client();
    // A proxy on this machine says that it asks for somebody else.
    let forwarded = |client: &Client| client.request(Method::GET, "/metrics").header("x-forwarded-for", "192.0.2.7");
    client.get("/metrics").await.expect(200);
    client.send(forwarded(&client)).await.expect(401);
    let wrong = client.with_token(Some("collector-0123456788"));
    wrong.send(forwarded(&wrong)).await.expect(401);
    let collector = client.with_token(Some("collector-0123456789"));
    let metrics = collector.send(forwarded(&collector)).await.expect(200);
    assert!(metrics.text.contains("volttron_bus_delivered_total "), "{}", metrics.text);
    collector.get("/vui").await.expect(401);
    assert!(!server.output().contains("collector-"), "{}", server.output());
}

fn claims(token: &str) -> Value {
    let middle = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url(middle)).unwrap()
}

/// Decodes base64url without padding.
fn base64url(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0_u32;
    let mut count = 0;
    let mut bytes = Vec::new();
    for letter in text.chars() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(letter).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}
