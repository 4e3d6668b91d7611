//! The server goes and comes back; agents are there again without anybody's help.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE};

#[tokio::test]
async fn agents_are_back_by_themselves_after_a_kill_and_after_an_orderly_restart() {
    let mut platform = Platform::start().await;
    let mut ten = platform.agent(Installed::Ten, "ten", &["--subscribe", "back/"]).await;
    let mut nine = platform.peer("nine", 9).await;
    for orderly in [false, true] {
        ten.python.forget();
        nine.python.forget();
        if orderly {
            platform.server.end(Signal::SIGTERM, PATIENCE).await;
        } else {
            platform.server.kill().await;
        }
        platform.server.start_again().await;
        nine.connected().await;
        ten.started().await;
        assert_eq!(nine.publish("back/1", json!(orderly)).await, "1", "the subscription is there again");
        assert_eq!(ten.hears("back/1").await["message"], json!(orderly));
        assert_eq!(nine.call("ten", "echo", json!([1])).await["result"]["args"], json!([1]));
        let peers = ten.python.ask(&json!({"do": "peerlist"})).await.unwrap();
        assert!(peers.as_array().unwrap().contains(&json!("nine")), "{peers}");
    }
}

#[tokio::test]
async fn an_agent_of_11_is_back_by_itself_after_a_restart() {
    let mut platform = Platform::start().await;
    let mut agent = platform.agent(Installed::Eleven, "eleven", &["--subscribe", "back/"]).await;
    agent.python.forget();
    platform.server.end(Signal::SIGTERM, PATIENCE).await;
    platform.server.start_again().await;
    agent.started().await;
    let mut nine = platform.peer("nine", 9).await;
    assert_eq!(nine.publish("back/1", json!(1)).await, "1");
    agent.hears("back/1").await;
    assert!(agent.python.runs());
}
