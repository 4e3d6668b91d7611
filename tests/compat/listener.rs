//! The unmodified listeners of 10 and of modular 11, started as their platforms start them: connected and configured, hearing everybody with themselves, in
//! log lines of the known form, and gone when they are interrupted.

use regex::Regex;
use serde_json::{Value, json};

use crate::platform::Platform;
use crate::python::Installed;

/// What its logger writes of a heartbeat; scripts look for this form.
const LINE: &str = r"(?s)^Peer: pubsub, Sender: (\S+):, Bus: , Topic: heartbeat/(\S+), Headers: \{(.*)\}, Message: \n'GOOD'$";

#[tokio::test]
async fn the_real_listener_logs_its_own_heartbeat_and_ends_with_0_when_interrupted() {
    let platform = Platform::start().await;
    let mut talker = platform.peer("talker", 9).await;
    let form = Regex::new(LINE).unwrap();
    for (installed, identity) in [(Installed::Ten, "listener.10"), (Installed::Eleven, "listener.11")] {
        let keys = platform.allowed(identity, &json!({})).await;
        let listener = platform.real_agent(installed, "listener.agent", identity, &keys, r#"{"message": "hush"}"#);
        let heard = |topic: &'static str| {
            move |record: &Value| record["msg"].as_str().is_some_and(|text| text.contains(&format!("Topic: {topic}")))
        };
        let record = listener.record("its own heartbeat", heard("heartbeat/")).await;
        let text = record["msg"].as_str().unwrap();
        let fields = form.captures(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((&fields[1], &fields[2]), (identity, identity), "{text}");
        for header in ["'TimeStamp': '", "'min_compatible_version': '3.0'", "'max_compatible_version': ''"] {
            assert!(fields[3].contains(header), "no {header} in {text}");
        }
        assert_eq!((&record["name"], &record["levelname"]), (&json!("listener.agent"), &json!("INFO")), "{record}");
        let status = talker.call(identity, "health.get_status", json!([])).await["result"].clone();
        assert_eq!((&status["status"], &status["context"]), (&json!("GOOD"), &json!("hush")), "{status}");

        assert_eq!(talker.publish("ears/1", json!(1)).await, "1");
        // Python raises an interruption wherever it is; this one is to find it idle.
        listener.record("what was said", heard("ears/1")).await;
        assert_eq!(listener.interrupt().await, Some(0));
        platform.peer_is_listed(identity, false).await;
        assert_eq!(talker.publish("ears/2", json!(2)).await, "0", "its subscription went with it");
    }
}
