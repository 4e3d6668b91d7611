//! What was answered OK survives `kill -9`: rounds of concurrent writes, a kill at a random moment, a restart, and a look at every record.
//!
//! Each writer writes down what it sent and what was acknowledged. After the restart every acknowledged record has to be there, once and
//! whole, and every removed one gone; one that was under way may be there or not. Written are entries of the configuration store, users,
//! installed agents, and history: straight into a store, and into the cache in front of one. 10 rounds, or 200 with `VT_LONG=1`; `VT_SEED`
//! repeats the moments of a run.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;
use vt_testkit::TestServer;

use ledger::Ledger;
use writers::{CACHED, Kind, Writer, write};

mod ledger;
mod writers;

/// Password of every user here.
const PASSWORD: &str = "correct horse battery";
/// Rounds after which the administrator logs in anew, well before the access token ends.
const LOG_IN_ROUNDS: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_kill_9_once() {
    let rounds = if long() { 200 } else { 10 };
    let mut random = random();
    let mut server = TestServer::demo().await;
    let mut client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    writers::prepare(&client, &platform).await;
    let mut ledger = Ledger::new(server.home().to_owned(), platform.clone());
    let mut restarts = Vec::new();

    for round in 1..=rounds {
        let mut writers = JoinSet::new();
        for (kind, count) in Kind::ALL {
            for number in 0..count {
                writers.spawn(write(client.clone(), platform.clone(), Writer { kind, round, number }, ledger.last(kind, number)));
            }
        }
        // The random moment of the kill is the test's subject, not a wait for something.
        tokio::time::sleep(Duration::from_millis(random.random_range(30..1_200))).await;
        server.kill().await;
        while let Some(written) = writers.join_next().await {
            ledger.add(written.unwrap());
        }
        restarts.push(server.start_again().await);
        client = client.at(server.url());
        if round % LOG_IN_ROUNDS == 0 {
            client.log_in("admin", PASSWORD).await;
        }
        ledger.check(&client, Some(round)).await;
    }

    // What waited in the cache all the time goes to its store now.
    let agent = format!("/vui/platforms/{platform}/agents/{CACHED}");
    client.put(&format!("{agent}/configs/config"), &json!({"cache_only_enabled": false})).await.expect(204);
    ledger.cache_is_drained(&client).await;
    ledger.check(&client, None).await;
    let acknowledged = ledger.acknowledged();
    let enough = |kind: &Kind| acknowledged.get(kind).is_some_and(|count| *count >= rounds / 4);
    assert!(Kind::ALL.iter().all(|(kind, _)| enough(kind)), "too little was acknowledged to say anything: {acknowledged:?}");
    restarts.sort();
    println!(
        "{rounds} rounds, acknowledged {acknowledged:?}, restarts {:?} median, {:?} slowest",
        restarts[restarts.len() / 2],
        restarts.last().unwrap()
    );
}

#[tokio::test]
async fn the_first_administrator_is_there_whole_or_not_at_all() {
    let rounds = if long() { 40 } else { 4 };
    let mut random = random();
    for round in 0..rounds {
        let mut server = TestServer::start().await;
        let (client, code) = (server.client(), server.code().unwrap());
        let sending = client.clone();
        let pending = tokio::spawn({
            let code = code.clone();
            async move { sending.try_setup(&code, "admin", PASSWORD).await.is_ok_and(|answer| answer.status < 400) }
        });
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        server.kill().await;
        let acknowledged = pending.await.unwrap();
        server.start_again().await;
        let mut client = client.at(server.url());
        let body = json!({"username": "admin", "password": PASSWORD});
        let there = client.post("/authenticate", &body).await.status == 200;
        assert!(there || !acknowledged, "round {round}: the administrator is lost");
        assert_eq!(server.code().is_none(), there, "round {round}: a code and a user, or neither");
        if !there {
            assert!(client.setup(&code, "admin", PASSWORD).await.status < 400, "round {round}: the code is lost");
            client.log_in("admin", PASSWORD).await;
        }
    }
}

#[tokio::test]
async fn a_log_out_is_not_undone_by_kill_9() {
    let mut server = TestServer::start().await;
    let client = server.administrator().await;
    client.with_token(Some(&client.tokens().refresh)).delete("/authenticate").await.expect(204);
    server.kill().await;
    server.start_again().await;
    let client = client.at(server.url());
    client.with_token(Some(&client.tokens().refresh)).put("/authenticate", &json!({})).await.expect(401);
}

#[tokio::test]
async fn a_session_outlives_a_restart() {
    let mut server = TestServer::start().await;
    let client = server.administrator().await;
    server.kill().await;
    server.start_again().await;
    client.at(server.url()).get("/vui").await.expect(200);
}

fn long() -> bool {
    std::env::var_os("VT_LONG").is_some_and(|value| value != "0" && !value.is_empty())
}

fn random() -> StdRng {
    let seed = std::env::var("VT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("VT_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
