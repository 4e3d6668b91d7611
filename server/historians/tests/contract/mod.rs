//! What holds for every history store. Each store's own test file calls `suite!` with a function that makes an empty, set up one.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    dead_code,
    unused_macros,
    unused_imports,
    reason = "test code; not every file uses all of it"
)]

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta};
use serde_json::{Map, Value, json};
use vt_historians::{
    HistoryQuery, HistoryStore, Order, TimeSpan,
    config::{HistorianConfig, TableNames},
    store::Retention,
};
use vt_types::{HistoryRecord, Timestamp, history::Source};

pub type Store = Arc<dyn HistoryStore>;

pub fn tables() -> TableNames {
    HistorianConfig::parse(&Map::new()).unwrap().tables
}

/// 2026-01-01T00:00:00Z and `seconds`.
pub fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp_micros((1_767_225_600 + seconds) * 1_000_000).unwrap()
}

pub fn record(topic: &str, time: Timestamp, value: Value) -> HistoryRecord {
    HistoryRecord { timestamp: time, topic: topic.into(), source: Source::Scrape, value, meta: Arc::default() }
}

pub fn with_meta(mut record: HistoryRecord, meta: Value) -> HistoryRecord {
    record.meta = Arc::new(meta.as_object().unwrap().clone());
    record
}

pub async fn insert(store: &Store, records: Vec<HistoryRecord>) {
    store.insert(Arc::new(records)).await.unwrap();
}

pub fn asking(topic: &str) -> HistoryQuery {
    HistoryQuery { topics: vec![topic.to_owned()], ..HistoryQuery::default() }
}

pub async fn ask(store: &Store, query: &HistoryQuery) -> Vec<(Timestamp, Value)> {
    store.query(query).await.unwrap().remove(0).values
}

async fn values(store: &Store, query: &HistoryQuery) -> Vec<Value> {
    ask(store, query).await.into_iter().map(|(_, value)| value).collect()
}

async fn ten(store: &Store) {
    insert(store, (0..10).map(|i| record("campus/building/unit/point", at(i), json!(i))).collect()).await;
}

pub async fn insert_and_query_before_set_up_say_not_ready(store: Store) {
    let error = store.insert(Arc::new(vec![record("a", at(0), json!(1))])).await.unwrap_err();
    assert_eq!(error.to_string(), "the history store is not ready; it is being set up");
}

pub async fn start_is_inclusive_end_is_exclusive_and_equal_is_exact(store: Store) {
    ten(&store).await;
    let mut query = asking("campus/building/unit/point");
    query.span = TimeSpan { start: Some(at(2)), end: Some(at(5)) };
    assert_eq!(values(&store, &query).await, [json!(2), json!(3), json!(4)]);
    query.span = TimeSpan { start: Some(at(4)), end: Some(at(4)) };
    assert_eq!(values(&store, &query).await, [json!(4)]);
    query.span = TimeSpan { start: Some(at(8)), end: None };
    assert_eq!(ask(&store, &query).await, [(at(8), json!(8)), (at(9), json!(9))]);
    query.span = TimeSpan { start: None, end: Some(at(1)) };
    assert_eq!(values(&store, &query).await, [json!(0)]);
    query.span = TimeSpan { start: Some(at(5)), end: Some(at(2)) };
    assert!(values(&store, &query).await.is_empty());
}

pub async fn skip_count_and_order_work_per_topic(store: Store) {
    ten(&store).await;
    insert(&store, vec![record("other", at(3), json!("x"))]).await;
    let mut query = HistoryQuery { order: Order::LastToFirst, count: Some(1), ..asking("campus/building/unit/point") };
    assert_eq!(ask(&store, &query).await, [(at(9), json!(9))]);
    query.skip = 2;
    query.count = Some(2);
    assert_eq!(values(&store, &query).await, [json!(7), json!(6)]);
    query.order = Order::FirstToLast;
    assert_eq!(values(&store, &query).await, [json!(2), json!(3)]);
    query.skip = 9;
    assert_eq!(values(&store, &query).await, [json!(9)]);
    query.count = Some(0);
    assert!(values(&store, &query).await.is_empty());
    let both = HistoryQuery {
        topics: vec!["other".into(), "nothing".into(), "campus/building/unit/point".into()],
        count: Some(1),
        ..HistoryQuery::default()
    };
    let answer = store.query(&both).await.unwrap();
    assert_eq!(
        answer.iter().map(|series| (series.topic.as_str(), series.values.len())).collect::<Vec<_>>(),
        [("other", 1), ("nothing", 0), ("campus/building/unit/point", 1)]
    );
}

pub async fn the_same_topic_and_time_again_leaves_the_later_value(store: Store) {
    insert(&store, vec![record("a", at(0), json!(1)), record("a", at(0), json!(2))]).await;
    assert_eq!(values(&store, &asking("a")).await, [json!(2)]);
    insert(&store, vec![record("a", at(0), json!(3))]).await;
    assert_eq!(values(&store, &asking("a")).await, [json!(3)]);
}

pub async fn topics_are_found_without_regard_to_case_and_keep_their_last_spelling(store: Store) {
    insert(&store, vec![record("Campus/A", at(0), json!(1))]).await;
    assert_eq!(values(&store, &asking("CAMPUS/a")).await, [json!(1)]);
    let id = store.topics().await.unwrap()[0].id;
    insert(&store, vec![record("campus/a", at(1), json!(2))]).await;
    let topics = store.topics().await.unwrap();
    assert_eq!(topics.iter().map(|topic| (topic.id, &*topic.name)).collect::<Vec<_>>(), [(id, "campus/a")]);
    assert_eq!(values(&store, &asking("Campus/A")).await, [json!(1), json!(2)]);
}

pub async fn every_json_value_comes_back(store: Store) {
    let given = [
        json!(1.5),
        json!(0.1),
        json!(1e-300),
        json!(-7),
        json!(i64::MIN),
        json!(null),
        json!(true),
        json!("te\"xt \u{0}\u{202e} <b>"),
        json!([1, [2]]),
        json!({"a": {"b": null}}),
    ];
    insert(&store, given.iter().zip(0..).map(|(value, i)| record("a", at(i), value.clone())).collect()).await;
    assert_eq!(values(&store, &asking("a")).await, given);
}

pub async fn microseconds_and_early_times_are_kept(store: Store) {
    let times = [
        DateTime::from_timestamp_micros(-1_000_001).unwrap(),
        at(0) + TimeDelta::microseconds(1),
        at(0) + TimeDelta::microseconds(999_999),
    ];
    insert(&store, times.iter().map(|time| record("a", *time, json!(1))).collect()).await;
    assert_eq!(ask(&store, &asking("a")).await.into_iter().map(|(time, _)| time).collect::<Vec<_>>(), times);
}

pub async fn metadata_is_kept_and_replaced_and_not_emptied(store: Store) {
    insert(&store, vec![with_meta(record("a", at(0), json!(1)), json!({"units": "F", "tz": "UTC"}))]).await;
    insert(&store, vec![record("a", at(1), json!(1))]).await;
    let series = store.query(&asking("a")).await.unwrap().remove(0);
    assert_eq!(Value::Object((*series.metadata).clone()), json!({"units": "F", "tz": "UTC"}));
    insert(&store, vec![with_meta(record("a", at(2), json!(1)), json!({"units": "C"}))]).await;
    assert_eq!(Value::Object((*store.topics().await.unwrap()[0].metadata).clone()), json!({"units": "C"}));
}

pub async fn hostile_topics_are_only_names(store: Store) {
    let names =
        ["a'; DROP TABLE topics; --", "<img onerror=alert(1)>", "%", "_", "a\"b", "../../etc/passwd", "ünïcödé/\u{202e}x", ".*[a-z]+("];
    insert(&store, names.iter().zip(0..).map(|(name, i)| record(name, at(i), json!(i))).collect()).await;
    for (name, i) in names.iter().zip(0..) {
        assert_eq!(ask(&store, &asking(name)).await, [(at(i), json!(i))], "{name}");
    }
    assert_eq!(store.topics().await.unwrap().len(), names.len());
}

pub async fn latest_is_the_newest_by_time(store: Store) {
    ten(&store).await;
    insert(&store, vec![record("campus/building/unit/point", at(-5), json!("late")), record("b", at(1), json!(null))]).await;
    let topics = ["nothing", "B", "campus/building/unit/point"].map(str::to_owned);
    assert_eq!(
        store.latest(&topics).await.unwrap(),
        [("B".to_owned(), at(1), json!(null)), ("campus/building/unit/point".to_owned(), at(9), json!(9))]
    );
}

pub async fn downsampling_keeps_extremes_and_the_ends(store: Store) {
    let spiky = |i: i64| {
        if i == 500 {
            1000.0
        } else if i == 501 {
            -1000.0
        } else {
            20.0
        }
    };
    let mut records: Vec<_> = (0..1000).map(|i| record("a", at(i * 60), json!(spiky(i)))).collect();
    records.push(record("a", at(30), json!("no number")));
    insert(&store, records).await;
    let down = store.query_downsampled("A", TimeSpan::default(), 100).await.unwrap();
    assert!(down.buckets.len() <= 100 && down.buckets.len() > 90, "{}", down.buckets.len());
    assert_eq!(down.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 1000);
    assert_eq!(down.buckets.iter().map(|bucket| bucket.max).fold(f64::MIN, f64::max), 1000.0);
    assert_eq!(down.buckets.iter().map(|bucket| bucket.min).fold(f64::MAX, f64::min), -1000.0);
    assert_eq!((down.buckets[0].first_at, down.buckets.last().unwrap().last_at), (at(0), at(999 * 60)));
    let span = TimeSpan { start: Some(at(60)), end: Some(at(240)) };
    let exact = store.query_downsampled("a", span, 100).await.unwrap().buckets;
    assert_eq!(exact.iter().map(|bucket| bucket.first_at).collect::<Vec<_>>(), [at(60), at(120), at(180)]);
    assert!(store.query_downsampled("nothing", span, 100).await.unwrap().buckets.is_empty());
    assert!(store.query_downsampled("a", TimeSpan { start: Some(at(-10)), end: Some(at(-5)) }, 10).await.unwrap().buckets.is_empty());
}

pub async fn history_limit_days_counts_from_the_newest_record(store: Store) {
    let day = 86_400;
    insert(
        &store,
        vec![
            record("a", at(0), json!(0)),
            record("a", at(10), json!(1)),
            record("b", at(5), json!(2)),
            record("b", at(day + 10), json!(3)),
        ],
    )
    .await;
    store.apply_retention(Retention { history_limit_days: Some(1.0), storage_limit_bytes: None }).await.unwrap();
    assert_eq!(values(&store, &asking("a")).await, [json!(1)]);
    assert_eq!(values(&store, &asking("b")).await, [json!(3)]);
    store.apply_retention(Retention::default()).await.unwrap();
    assert_eq!(values(&store, &asking("a")).await, [json!(1)]);
}

pub async fn storage_limit_drops_the_oldest(store: Store) {
    for part in 0..30 {
        insert(&store, (0..1000).map(|i| record("a", at(part * 1000 + i), json!((part * 1000 + i).to_string()))).collect()).await;
    }
    let limit = 200_000;
    store.apply_retention(Retention { history_limit_days: None, storage_limit_bytes: Some(limit) }).await.unwrap();
    let left = ask(&store, &asking("a")).await;
    assert!(!left.is_empty() && left.len() < 30_000, "{}", left.len());
    assert_eq!(left.last().unwrap().0, at(29_999));
    assert!(left.windows(2).all(|pair| pair[1].0 - pair[0].0 == TimeDelta::seconds(1)));
}

pub async fn concurrent_inserts_are_all_there(store: Store) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for part in 0..10 {
                let records = (0..20).map(|i| record(&format!("t{}", i % 7), at(task * 10_000 + part * 100 + i), json!(i))).collect();
                insert(&store, records).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut total = 0;
    for topic in 0..7 {
        total += ask(&store, &asking(&format!("t{topic}"))).await.len();
    }
    assert_eq!(total, 16 * 10 * 20);
}

pub async fn random_work_equals_a_map(store: Store) {
    let mut model: BTreeMap<(u64, i64), i64> = BTreeMap::new();
    let mut state = 42u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..60 {
        let base = i64::try_from(random(2000)).unwrap();
        let mut records = Vec::new();
        for _ in 0..random(200) {
            let (topic, offset) = (random(3), i64::try_from(random(300)).unwrap());
            records.push(record(&format!("t{topic}"), at(base + offset), json!(round)));
            model.insert((topic, base + offset), round);
        }
        insert(&store, records).await;
        let topic = random(3);
        let (first, last) = (i64::try_from(random(2500)).unwrap(), i64::try_from(random(2500)).unwrap());
        let mut wanted: Vec<_> = model
            .iter()
            .filter(|((t, time), _)| *t == topic && (*time >= first) && (*time < last || (first == last && *time == first)))
            .map(|((_, time), value)| (at(*time), json!(value)))
            .collect();
        let mut query = asking(&format!("t{topic}"));
        query.span = TimeSpan { start: Some(at(first)), end: Some(at(last)) };
        if random(2) == 0 {
            query.order = Order::LastToFirst;
            wanted.reverse();
        }
        query.skip = usize::try_from(random(5)).unwrap();
        query.count = (random(3) == 0).then(|| usize::try_from(random(100)).unwrap());
        let wanted: Vec<_> = wanted.into_iter().skip(query.skip).take(query.count.unwrap_or(usize::MAX)).collect();
        assert_eq!(ask(&store, &query).await, wanted, "round {round}: {query:?}");
        let down = store.query_downsampled(&format!("t{topic}"), TimeSpan::default(), 50).await.unwrap();
        let count = model.keys().filter(|(t, _)| *t == topic).count();
        assert_eq!(down.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), count as u64, "round {round}");
    }
}

pub async fn closing_ends_it(store: Store) {
    ten(&store).await;
    store.close().await;
    assert!(store.insert(Arc::new(vec![record("a", at(0), json!(1))])).await.is_err());
    assert!(store.query(&asking("a")).await.is_err());
    store.close().await;
}

/// One test per promise, each with a store of its own from `$make().await`, an `(impl Drop, Store)`.
macro_rules! suite {
    ($make:ident) => {
        contract::suite!($make,
            start_is_inclusive_end_is_exclusive_and_equal_is_exact,
            skip_count_and_order_work_per_topic,
            the_same_topic_and_time_again_leaves_the_later_value,
            topics_are_found_without_regard_to_case_and_keep_their_last_spelling,
            every_json_value_comes_back,
            microseconds_and_early_times_are_kept,
            metadata_is_kept_and_replaced_and_not_emptied,
            hostile_topics_are_only_names,
            latest_is_the_newest_by_time,
            downsampling_keeps_extremes_and_the_ends,
            history_limit_days_counts_from_the_newest_record,
            storage_limit_drops_the_oldest,
            concurrent_inserts_are_all_there,
            random_work_equals_a_map,
            closing_ends_it,
        );
    };
    ($make:ident, $($name:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (_guard, store) = $make().await;
            contract::$name(store).await;
        })*
    };
}
pub(crate) use suite;
