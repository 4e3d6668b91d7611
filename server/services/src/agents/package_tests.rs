//! Installing packages in Python, by people and by `vctl` of every generation, on packages that are ready at once. The numbers in the names
//! are those of the conformance checklist of the hosting of agents (agents.md §9).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha512};
use vt_backends::{AgentSource, Channel, InstallationRepository, PackageSource};
use vt_types::identity::known;
use vt_types::{Params, RpcError};

use super::*;
use crate::ServiceError;
use crate::bench::{Bench, DEADLINE, Running, admin, id, vui};

fn package(name: &str) -> PackageInstall {
    PackageInstall::of(PackageSource::Requirement(name.to_owned()))
}

fn named(identity: &str) -> PackageInstall {
    PackageInstall { identity: Some(identity.to_owned()), ..package("listeneragent==3.3") }
}

async fn install(running: &Running, request: PackageInstall) -> Result<AgentView, ServiceError> {
    running.agents.install_package(&admin(), request).await.map(|outcome| outcome.agent)
}

/// Who may connect.
fn entries(running: &Running) -> Vec<String> {
    running.peer_auth.records().allow.iter().map(|entry| entry.user_id.clone()).collect()
}

async fn control(running: &Running, method: &str, args: Vec<Value>) -> Result<Value, RpcError> {
    running.tools.call(&Caller::local("root"), &id(known::CONTROL), method, Params::positional(args), DEADLINE).await
}

#[tokio::test]
async fn checklist_1_and_2_an_installed_package_does_not_run_and_the_second_gets_the_next_number() {
    let bench = Bench::default();
    let running = bench.start().await;
    for n in 1..=2 {
        let agent = install(&running, package("listeneragent==3.3")).await.unwrap();
        assert_eq!(agent.identity.as_str(), format!("listeneragent-3.3_{n}"));
        assert_eq!((agent.state, agent.tag, agent.priority, agent.kind.as_str()), (RunState::NeverStarted, None, None, "python"));
    }
    assert_eq!(bench.start().await.agents.list().len(), 2);
    let keys = running.agents.public_keys().await.unwrap();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0].1, keys[1].1, "each has a key of its own");
}

#[tokio::test]
async fn checklist_3_and_6_what_fails_leaves_nothing() {
    let bench = Bench::default();
    let running = bench.start().await;
    install(&running, named("listener")).await.unwrap();
    let before = entries(&running);
    let taken = install(&running, named("listener")).await.unwrap_err();
    assert_eq!(taken, ServiceError::AlreadyExists("Agent with VIP ID listener already installed on platform.".into()));
    assert_eq!(bench.packages.requests().len(), 1, "what cannot succeed is not prepared");
    for bad in ["control", "a b", "../x", ""] {
        assert!(matches!(install(&running, named(bad)).await, Err(ServiceError::Invalid(_))), "{bad}");
    }
    assert!(matches!(install(&running, package("broken")).await, Err(ServiceError::Invalid(text)) if text == "pip failed: told to fail"));
    assert!(matches!(running.agents.begin_install(&vui(), package("x")).await, Err(ServiceError::Forbidden(_))));
    bench.installations.set_failing(true);
    assert!(matches!(install(&running, named("other")).await, Err(ServiceError::Unavailable(_))));
    assert_eq!(bench.packages.discarded(), ["listeneragent-3.3"]);
    bench.installations.set_failing(false);
    assert_eq!(bench.installations.load_all().await.unwrap().records.len(), 1);
    assert_eq!(entries(&running), before, "nobody may connect as what was not installed");
}

#[tokio::test]
async fn checklist_4_5_and_16_force_keeps_key_and_configuration_and_removing_takes_the_key_away() {
    let bench = Bench::default();
    let running = bench.start().await;
    let old = install(&running, named("listener")).await.unwrap();
    running.agents.start(&admin(), &old.identity).await.unwrap();
    running.configs.set(&admin(), &old.identity, "config", vt_backends::ConfigType::Raw, "x").await.unwrap();
    let key = running.agents.public_keys().await.unwrap();
    let new = install(&running, PackageInstall { force: true, ..named("listener") }).await.unwrap();
    assert_ne!(new.uuid, old.uuid);
    assert_eq!(new.state, RunState::NeverStarted, "stopped and not started again");
    assert_eq!(running.agents.public_keys().await.unwrap(), key);
    assert!(running.configs.get(&old.identity, "config").is_some());
    assert!(entries(&running).contains(&"listener".to_owned()));
    running.agents.start(&admin(), &new.identity).await.unwrap();
    assert!(running.bus.is_connected(&new.identity));
    running.agents.remove(&admin(), &new.identity).await.unwrap();
    assert!(!running.bus.is_connected(&new.identity), "a running agent is stopped first");
    assert!(bench.installations.load_all().await.unwrap().records.is_empty());
    assert!(!entries(&running).contains(&"listener".to_owned()));
    let again = install(&running, named("listener")).await.unwrap();
    assert_ne!(running.agents.public_keys().await.unwrap(), key, "a removed agent's key is forgotten");
    running.agents.remove_with(&admin(), &again.identity, KeyEntry::Keep).await.unwrap();
    assert!(entries(&running).contains(&"listener".to_owned()));
}

#[tokio::test]
async fn an_agent_is_started_tagged_and_enabled_as_it_is_installed() {
    let running = Bench::default().start().await;
    let (tag, priority) = (Some(Tag::parse("mine").unwrap()), Some(Priority::parse("7").unwrap()));
    let request = PackageInstall { start: true, tag: tag.clone(), priority: priority.clone(), ..named("listener") };
    let begun = running.agents.begin_install(&admin(), request).await.unwrap();
    let outcome = begun.outcome().await.unwrap();
    assert_eq!((outcome.agent.tag, outcome.agent.priority, outcome.start_error), (tag, priority, None));
    assert!(outcome.agent.state.is_running());
    let news = running.agents.install_of(begun.id).unwrap().news(0);
    assert_eq!((news.step, news.percent, news.lines), ("done", 100, vec!["preparing listeneragent-3.3".to_owned()]));
    assert_eq!(running.agents.installs().len(), 1);
}

#[tokio::test]
async fn an_upgrade_keeps_what_is_not_given_and_runs_if_the_old_one_ran() {
    let bench = Bench::default();
    let running = bench.start().await;
    let (tag, priority) = (Some(Tag::parse("mine").unwrap()), Some(Priority::parse("7").unwrap()));
    install(&running, PackageInstall { tag: tag.clone(), priority: priority.clone(), ..named("listener") }).await.unwrap();
    let upgrade = PackageInstall { upgrade: true, ..PackageInstall { identity: Some("listener".into()), ..package("listeneragent==3.4") } };
    let resting = install(&running, upgrade.clone()).await.unwrap();
    assert_eq!((&resting.tag, &resting.priority, resting.name.as_str()), (&tag, &priority, "listeneragent-3.4"));
    assert_eq!(resting.state, RunState::NeverStarted, "the old one did not run");
    let earlier = bench.packages.requests()[1].earlier_config.clone().unwrap();
    assert!(earlier.ends_with("listeneragent-3.3/listeneragent-3.3.dist-info/config"), "{earlier:?}");
    running.agents.start(&admin(), &resting.identity).await.unwrap();
    let other = Some(Tag::parse("other").unwrap());
    let ran = install(&running, PackageInstall { tag: other.clone(), ..upgrade.clone() }).await.unwrap();
    assert_eq!((ran.tag, ran.priority), (other, priority));
    assert!(ran.state.is_running());
    let new = install(&running, PackageInstall { identity: Some("unknown".into()), ..upgrade }).await.unwrap();
    assert_eq!((new.state, new.tag), (RunState::NeverStarted, None), "one that was not there is installed");
}

#[tokio::test]
async fn an_agent_that_cannot_be_replaced_runs_on() {
    let bench = Bench::default();
    let running = bench.start().await;
    let old = install(&running, named("listener")).await.unwrap();
    running.agents.start(&admin(), &old.identity).await.unwrap();
    let upgrade = |name: &str| PackageInstall { upgrade: true, identity: Some("listener".into()), ..package(name) };
    assert!(install(&running, upgrade("broken")).await.is_err());
    assert_eq!(running.launcher.started().len(), 1, "it is not stopped for what cannot be prepared");
    bench.installations.set_failing(true);
    assert!(matches!(install(&running, upgrade("listeneragent==3.4")).await, Err(ServiceError::Unavailable(_))));
    let still = running.agents.by_identity("listener").unwrap();
    assert_eq!((still.uuid, still.name.as_str()), (old.uuid, "listeneragent-3.3"));
    assert!(still.state.is_running(), "{still:?}");
    assert_eq!(bench.packages.discarded(), ["listeneragent-3.4"]);
}

#[tokio::test]
async fn vctl_9_sends_a_wheel_over_a_channel() {
    let bench = Bench::default();
    let running = bench.start().await;
    let vctl = id(known::CONTROL_LOCAL);
    let mut far = bench.channels.peer(&vctl, "agent_sender");
    let client = async {
        let mut chunks = vec![b"complete".to_vec(), b"wheel".to_vec()];
        while let Ok(frames) = far.receive().await {
            let is_fetch = frames[0].starts_with(b"[\"fetch\"");
            let answer = if is_fetch { chunks.pop().unwrap() } else { Sha512::digest(b"wheel").to_vec() };
            far.send(vec![answer]).await.unwrap();
        }
    };
    let args =
        vec![json!("/home/me/listeneragent-3.3-py3-none-any.whl"), json!("agent_sender"), json!("listener"), json!(null), json!(null)];
    let (uuid, ()) = tokio::join!(control(&running, "install_agent", [args.clone(), vec![json!(false)]].concat()), client);
    let agent = running.agents.by_identity("listener").unwrap();
    assert_eq!(uuid.unwrap(), json!(agent.uuid));
    let content = std::sync::Arc::new(b"wheel".to_vec());
    let file_name = "listeneragent-3.3-py3-none-any.whl".to_owned();
    assert_eq!(bench.packages.requests()[0].source, PackageSource::Wheel { file_name, content });
    let again = control(&running, "install_agent", args).await.unwrap_err();
    assert_eq!(again, RpcError::value_error("Identity already exists, but not forced!"));
    let keys = control(&running, "get_all_agent_publickeys", vec![]).await.unwrap();
    assert_eq!(keys["listener"].as_str().unwrap().len(), 43);
    let unreachable = control(&running, "install_agent", vec![json!("x-1-py3-none-any.whl"), json!("a"), json!("b")]).await.unwrap_err();
    assert!(unreachable.to_string().contains("cannot be reached over a channel"), "{unreachable}");
}

#[tokio::test]
async fn modular_vctl_installs_by_an_object_and_version_6_by_a_path() {
    let bench = Bench::default();
    let running = bench.start().await;
    let options = json!({
        "source": "modular_agent-1.0-py3-none-any.whl", "data": STANDARD.encode(b"wheel"), "identity": "m", "force": false,
        "agentConfig": {"a": 1}, "allowPrerelease": true, "tag": null,
    });
    control(&running, "install_agent", vec![options]).await.unwrap();
    control(&running, "install_agent", vec![json!({"source": "volttron-listener==2.0", "agent_config": {}})]).await.unwrap();
    control(&running, "install_agent_local", vec![json!("/tmp/x-1.0-py3-none-any.whl"), json!("l"), json!(null), json!(null)])
        .await
        .unwrap();
    let editable = json!({"source": "/home/me/agent", "editable": true, "identity": "e"});
    control(&running, "install_agent", vec![editable]).await.unwrap();
    let requests = bench.packages.requests();
    assert_eq!(requests[3].source, PackageSource::Directory("/home/me/agent".into()));
    assert_eq!(requests[0].config.as_deref(), Some("{\n  \"a\": 1\n}\n"));
    assert!(requests[0].allow_prerelease);
    assert_eq!((&requests[1].source, &requests[1].config), (&PackageSource::Requirement("volttron-listener==2.0".into()), &None));
    assert_eq!(requests[2].source, PackageSource::File("/tmp/x-1.0-py3-none-any.whl".into()));
    let records = bench.installations.load_all().await.unwrap().records;
    assert!(records.iter().all(|agent| matches!(agent.source, AgentSource::Python(_))));
    for (bad, part) in [(json!({}), "source"), (json!({"source": "x.whl"}), "data"), (json!({"source": "x", "editable": true}), "editable")]
    {
        let error = control(&running, "install_agent", vec![bad]).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn modular_vctl_installs_a_directory_as_it_is() {
    let bench = Bench::default();
    let running = bench.start().await;
    let options = json!({
        "source": "/home/me/agent", "editable": true, "data": null, "identity": null, "tag": null, "priority": null, "start": false,
        "enabled": false, "force": false, "allowPrerelease": false, "agentConfig": {}, "credentials": null,
    });
    control(&running, "install_agent", vec![options]).await.unwrap();
    assert_eq!(bench.packages.requests()[0].source, PackageSource::Directory("/home/me/agent".into()));
    assert_eq!(bench.packages.requests()[0].config, None);
}

#[tokio::test]
async fn vctl_10_says_configuration_and_prereleases_after_force_and_sends_no_wheel_for_a_name() {
    let bench = Bench::default();
    let running = bench.start().await;
    let args = |name: &str, force: bool| {
        [json!(name), json!(null), json!("ears"), json!(null), json!(null), json!(force), json!(true), json!({"b": "é"})].to_vec()
    };
    control(&running, "install_agent", args("volttron-listener", false)).await.unwrap();
    let request = &bench.packages.requests()[0];
    assert_eq!(request.source, PackageSource::Requirement("volttron-listener".into()));
    assert_eq!((request.config.as_deref(), request.allow_prerelease), (Some("{\n  \"b\": \"é\"\n}\n"), true));
    let again = control(&running, "install_agent", args("volttron-listener", false)).await.unwrap_err();
    assert_eq!(again, RpcError::value_error("Identity already exists, but not forced!"));
    control(&running, "install_agent", args("volttron-listener", true)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_while_it_sends_leaves_nothing() {
    let bench = Bench::default();
    let running = bench.start().await;
    let mut far = bench.channels.peer(&id(known::CONTROL_LOCAL), "agent_sender");
    let client = async {
        far.receive().await.unwrap();
        far.send(vec![b"half of a wheel".to_vec()]).await.unwrap();
        drop(far);
    };
    let args = vec![json!("listeneragent-3.3-py3-none-any.whl"), json!("agent_sender"), json!("listener")];
    let (result, ()) = tokio::join!(control(&running, "install_agent", args), client);
    assert!(result.unwrap_err().to_string().contains("disconnected"));
    assert!(running.agents.list().is_empty() && running.agents.installs().is_empty() && bench.packages.requests().is_empty());
    // The name is free again.
    drop(bench.channels.peer(&id(known::CONTROL_LOCAL), "agent_sender"));
    let args = vec![json!("listeneragent-3.3-py3-none-any.whl"), json!("agent_sender"), json!("listener")];
    assert!(control(&running, "install_agent", args).await.unwrap_err().to_string().contains("disconnected"));
}

#[tokio::test]
async fn checklist_15_enabled_agents_start_in_descending_order_of_their_text() {
    let bench = Bench::default();
    let running = bench.start().await;
    for priority in ["05", "99", "50"] {
        let name = format!("p{priority}");
        let priority = Some(Priority::parse(priority).unwrap());
        install(&running, PackageInstall { priority, ..named(&name) }).await.unwrap();
    }
    running.agents.autostart().await;
    let started: Vec<_> = running.launcher.started().iter().map(ToString::to_string).collect();
    assert_eq!(started, ["p99", "p50", "p05"]);
}
