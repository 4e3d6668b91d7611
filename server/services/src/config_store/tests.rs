//! The store at work on the bus: what is durable when, what agents are told, who may change what.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, json};
use tokio::sync::Notify;
use vt_agent::MethodTable;
use vt_backends::memory::MemoryConfigs;
use vt_backends::repositories::Loaded;
use vt_types::identity::known;
use vt_types::{Params, RpcError};

use super::*;
use crate::bench::{Bench, DEADLINE, Running, admin, call, id, kwargs, nobody, vui};

type Told = Arc<Mutex<Vec<(String, Value)>>>;

/// An agent that writes down what the store tells it.
fn recording() -> (MethodTable, Told) {
    let (mut table, told) = (MethodTable::new(), Told::default());
    let (initial, update) = (Arc::clone(&told), Arc::clone(&told));
    table.method("config.initial_update").param("configs").to(move |call| {
        initial.lock().push(("INITIAL".into(), call.value("configs").clone()));
        std::future::ready(Ok(Value::Null))
    });
    table
        .method("config.update")
        .param("action")
        .param("config_name")
        .optional("contents", Value::Null)
        .optional("trigger_callback", false)
        .to(move |call| {
            let what = json!([call.value("config_name"), call.value("contents"), call.value("trigger_callback")]);
            update.lock().push((call.arg("action").unwrap(), what));
            std::future::ready(Ok(Value::Null))
        });
    (table, told)
}

async fn set(running: &Running, name: &str, kind: ConfigType, data: &str) -> Result<(), ServiceError> {
    running.configs.set(&vui(), &id("listener"), name, kind, data).await
}

#[tokio::test]
async fn changes_are_told_in_order_with_volttrons_arguments() {
    let running = Bench::default().start().await;
    let (table, told) = recording();
    let (agent, _events) = running.agent("listener", table);
    set(&running, "before.csv", ConfigType::Csv, "Point,Unit\nT,F\n").await.unwrap();
    running.call(agent.peer(), known::CONFIG_STORE, "initialize_configs", vec![json!("listener")]).await.unwrap();
    assert_eq!(told.lock().last().unwrap().1, json!({"before.csv": [{"Point": "T", "Unit": "F"}]}), "told before the answer came");
    told.lock().clear();
    set(&running, "config", ConfigType::Json, "{\"a\": 1} // why").await.unwrap();
    set(&running, "CONFIG", ConfigType::Json, "{\"link\": \"config://before.csv\"}").await.unwrap();
    set(&running, "text", ConfigType::Raw, "hush").await.unwrap();
    running.configs.delete(&vui(), &id("listener"), "TEXT").await.unwrap();
    running.configs.delete_store(&vui(), &id("listener")).await.unwrap();
    running.configs.delete_store(&vui(), &id("listener")).await.unwrap();
    let expected = [
        ("NEW", json!(["config", {"a": 1}, true])),
        ("UPDATE", json!(["CONFIG", {"link": "config://before.csv"}, true])),
        ("NEW", json!(["text", "hush", true])),
        ("DELETE", json!(["text", null, true])),
        ("DELETE_ALL", json!([null, null, true])),
    ];
    assert_eq!(*told.lock(), expected.map(|(action, what)| (action.to_owned(), what)));
}

#[tokio::test]
async fn what_is_stored_survives_and_reads_back_as_given() {
    let bench = Bench::default();
    let running = bench.start().await;
    let mut changes = running.configs.changes();
    set(&running, " /devices/A b#é/ ", ConfigType::Json, "{\"a\": 1} # c").await.unwrap();
    assert_eq!(changes.recv().await.unwrap(), (id("listener"), "devices/A b#é".to_owned()));
    drop(running);
    let running = bench.start().await;
    assert_eq!(running.configs.stores(), [id("listener")]);
    assert_eq!(running.configs.names(&id("listener")), ["devices/A b#é"]);
    let view = running.configs.get(&id("listener"), "DEVICES/a B#É").unwrap();
    assert_eq!((view.data.as_str(), view.config_type, view.modified), ("{\"a\": 1} # c", ConfigType::Json, Some(bench.clock.now())));
    assert_eq!(running.configs.parsed(&id("listener"), "devices/a b#é"), Some(json!({"a": 1})));
    assert_eq!(running.configs.get(&id("other"), "x"), None);
    assert!(running.configs.names(&id("other")).is_empty());
    running.configs.delete(&vui(), &id("listener"), "devices/a b#é").await.unwrap();
    assert!(running.configs.stores().is_empty());
    let again = running.configs.delete(&vui(), &id("listener"), "gone").await.unwrap_err();
    assert_eq!(again.to_string(), "No configuration file \"gone\" for VIP IDENTIY listener");
}

#[tokio::test]
async fn bad_entries_are_refused_with_line_and_column_and_change_nothing() {
    let running = Bench::default().start().await;
    set(&running, "config", ConfigType::Json, "{}").await.unwrap();
    for (kind, data, place) in [
        (ConfigType::Json, "{\n  oops\n}", "line 2 column 3"),
        (ConfigType::Json, "17", "object or an array"),
        (ConfigType::Json, "{\"x\": \"config://config\"}", "Recursive"),
        (ConfigType::Csv, "a,b\n1\n", "line 2"),
        (ConfigType::Csv, "a,a\n", "line 1"),
    ] {
        let error = set(&running, "config", kind, data).await.unwrap_err();
        assert!(matches!(&error, ServiceError::Invalid(text) if text.contains(place)), "{error:?}");
    }
    assert_eq!(running.configs.get(&id("listener"), "config").unwrap().data, "{}");
    let large = format!("[\"{}\"]", "x".repeat(entries::DATA_BYTES_MAX));
    assert!(matches!(set(&running, "large", ConfigType::Json, &large).await, Err(ServiceError::Invalid(_))));
    let middling = format!("[\"{}\", oops]", "x".repeat(QUICK_BYTES_MAX));
    assert!(matches!(set(&running, "large", ConfigType::Json, &middling).await, Err(ServiceError::Invalid(_))));
}

#[tokio::test]
async fn a_change_that_could_not_be_stored_is_told_to_nobody() {
    let records = MemoryConfigs::default();
    let bench = Bench { configs: Arc::new(records.clone()), ..Bench::default() };
    let running = bench.start().await;
    let (table, told) = recording();
    let (_agent, _events) = running.agent("listener", table);
    records.set_failing(true);
    assert!(matches!(set(&running, "config", ConfigType::Raw, "x").await, Err(ServiceError::Unavailable(_))));
    assert_eq!(running.configs.get(&id("listener"), "config"), None);
    records.set_failing(false);
    set(&running, "config", ConfigType::Raw, "x").await.unwrap();
    assert_eq!(told.lock().len(), 1);
    let outcomes: Vec<_> = bench.audited().await.into_iter().map(|record| (record.action, record.target, record.success)).collect();
    assert_eq!(outcomes, [false, true].map(|success| ("config.set".to_owned(), "listener/config".to_owned(), success)));
}

#[tokio::test]
async fn changes_that_wait_together_are_saved_together() {
    let records = Arc::new(SlowConfigs::default());
    let bench = Bench { configs: records.clone(), ..Bench::default() };
    let running = bench.start().await;
    let first = tokio::spawn({
        let configs = Arc::clone(&running.configs);
        async move { configs.set(&vui(), &id("listener"), "first", ConfigType::Raw, "x").await }
    });
    tokio::time::timeout(DEADLINE, records.saving.notified()).await.unwrap();
    let mut others = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let configs = Arc::clone(&running.configs);
        others.spawn(async move { configs.set(&vui(), &id("listener"), &n.to_string(), ConfigType::Raw, "x").await });
    }
    crate::bench::until_true(|| running.configs.existing(&id("listener")).unwrap().waiting_len() == 1000).await;
    assert!(!first.is_finished(), "no answer before it is durable");
    records.go_on.notify_one();
    first.await.unwrap().unwrap();
    tokio::time::timeout(DEADLINE, records.saving.notified()).await.unwrap();
    records.go_on.notify_one();
    for result in others.join_all().await {
        result.unwrap();
    }
    assert_eq!((records.saves.load(Relaxed), running.configs.names(&id("listener")).len()), (2, 1001));
}

#[tokio::test]
async fn many_entries_are_stored_with_one_save_or_not_at_all() {
    let records = Arc::new(SlowConfigs::default());
    let bench = Bench { configs: records.clone(), ..Bench::default() };
    let running = bench.start().await;
    let many = |n: usize| (0..n).map(|n| (format!("devices/a/b/{n}"), ConfigType::Json, "{\"r\": \"config://r.csv\"}".to_owned()));
    records.go_on.notify_one();
    running.configs.set_many(&admin(), &id("platform.driver"), many(10_000).collect()).await.unwrap();
    assert_eq!((records.saves.load(Relaxed), running.configs.names(&id("platform.driver")).len()), (1, 10_000));
    let bad = many(2).chain([("x".to_owned(), ConfigType::Json, "1".to_owned())]).collect();
    assert!(matches!(running.configs.set_many(&admin(), &id("other"), bad).await, Err(ServiceError::Invalid(_))));
    assert_eq!(running.configs.stores(), [id("platform.driver")]);
}

#[tokio::test]
async fn an_agent_that_does_not_answer_holds_up_nobody_else_and_loses_nothing() {
    tokio::time::pause();
    let running = Bench::default().start().await;
    let mut table = MethodTable::new();
    table.method("config.update").rest("args").keywords("kwargs").to(|_| std::future::pending());
    let (_agent, _events) = running.agent("listener", table);
    let stuck = tokio::spawn({
        let configs = Arc::clone(&running.configs);
        async move { configs.set(&vui(), &id("listener"), "a", ConfigType::Raw, "x").await }
    });
    crate::bench::until_true(|| running.configs.get(&id("listener"), "a").is_some()).await;
    let before = tokio::time::Instant::now();
    running.configs.set(&vui(), &id("other"), "a", ConfigType::Raw, "x").await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
    stuck.await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(31));
}

#[tokio::test]
async fn the_start_of_an_agent_is_answered_after_the_agent_has_taken_its_entries() {
    tokio::time::pause();
    let running = Bench::default().start().await;
    for (method, args) in [("initialize_configs", vec![json!("listener")]), ("get_configs", vec![])] {
        let (taking, taken) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut table = MethodTable::new();
        let (is_taking, may_answer) = (Arc::clone(&taking), Arc::clone(&taken));
        table.method("config.initial_update").param("configs").to(move |_| {
            let (is_taking, may_answer) = (Arc::clone(&is_taking), Arc::clone(&may_answer));
            async move {
                is_taking.notify_one();
                may_answer.notified().await;
                Ok(Value::Null)
            }
        });
        let (agent, _events) = running.agent("listener", table);
        let starting = running.call(agent.peer(), known::CONFIG_STORE, method, args);
        tokio::pin!(starting);
        tokio::select! {
            answer = &mut starting => panic!("{method} was answered before the agent was told: {answer:?}"),
            () = taking.notified() => {}
        }
        // By the paused clock this passes only when nothing else can happen any more.
        let early = tokio::time::timeout(Duration::from_secs(1), &mut starting).await;
        assert!(early.is_err(), "{method}: {early:?}");
        taken.notify_one();
        assert_eq!(starting.await, Ok(Value::Null), "{method}");
        agent.close();
        crate::bench::until_true(|| !running.bus.is_connected(&id("listener"))).await;
    }
}

#[tokio::test]
async fn both_generations_of_calls_store_under_the_right_identity() {
    let running = Bench::default().start().await;
    let (agent, _events) = running.agent("listener", MethodTable::new());
    let store = known::CONFIG_STORE;
    // VOLTTRON 9 and later.
    running
        .call(agent.peer(), store, "set_config", vec![json!("listener"), json!("nine"), json!("{\"a\": 1}"), json!("json")])
        .await
        .unwrap();
    let keywords = kwargs(json!({"identity": "listener", "config_name": "raw", "raw_contents": "x", "send_update": false}));
    call(agent.peer(), store, "set_config", Params::keyword(keywords)).await.unwrap();
    // VOLTTRON 6.
    running.call(agent.peer(), store, "set_config", vec![json!("six"), json!({"b": 2})]).await.unwrap();
    let six = Params { args: vec![json!("text"), json!("hush")], kwargs: kwargs(json!({"trigger_callback": true, "send_update": true})) };
    call(agent.peer(), store, "set_config", six).await.unwrap();
    assert_eq!(running.call(agent.peer(), store, "list_configs", vec![json!("listener")]).await, Ok(json!(["nine", "raw", "six", "text"])));
    let get = async |name: &str, raw: bool| {
        running.call(agent.peer(), store, "get_config", vec![json!("listener"), json!(name), json!(raw)]).await
    };
    assert_eq!(get("nine", true).await, Ok(json!("{\"a\": 1}")));
    assert_eq!(get("nine", false).await, Ok(json!({"a": 1})));
    assert_eq!(get("six", false).await, Ok(json!({"b": 2})));
    assert_eq!(get("text", true).await, Ok(json!("hush")));
    running.call(agent.peer(), store, "delete_config", vec![json!("six")]).await.unwrap();
    running.call(agent.peer(), store, "manage_delete_config", vec![json!("listener"), json!("nine")]).await.unwrap();
    assert_eq!(running.call(agent.peer(), store, "manage_list_configs", vec![json!("listener")]).await, Ok(json!(["raw", "text"])));
    let metadata = running.call(agent.peer(), store, "get_metadata", vec![json!("listener"), json!("raw")]).await.unwrap();
    assert_eq!(metadata, json!({"type": "raw", "modified": "2026-11-24T12:00:00.000000+00:00", "data": "x"}));
    let missing = get("nine", true).await.unwrap_err();
    assert_eq!(missing, RpcError::key_error("No configuration file \"nine\" for VIP IDENTIY listener"));
    let odd = running.call(agent.peer(), store, "set_config", vec![json!("listener"), json!("x"), json!("x"), json!("yaml")]).await;
    assert!(matches!(odd, Err(RpcError::Remote(error)) if error.class() == "ValueError"));
}

#[tokio::test]
async fn an_agent_changes_its_own_entries_only_and_tools_those_of_any() {
    let bench = Bench::default();
    let running = bench.start().await;
    let (agent, _events) = running.agent("listener", MethodTable::new());
    let foreign = vec![json!("platform.driver"), json!("config"), json!("x")];
    for method in ["set_config", "manage_store"] {
        let refused = running.call(agent.peer(), known::CONFIG_STORE, method, foreign.clone()).await;
        assert!(matches!(refused, Err(RpcError::Refused(_))), "{refused:?}");
    }
    let refused = running.call(agent.peer(), known::CONFIG_STORE, "delete_store", vec![json!("platform.driver")]).await;
    assert!(matches!(refused, Err(RpcError::Refused(_))), "{refused:?}");
    let own = vec![json!("listener"), json!("config"), json!("x")];
    running.call(agent.peer(), known::CONFIG_STORE, "set_config", own).await.unwrap();
    assert!(bench.audited().await.is_empty(), "an agent's own entries are its own business");

    let tool = |caller: Caller| {
        let params = Params::positional(foreign.clone());
        let tools = Arc::clone(&running.tools);
        async move { tools.call(&caller, &id(known::CONFIG_STORE), "manage_store", params, DEADLINE).await }
    };
    tool(Caller::local("root")).await.unwrap();
    assert_eq!(running.configs.stores(), [id("listener"), id("platform.driver")]);
    assert_eq!(bench.audited().await[0].user, "local:root");
    assert!(matches!(tool(vui()).await, Err(RpcError::Refused(_))), "people without admin");
}

#[tokio::test]
async fn people_without_rights_change_nothing() {
    let running = Bench::default().start().await;
    for result in [
        running.configs.set(&nobody(), &id("listener"), "a", ConfigType::Raw, "x").await,
        running.configs.set_many(&nobody(), &id("listener"), vec![("a".into(), ConfigType::Raw, "x".into())]).await,
        running.configs.delete(&nobody(), &id("listener"), "a").await,
        running.configs.delete_store(&nobody(), &id("listener")).await,
    ] {
        assert!(matches!(result, Err(ServiceError::Forbidden(_))), "{result:?}");
    }
    assert!(running.configs.stores().is_empty());
}

#[tokio::test]
async fn an_old_entry_that_cannot_be_read_is_kept_for_repair_and_not_told() {
    let bench = Bench::default();
    let broken =
        |name: &str, data: &str| ConfigEntry { name: name.into(), config_type: ConfigType::Json, modified: None, data: data.into() };
    bench.configs.save(&id("listener"), &[broken("bad", "{oops"), broken("good", "{}")]).await.unwrap();
    let running = bench.start().await;
    let (table, told) = recording();
    let (agent, _events) = running.agent("listener", table);
    running.call(agent.peer(), known::CONFIG_STORE, "get_configs", vec![]).await.unwrap();
    assert_eq!(*told.lock(), [("INITIAL".to_owned(), Value::Object(Map::from_iter([("good".to_owned(), json!({}))])))]);
    assert_eq!(running.configs.get(&id("listener"), "bad").unwrap().data, "{oops");
    assert_eq!(running.configs.parsed(&id("listener"), "bad"), None);
    set(&running, "bad", ConfigType::Json, "{}").await.unwrap();
    assert_eq!(running.configs.parsed(&id("listener"), "bad"), Some(json!({})));
}

/// Counts saves, and holds each up until told to go on.
#[derive(Default)]
struct SlowConfigs {
    kept: MemoryConfigs,
    saves: AtomicUsize,
    saving: Notify,
    go_on: Notify,
}

#[async_trait]
impl ConfigRepository for SlowConfigs {
    async fn load_all(&self) -> Result<Loaded<BTreeMap<Identity, Vec<ConfigEntry>>>, RepositoryError> {
        self.kept.load_all().await
    }

    async fn save(&self, identity: &Identity, entries: &[ConfigEntry]) -> Result<(), RepositoryError> {
        self.saving.notify_one();
        self.go_on.notified().await;
        self.saves.fetch_add(1, Relaxed);
        self.kept.save(identity, entries).await
    }
}
