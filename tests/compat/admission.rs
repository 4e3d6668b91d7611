//! Who may connect (vip-zmq.md §12, 1 to 12): libzmq clients against the book, the waiting list and the files that clients look keys up in.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use vt_testkit::{TestServer, eventually_async};

use crate::peer::Peer;
use crate::platform::{Platform, entry};
use crate::python::{Installed, PATIENCE};

/// What an unknown key may wait before its connection is cut.
const SILENCE: Duration = Duration::from_secs(25);
/// Longest time from an approval to a connected peer that was waiting: two handshakes of libzmq.
pub const APPROVAL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_address_and_the_abstract_socket_are_bound_and_told() {
    let platform = Platform::with(TestServer::builder().argument("--vip-address").argument("tcp://127.0.0.1:0")).await;
    let keys = platform.allowed("local", &json!({})).await;
    let home = platform.home().canonicalize().unwrap();
    let ipc = format!("ipc://@{}/run/vip.socket", home.display());
    let mut local = Peer::start(platform.home(), "local", &ipc, 9, Some((&keys, &platform.server_key())));
    local.connected().await;
    let answer = local.asks_router("q", "query", json!(["addresses"])).await;
    let addresses: Vec<String> = serde_json::from_str(answer[2].as_str().unwrap()).unwrap();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    assert!(
        addresses.contains(&platform.address().to_owned()) && !addresses.iter().any(|address| address.ends_with(":0")),
        "{addresses:?}"
    );
    for address in addresses {
        let keys = platform.allowed("remote", &json!({})).await;
        let mut peer = Peer::start(platform.home(), "remote", &address, 9, Some((&keys, &platform.server_key())));
        peer.connected().await;
        peer.settle().await;
        peer.run(json!({"do": "agentstop"})).await;
        platform.edit_book(|book| book["allow"].as_array_mut().unwrap().retain(|entry| entry["user_id"] != "remote"));
    }
}

#[tokio::test]
async fn the_files_that_clients_look_keys_up_in_are_there_from_the_start() {
    let platform = Platform::start().await;
    let mode = |name: &str| std::fs::metadata(platform.home().join(name)).unwrap().permissions().mode() & 0o777;
    let keystore = platform.json("keystore");
    assert_eq!(mode("keystore"), 0o600);
    let hosts = platform.json("known_hosts");
    let netloc = platform.address().strip_prefix("tcp://").unwrap();
    assert_eq!(hosts, json!({"@": keystore["public"], netloc: keystore["public"]}));
    let control = platform.json("keystores/control.connection/keystore.json");
    assert_eq!(mode("keystores/control.connection/keystore.json"), 0o600);
    let credential = platform.json("credentials_store/control.connection.json");
    assert_eq!(mode("credentials_store"), 0o700);
    assert_eq!((&credential["publickey"], &credential["secretkey"]), (&control["public"], &control["secret"]));
    assert_eq!(credential["identity"], "control.connection");
    let server = platform.json("credentials_store/platform.json");
    assert_eq!(server["publickey"], keystore["public"]);
    assert_ne!(server["secretkey"], keystore["secret"], "every agent of 11 reads this file and needs the public key only");
    for (name, value) in [("public", &keystore["public"]), ("secret", &keystore["secret"]), ("control", &control["public"])] {
        let key = value.as_str().unwrap();
        assert!(key.len() == 43 && !key.starts_with('-'), "{name}");
    }
    let pid: u32 = std::fs::read_to_string(platform.home().join("VOLTTRON_PID")).unwrap().trim().parse().unwrap();
    assert_eq!(pid, platform.server.pid());
    let book = platform.json("auth.json");
    assert_eq!(book["version"], json!({"major": 1, "minor": 4}));
    for user in ["platform", "control.connection", "config.store", "platform.auth", "control"] {
        assert!(book["allow"].as_array().unwrap().iter().any(|entry| entry["user_id"] == user), "{user} is not in {book}");
    }
}

#[tokio::test]
async fn the_user_that_others_see_is_the_one_of_the_book() {
    let platform = Platform::start().await;
    let keys = platform.keys().await;
    platform.edit_book(|book| {
        let mut own = entry("worker", &keys.public, &json!({}));
        own["user_id"] = json!("Anne Ö");
        book["allow"].as_array_mut().unwrap().push(own);
    });
    let mut worker = platform.knocking("worker", 9, &keys);
    worker.connected().await;
    let mut reader = platform.peer("reader", 9).await;
    reader.settle().await;
    worker.send(json!(["reader", "VIP1", "", "id.w", "mine"])).await;
    let received = reader.receives_id("id.w").await;
    assert_eq!(received[0], "worker");
    assert!(received[2] == "Anne Ö" || received[2] == json!({"hex": "416e6e6520d6"}), "{received:?}");
}

#[tokio::test]
async fn an_unknown_key_waits_in_silence_and_connects_by_itself_once_approved() {
    let platform = Platform::start().await;
    let began = Instant::now();
    let keys = platform.keys().await;
    let stranger = platform.knocking("stranger", 9, &keys);
    let mut control = platform.peer_with("operator", 9, &json!({"allow_auth_modifications": null})).await;
    let pending = eventually_async("the stranger is on the waiting list", PATIENCE, async || {
        let list = control.call("platform.auth", "get_pending_authorizations", json!([])).await["result"].clone();
        list.as_array()?.iter().find(|one| one["credentials"] == json!(keys.public)).cloned()
    })
    .await;
    assert_eq!((&pending["domain"], &pending["address"], &pending["mechanism"]), (&json!("vip"), &json!("127.0.0.1"), &json!("CURVE")));
    assert!(pending["retries"].as_u64() >= Some(1), "{pending}");

    // libzmq gives up after 30 s by its own clock and tries again; until then nobody cuts the line, and nobody says no.
    let cut = |line: &Value| line["event"] == "socket" && (line["name"] == "DISCONNECTED" || line["name"] == "CLOSED");
    stranger.python.line("the end of the first attempt", APPROVAL, cut).await;
    assert!(began.elapsed() >= SILENCE, "cut after {:?}", began.elapsed());
    let events = stranger.socket_events();
    assert!(!events.iter().any(|event| event.contains("HANDSHAKE_FAILED_AUTH") || event == "HANDSHAKE_SUCCEEDED"), "{events:?}");
    let again = |line: &Value| line["event"] == "socket" && line["name"] == "CONNECTED";
    stranger.python.line("the first attempt", PATIENCE, again).await;
    stranger.python.line("the second attempt", PATIENCE, again).await;

    let approved = control.call("platform.auth", "approve_authorization", json!([pending["user_id"]])).await;
    assert!(approved["error"].is_null(), "{approved}");
    stranger.connected_within(APPROVAL).await;
    let mut stranger = stranger;
    stranger.settle().await;
    let book = platform.json("auth.json");
    assert!(book["allow"].as_array().unwrap().iter().any(|entry| entry["credentials"] == json!(keys.public)), "{book}");
}

#[tokio::test]
async fn a_real_agent_that_waits_is_shown_and_let_in_over_rest() {
    let platform = Platform::start().await;
    let client = platform.server.administrator().await;
    let keys = platform.keys().await;
    let agent = platform.starting(Installed::Eleven, "waiting", &keys, &["--heartbeat", "1"]);
    let peers = format!("/vui/platforms/{}/auths", platform.name(&client).await);
    let attempt = eventually_async("the platform tells who waits", PATIENCE, async || {
        let pending = client.get(&format!("{peers}/pending")).await.expect(200).json();
        pending.as_array()?.iter().find(|one| one["credentials"] == json!(keys.public)).cloned()
    })
    .await;
    let user = attempt["user_id"].as_str().unwrap();
    let page = client.with_token(None).request(reqwest::Method::GET, "/peers");
    let page = client.send(page.header("cookie", format!("Bearer={}", client.token().unwrap()))).await.expect(200).text;
    assert!(page.contains(&keys.public) && page.contains("waiting"), "{page}");
    client.put(&format!("{peers}/approved/{user}"), &json!({})).await.expect(204);
    agent.python.line("the agent starts", APPROVAL, |line| line["event"] == "started").await;
    platform.peer_is_listed("waiting", true).await;
}

#[tokio::test]
async fn a_disabled_or_denied_key_stays_outside_until_that_changes() {
    let platform = Platform::start().await;
    let (disabled, denied) = (platform.keys().await, platform.keys().await);
    platform.edit_book(|book| {
        let mut off = entry("disabled", &disabled.public, &json!({}));
        off["enabled"] = json!(false);
        book["allow"].as_array_mut().unwrap().push(off);
        book["deny"].as_array_mut().unwrap().push(entry("denied", &denied.public, &json!({})));
        let mut all = entry("anybody", "/.*/", &json!({}));
        all["identity"] = Value::Null;
        book["allow"].as_array_mut().unwrap().push(all);
    });
    let outside = [platform.knocking("disabled", 9, &disabled), platform.knocking("denied", 9, &denied)];
    let third = platform.keys().await;
    platform.knocking("third", 9, &third).connected().await;
    for peer in &outside {
        for attempt in ["first", "second"] {
            peer.python.line(attempt, APPROVAL, |line| line["event"] == "socket" && line["name"] == "CONNECTED").await;
        }
        assert!(!peer.socket_events().contains(&"HANDSHAKE_SUCCEEDED".to_owned()), "{:?}", peer.python);
    }
    platform.edit_book(|book| {
        for entry in book["allow"].as_array_mut().unwrap() {
            entry["enabled"] = json!(true);
        }
        book["deny"] = json!([]);
    });
    for peer in &outside {
        peer.connected_within(APPROVAL).await;
    }
}

#[tokio::test]
async fn a_pattern_admits_any_key_and_a_literal_entry_still_wins_for_its_own() {
    let platform = Platform::start().await;
    let own = platform.keys().await;
    platform.edit_book(|book| {
        let mut all = entry("anybody", "/.*/", &json!({}));
        all["identity"] = Value::Null;
        let allow = book["allow"].as_array_mut().unwrap();
        allow.push(all);
        let mut literal = entry("literal", &own.public, &json!({}));
        literal["identity"] = Value::Null;
        allow.push(literal);
    });
    let mut reader = platform.peer("reader", 9).await;
    reader.settle().await;
    for (identity, keys, user) in [("somebody", platform.keys().await, "anybody"), ("me", own, "literal")] {
        let mut peer = platform.knocking(identity, 9, &keys);
        peer.connected().await;
        peer.send(json!(["reader", "VIP1", "", identity, "mine"])).await;
        assert_eq!(reader.receives_id(identity).await[2], user, "{identity}");
    }
}

#[tokio::test]
async fn an_address_in_an_entry_matches_the_bare_ip_or_the_local_process() {
    let platform = Platform::start().await;
    let uid = nix::unistd::getuid();
    let home = platform.home().canonicalize().unwrap();
    let ipc = format!("ipc://@{}/run/vip.socket", home.display());
    let cases = [
        ("tcp1", platform.address().to_owned(), json!("127.0.0.1"), true),
        ("tcp2", platform.address().to_owned(), json!(r"/127\.0\.0\..*/"), true),
        ("ipc1", ipc.clone(), json!(format!("/localhost:{uid}:.*/")), true),
        ("tcp3", platform.address().to_owned(), json!(["10.0.0.1", "127.0.0.1"]), true),
        ("tcp4", platform.address().to_owned(), json!("10.0.0.1"), false),
        ("ipc2", ipc, json!("127.0.0.1"), false),
    ];
    let mut outside = Vec::new();
    for (identity, address, pattern, admitted) in cases {
        let keys = platform.keys().await;
        platform.edit_book(|book| {
            let mut own = entry(identity, &keys.public, &json!({}));
            own["address"] = pattern;
            book["allow"].as_array_mut().unwrap().push(own);
        });
        let peer = Peer::start(platform.home(), identity, &address, 9, Some((&keys, &platform.server_key())));
        if admitted {
            peer.connected().await;
        } else {
            outside.push((keys, peer));
        }
    }
    let mut operator = platform.peer_with("operator", 9, &json!({"allow_auth_modifications": null})).await;
    for (keys, peer) in outside {
        eventually_async("who comes from elsewhere waits", PATIENCE, async || {
            let list = operator.call("platform.auth", "get_pending_authorizations", json!([])).await["result"].clone();
            list.as_array()?.iter().any(|one| one["credentials"] == json!(keys.public)).then_some(())
        })
        .await;
        assert!(!peer.socket_events().contains(&"HANDSHAKE_SUCCEEDED".to_owned()), "{:?}", peer.python);
    }
}

#[tokio::test]
async fn an_identity_in_use_is_not_taken_by_another_key() {
    let platform = Platform::start().await;
    platform.edit_book(|book| {
        let mut all = entry("anybody", "/.*/", &json!({}));
        all["identity"] = Value::Null;
        book["allow"].as_array_mut().unwrap().push(all);
    });
    let (first, second) = (platform.keys().await, platform.keys().await);
    let mut holder = platform.knocking("twin", 9, &first);
    holder.connected().await;
    holder.settle().await;
    let mut other = platform.peer("other", 9).await;
    let mut taker = platform.knocking("twin", 9, &second);
    taker.run(json!({"do": "hello"})).await;
    for round in 0..3 {
        other.send(json!(["twin", "VIP1", "", format!("id.{round}"), "mine"])).await;
        holder.receives_id(&format!("id.{round}")).await;
        holder.settle().await;
    }
    let received = taker.python.told(|line| line["event"] == "frames");
    assert!(received.is_empty(), "{received:?}");
}

#[tokio::test]
async fn the_same_key_takes_its_identity_over_from_a_link_that_hangs() {
    let platform = Platform::start().await;
    let keys = platform.allowed("hanging", &json!({})).await;
    let mut first = platform.knocking("hanging", 9, &keys);
    first.connected().await;
    first.subscribe("h").await;
    // The process is there and its sockets are open, but nothing moves any more: the server is not told of any end.
    let pid = Pid::from_raw(i32::try_from(first.python.pid()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    let mut second = platform.knocking("hanging", 9, &keys);
    second.connected().await;
    second.settle().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut other = platform.peer("other", 9).await;
    other.send(json!(["hanging", "VIP1", "", "id.o", "mine"])).await;
    second.receives_id("id.o").await;
    kill(pid, Signal::SIGCONT).unwrap();
}

#[tokio::test]
async fn names_of_services_are_for_nobody_outside() {
    let platform = Platform::start().await;
    platform.edit_book(|book| {
        let mut all = entry("anybody", "/.*/", &json!({}));
        all["identity"] = Value::Null;
        book["allow"].as_array_mut().unwrap().push(all);
    });
    let keys = platform.keys().await;
    let names = ["platform.auth", "config.store", "platform.config_store", "control", "platform.control", "control.connection"];
    let impostors: Vec<Peer> = names.iter().map(|name| platform.knocking(name, 9, &keys)).collect();
    for impostor in &impostors {
        impostor.python.line("it knocks", PATIENCE, |line| line["event"] == "socket" && line["name"] == "CONNECTED").await;
    }
    // The same key under a name of its own comes in, after those.
    let mut ordinary = platform.knocking("ordinary", 9, &keys);
    ordinary.connected().await;
    for name in &names[..5] {
        let answer = ordinary.call(name, "inspect", json!([])).await;
        assert!(answer["result"]["methods"].is_array(), "{name}: {answer}");
    }
    for impostor in &impostors {
        assert!(!impostor.socket_events().contains(&"HANDSHAKE_SUCCEEDED".to_owned()), "{:?}", impostor.python);
    }
}

#[tokio::test]
async fn without_authentication_peers_without_keys_are_served() {
    let platform = Platform::with(TestServer::builder().file("config", "[volttron]\nallow-auth = False\n")).await;
    let start = |identity: &str, generation| Peer::start(platform.home(), identity, platform.address(), generation, None);
    let (mut nine, mut six) = (start("nine", 9), start("six", 6));
    nine.connected().await;
    six.connected().await;
    six.subscribe("t").await;
    assert_eq!(nine.publish("t/1", json!(1)).await, "1");
    six.hears("t/1").await;
    let stored = six.call("config.store", "set_config", json!(["c", {"a": 1}])).await;
    assert!(stored["error"].is_null(), "{stored}");
}

#[tokio::test]
async fn setup_mode_lets_unknown_keys_in_and_remembers_them() {
    let platform = Platform::with(TestServer::builder().argument("--setup-mode")).await;
    let keys = platform.keys().await;
    let mut stranger = platform.knocking("stranger", 9, &keys);
    stranger.connected().await;
    stranger.settle().await;
    eventually_async("the key is in the book", PATIENCE, async || {
        let book = platform.json("auth.json");
        book["allow"].as_array()?.iter().any(|entry| entry["credentials"] == json!(keys.public)).then_some(())
    })
    .await;
}
