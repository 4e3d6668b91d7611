//! Ours and a whole platform of VOLTTRON 10, linked both ways: publications for all platforms and calls of each other's peers, also after either
//! was killed and came back. Checklist of vip-zmq.md §12, multi-platform.

use serde_json::{Value, json};
use vt_testkit::{Client, TestServer, eventually_async};

use crate::agent::Agent;
use crate::peer::Peer;
use crate::platform::{Platform, free_port};
use crate::python::{Installed, PATIENCE};
use crate::python_platform::PythonPlatform;

/// Both platforms, each with an agent that wants `devices/` of all platforms.
struct Linked {
    ours: Platform,
    theirs: PythonPlatform,
    on_ours: Client,
    here: Agent,
    there: Agent,
    calls: u32,
    /// A peer of theirs.
    bare: Peer,
}

impl Linked {
    async fn start() -> Self {
        let ours = Platform::with(TestServer::builder().argument("--instance-name").argument("ours")).await;
        let address = format!("tcp://127.0.0.1:{}", free_port());
        let theirs = PythonPlatform::start("theirs", &[address], &[]).await;
        let on_ours = ours.server.administrator().await;
        ours.link("theirs", &theirs.discovered());
        let keys = ours.keys().await;
        let bare = theirs.introduce("keydiscovery", &keys, &Self::discovered(&ours)).await;
        let here = ours.agent(Installed::Ten, "here", &["--subscribe-all", "devices/"]).await;
        let there = theirs.agent("there", &keys, &["--subscribe-all", "devices/"]).await;
        Self { ours, theirs, on_ours, here, there, calls: 0, bare }
    }

    fn discovered(ours: &Platform) -> Value {
        json!({"instance-name": "ours", "vip-address": ours.address(), "serverkey": ours.server_key()})
    }

    /// What each publishes reaches the agent of the other.
    async fn exchange(&mut self, round: &str) {
        passes(&mut self.here, &self.there, round).await;
        passes(&mut self.there, &self.here, round).await;
    }

    /// Calls in both directions, between agents and of services.
    async fn calls(&mut self) {
        let called = |platform: &str| json!({"external_platform": platform, "word": "x"});
        let answer = self.here.call_with("there", "echo", called("theirs")).await;
        assert_eq!(answer, Ok(json!({"args": [], "kwargs": {"word": "x"}})), "{}", self.theirs.log());
        let raised = self.here.call_with("there", "fail", json!({"external_platform": "theirs", "text": "no"})).await.unwrap_err();
        assert!(raised.to_string().contains("no"), "{raised}");
        self.calls += 1;
        assert_eq!(self.asked("here", "echo", json!([1])).await["args"], json!([1]), "an agent of ours answers");
        let health = self.asked("platform.health", "get_platform_health", json!([])).await;
        assert_eq!(health["here"]["peer"], "here", "a peer in our process answers: {health}");
    }

    /// What a peer of ours answers to the bare peer of theirs.
    async fn asked(&mut self, peer: &str, method: &str, args: Value) -> Value {
        let id = format!("letter.{peer}.{}", self.calls);
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": args}).to_string();
        let letter = json!({"to_platform": "ours", "to_peer": peer, "from_platform": "", "from_peer": "", "args": [request]});
        let answer = self.bare.asks_router(&id, "external_rpc", json!(["send_platform", {"json": letter}])).await;
        assert_eq!(answer[..2], [json!("external_rpc"), json!("send_peer")], "{answer:?}");
        let letter: Value = serde_json::from_str(answer[2].as_str().unwrap()).unwrap();
        let document = letter["args"][0].as_str().map_or_else(|| letter["args"][0].clone(), |text| serde_json::from_str(text).unwrap());
        assert_eq!((&letter["from_platform"], &document["id"]), (&json!("ours"), &json!(id)), "{letter}");
        document["result"].clone()
    }

    async fn shown(&self) -> Value {
        eventually_async("their platform tells how it is", PATIENCE, async || {
            let answer = self.on_ours.get("/vui/platforms/theirs/link").await;
            let link = if answer.status == 200 { answer.json() } else { return None };
            (link["connected"] == true && link["told"].is_string()).then_some(link)
        })
        .await
    }
}

/// Publishes until a message has arrived: the list of what the other side wants may be on its way still.
async fn passes(from: &mut Agent, to: &Agent, round: &str) {
    let topic = format!("devices/campus/{round}/{}", from.python.pid());
    let message = json!([{"Temp": 21.5}, {"Temp": {"units": "C"}}]);
    let heard = eventually_async(&format!("a message of round {round}"), PATIENCE, async || {
        from.publish(&topic, json!({"Date": "2026-11-27T12:00:00+00:00"}), message.clone()).await;
        to.python.told(|line| line["event"] == "message" && line["topic"] == *topic).pop()
    })
    .await;
    assert_eq!((&heard["message"], &heard["headers"]["Date"]), (&message, &json!("2026-11-27T12:00:00+00:00")), "{heard}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_and_calls_pass_between_ours_and_volttron_10_both_ways_and_again_after_a_restart_of_ours() {
    let mut linked = Linked::start().await;
    linked.exchange("first").await;
    linked.calls().await;
    let link = linked.shown().await;
    assert!(link["wanted"].as_array().unwrap().contains(&json!("devices/")), "{link}");
    eventually_async("their agent is shown", PATIENCE, async || {
        let health = linked.on_ours.get("/vui/platforms/theirs/health").await.expect(200).json();
        health["there"].is_object().then_some(())
    })
    .await;
    let answer = linked.on_ours.post("/vui/platforms/theirs/agents/there/rpc/echo", &json!([1])).await.expect(200).json();
    assert_eq!(answer["args"], json!([1]));

    // Ours is gone and comes back: its own link and theirs are made again, and so are both lists of what is wanted.
    linked.ours.server.kill().await;
    linked.ours.server.start_again().await;
    linked.on_ours = linked.on_ours.at(linked.ours.server.url());
    linked.exchange("second").await;
    linked.calls().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_volttron_10_is_gone_it_is_shown_as_it_was_and_when_it_is_back_messages_pass_again() {
    let mut linked = Linked::start().await;
    linked.exchange("first").await;
    linked.shown().await;
    linked.theirs.kill().await;
    eventually_async("the link is down", PATIENCE, async || {
        let link = linked.on_ours.get("/vui/platforms/theirs/link").await.expect(200).json();
        (link["connected"] == false && link["problem"].is_string() && link["told"].is_string()).then_some(())
    })
    .await;
    linked.on_ours.get("/vui/platforms/theirs/health").await.expect(200);
    linked.theirs.start_again().await;
    let keys = linked.ours.keys().await;
    // Under another name: the peers of the former run are still there and take theirs.
    linked.bare = linked.theirs.introduce("keydiscovery.again", &keys, &Linked::discovered(&linked.ours)).await;
    linked.there = linked.theirs.agent("there.again", &keys, &["--subscribe-all", "devices/"]).await;
    linked.exchange("second").await;
    linked.shown().await;
}
