//! What is shown of other platforms: how they answer, when they do not, and who may ask them for what.

use vt_types::{ErrorKind, RpcError, StatusWord};

use crate::ServiceError;
use crate::bench::{Bench, admin, answering_platform, link, until, until_true, vui};
use crate::instances::Running;

#[tokio::test]
async fn what_a_platform_told_stays_with_its_age_when_it_is_gone_and_is_asked_anew_when_it_is_back() {
    let bench = Bench::default();
    let running = bench.start().await;
    let links = answering_platform("p2", "control");
    running.instances.attach(links.clone());
    let told = until(async || running.instances.by_name("p2")?.told).await;
    assert_eq!((told.counts(), told.unwell()), (Some((1, 2)), vec![("listener", StatusWord::Bad)]));
    let listener = told.agent("listener").unwrap();
    assert_eq!((listener.pid, listener.exit_code, listener.tag.as_deref()), (Some(42), None, Some("l")));
    assert_eq!(told.agent("idle").unwrap().exit_code, Some(1));

    links.set(link("p2", false, 1));
    bench.clock.advance(chrono::Duration::seconds(100));
    let asked = links.calls().len();
    let view = running.instances.by_name("p2").unwrap();
    assert_eq!((view.told.as_ref(), view.link.problem.as_deref()), (Some(&told), Some("connection refused")));
    links.set(link("p2", true, 2));
    until_true(|| running.instances.by_name("p2").is_some_and(|view| view.told.is_some_and(|now| now.at > told.at))).await;
    assert!(links.calls().len() > asked);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_does_not_answer_holds_nobody_up_and_says_so() {
    let running = Bench::default().start().await;
    let links = answering_platform("quick", "control");
    links.set(link("mute", true, 1));
    running.instances.attach(links);
    let asked = tokio::time::Instant::now();
    until(async || running.instances.by_name("quick")?.told).await;
    assert!(asked.elapsed() < super::ASK_LIMIT, "the mute one was not waited for");
    let silence = until(async || running.instances.by_name("mute")?.silence).await;
    assert!(silence.contains("did not answer"), "{silence}");
    assert!(running.instances.by_name("mute").unwrap().told.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_modular_platform_is_asked_under_its_own_names() {
    let running = Bench::default().start().await;
    let links = answering_platform("eleven", "platform.control");
    running.instances.attach(links.clone());
    let told = until(async || running.instances.by_name("eleven")?.told).await;
    assert_eq!(told.counts(), Some((1, 2)));
    running.instances.run_agent(&admin(), "eleven", "listener", Running::Stop).await.unwrap();
    assert!(links.calls().contains(&("eleven".to_owned(), "platform.control".to_owned(), "stop_agent".to_owned())));
}

#[tokio::test]
async fn only_administrators_ask_other_platforms_and_it_is_written_down() {
    let bench = Bench::default();
    let running = bench.start().await;
    let links = answering_platform("p2", "control");
    links.set(link("gone", false, 0));
    running.instances.attach(links.clone());
    until(async || running.instances.by_name("p2")?.told).await;
    let kind = |result: Result<(), ServiceError>| result.unwrap_err().kind();
    let instances = &running.instances;
    assert_eq!(kind(instances.run_agent(&vui(), "p2", "listener", Running::Stop).await), ErrorKind::Forbidden);
    assert!(!links.calls().iter().any(|(.., method)| method == "stop_agent"));
    assert_eq!(kind(instances.run_agent(&admin(), "p2", "nobody", Running::Stop).await), ErrorKind::NotFound);
    let call = instances.call(&admin(), "gone", "control", "x", vt_types::Params::none()).await;
    assert!(matches!(&call, Err(ServiceError::Unavailable(text)) if text.contains("connection refused")), "{call:?}");
    links.answer("p2", "listener", "x", Err(RpcError::value_error("no")));
    let raised = instances.call(&admin(), "p2", "listener", "x", vt_types::Params::none()).await;
    assert_eq!(raised, Err(ServiceError::Rpc(RpcError::value_error("no"))));
    instances.run_agent(&admin(), "p2", "listener", Running::Stop).await.unwrap();
    let audited = bench.audited().await;
    let written: Vec<_> =
        audited.iter().filter(|record| record.action == "platform.rpc").map(|record| (record.target.as_str(), record.success)).collect();
    assert_eq!(
        written,
        [("p2:control.stop_agent", false), ("gone:control.x", false), ("p2:listener.x", false), ("p2:control.stop_agent", true)]
    );
}

#[tokio::test]
async fn how_setting_up_goes_is_kept_by_web_address() {
    let running = Bench::default().start().await;
    let instances = &running.instances;
    instances.set_introductions(&["https://a:1".to_owned(), "https://b:2".to_owned()]);
    instances.note_introduction("https://a:1", Ok("p2".to_owned()));
    instances.note_introduction("https://c:3", Err("nobody asked for it".to_owned()));
    instances.set_introductions(&["https://a:1".to_owned()]);
    let told = instances.introductions();
    assert_eq!((told.len(), &told[0].outcome), (1, &Some(Ok("p2".to_owned()))));
    assert!(told[0].tried_at.is_some());
}
