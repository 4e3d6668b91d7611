//! The queue in front of another platform: order, what is sent again, what is dropped, what survives.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use vt_historians::{
    HistorianConfig,
    outbox::{Entry, HOLD, Leave, Outbox},
};
use vt_types::{HistoryRecord, history::Source, timestamp};

const ALL: usize = 1 << 20;

async fn outbox(home: &TempDir, settings: Value) -> Outbox {
    let config = HistorianConfig::parse(settings.as_object().unwrap_or(&Map::new())).unwrap();
    Outbox::open(&home.path().join("backup.sqlite"), &config).await.unwrap()
}

/// Messages `first..end`, all on one topic and taken at one time.
fn messages(numbers: std::ops::Range<u32>) -> Vec<HistoryRecord> {
    let timestamp = timestamp::parse("2026-01-01T00:00:00").unwrap().assume_utc();
    let message = |n: u32| json!({"headers": {"Date": "2026-01-01T00:00:00"}, "message": [{"n": n, "text": "0123456789".repeat(20)}, {}]});
    numbers
        .map(|n| HistoryRecord {
            timestamp,
            topic: Arc::from("devices/a/all"),
            source: Source::Forwarded,
            value: message(n),
            meta: Arc::default(),
        })
        .collect()
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.record.value["message"][0]["n"].as_u64().unwrap()).collect()
}

fn rows(entries: &[Entry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.row).collect()
}

#[tokio::test]
async fn messages_go_out_in_order_with_repeats_and_leave_when_they_are_confirmed() {
    let home = tempfile::tempdir().unwrap();
    let mut outbox = outbox(&home, json!({})).await;
    outbox.take(&messages(0..5)).await.unwrap();
    let now = Instant::now();
    let first = outbox.next(3, ALL).await.unwrap();
    assert_eq!(numbers(&first), [0, 1, 2]);
    assert!(outbox.next(3, ALL).await.unwrap().is_empty(), "one batch at a time");
    assert_eq!((outbox.backlog(), outbox.oldest().is_some()), (5, true), "under way is not yet there");
    outbox.sent(&first, &rows(&first), Leave::Now, now).await.unwrap();
    assert_eq!(outbox.backlog(), 2);
    let rest = outbox.next(3, ALL).await.unwrap();
    assert_eq!(numbers(&rest), [3, 4]);
    outbox.sent(&rest, &rows(&rest), Leave::Now, now).await.unwrap();
    assert_eq!((outbox.backlog(), outbox.oldest()), (0, None));
    // Rows begin again at 1 in an empty table.
    outbox.take(&messages(5..7)).await.unwrap();
    assert_eq!(numbers(&outbox.next(3, ALL).await.unwrap()), [5, 6]);
}

#[tokio::test]
async fn what_was_not_confirmed_is_sent_again_and_what_was_is_not() {
    let home = tempfile::tempdir().unwrap();
    let mut outbox = outbox(&home, json!({})).await;
    outbox.take(&messages(0..4)).await.unwrap();
    for leave in [Leave::Now, Leave::Held] {
        let batch = outbox.next(10, ALL).await.unwrap();
        let all = rows(&batch);
        let (confirmed, left): (Vec<_>, Vec<_>) = batch.iter().partition(|entry| numbers(&[(*entry).clone()])[0] % 2 == 1);
        let confirmed: Vec<i64> = confirmed.iter().map(|entry| entry.row).collect();
        outbox.sent(&batch, &confirmed, leave, Instant::now()).await.unwrap();
        let again = outbox.next(10, ALL).await.unwrap();
        assert_eq!(rows(&again), left.iter().map(|entry| entry.row).collect::<Vec<_>>(), "of {all:?}");
        outbox.sent(&again, &[], leave, Instant::now()).await.unwrap();
        outbox.take(&messages(5..6)).await.unwrap();
    }
    assert_eq!(numbers(&outbox.next(10, ALL).await.unwrap()), [0, 2, 5]);
}

#[tokio::test]
async fn a_batch_is_bounded_in_bytes_and_never_empty() {
    let home = tempfile::tempdir().unwrap();
    let mut outbox = outbox(&home, json!({})).await;
    outbox.take(&messages(0..10)).await.unwrap();
    let batch = outbox.next(10, 700).await.unwrap();
    assert_eq!(numbers(&batch), [0, 1]);
    outbox.sent(&batch, &rows(&batch), Leave::Now, Instant::now()).await.unwrap();
    assert_eq!(numbers(&outbox.next(10, 1).await.unwrap()), [2]);
}

#[tokio::test]
async fn taken_messages_are_held_and_go_again_to_a_platform_that_started_anew() {
    let home = tempfile::tempdir().unwrap();
    let mut outbox = outbox(&home, json!({})).await;
    outbox.take(&messages(0..3)).await.unwrap();
    let now = Instant::now();
    let batch = outbox.next(10, ALL).await.unwrap();
    outbox.sent(&batch, &rows(&batch), Leave::Held, now).await.unwrap();
    assert_eq!((outbox.backlog(), outbox.settles_at()), (0, Some(now + HOLD)));
    assert!(outbox.next(10, ALL).await.unwrap().is_empty());
    assert_eq!((outbox.unsettle(), outbox.backlog()), (3, 3));
    let again = outbox.next(10, ALL).await.unwrap();
    assert_eq!(numbers(&again), [0, 1, 2]);
    outbox.sent(&again, &rows(&again), Leave::Held, now).await.unwrap();
    outbox.settle(now + HOLD - Duration::from_millis(1)).await.unwrap();
    assert!(outbox.settles_at().is_some(), "not long enough");
    outbox.settle(now + HOLD).await.unwrap();
    assert_eq!((outbox.settles_at(), outbox.unsettle()), (None, 0));
    outbox.close().await;
}

#[tokio::test]
async fn what_was_taken_or_held_survives_an_end_without_a_close() {
    let home = tempfile::tempdir().unwrap();
    let mut first = outbox(&home, json!({})).await;
    first.take(&messages(0..4)).await.unwrap();
    let batch = first.next(2, ALL).await.unwrap();
    first.sent(&batch, &rows(&batch), Leave::Held, Instant::now()).await.unwrap();
    drop(first);
    let mut second = outbox(&home, json!({})).await;
    assert_eq!(second.backlog(), 4);
    assert_eq!(numbers(&second.next(10, ALL).await.unwrap()), [0, 1, 2, 3]);
}

#[tokio::test]
async fn refused_messages_are_set_aside_survive_and_come_back_behind_the_others() {
    let home = tempfile::tempdir().unwrap();
    let mut first = outbox(&home, json!({})).await;
    first.take(&messages(0..6)).await.unwrap();
    let now = Instant::now();
    let batch = first.next(4, ALL).await.unwrap();
    let all = rows(&batch);
    let (refused, confirmed) = all.split_at(2);
    first.refuse(refused, now + HOLD).await.unwrap();
    first.sent(&batch, confirmed, Leave::Now, now).await.unwrap();
    assert_eq!((first.backlog(), first.refused(), first.retries_refused_at()), (4, 2, Some(now + HOLD)));
    let batch = first.next(10, ALL).await.unwrap();
    assert_eq!(numbers(&batch), [4, 5], "they are in nobody's way");
    first.sent(&batch, &[], Leave::Now, now).await.unwrap();
    first.retry_refused(10, now).await.unwrap();
    assert_eq!(first.refused(), 2, "not yet");
    drop(first);

    let mut second = outbox(&home, json!({})).await;
    assert_eq!((second.backlog(), second.refused()), (4, 2));
    second.take(&messages(6..7)).await.unwrap();
    second.retry_refused(1, now).await.unwrap();
    second.retry_refused(1, now).await.unwrap();
    assert_eq!((second.refused(), second.backlog()), (1, 5), "a part, and then a pause");
    second.forget_refusals();
    second.retry_refused(10, now).await.unwrap();
    let batch = second.next(10, ALL).await.unwrap();
    assert_eq!(numbers(&batch), [4, 5, 6, 0, 1]);
    second.sent(&batch, &rows(&batch), Leave::Now, now).await.unwrap();
    assert_eq!((second.backlog(), second.retries_refused_at()), (0, None));
}

#[tokio::test]
async fn beyond_its_bound_the_oldest_are_dropped_and_counted_but_none_under_way_or_confirmed() {
    let home = tempfile::tempdir().unwrap();
    let mut outbox = outbox(&home, json!({"backup_storage_limit_gb": 0.0002, "backup_storage_report": 0.5})).await;
    outbox.take(&messages(0..10)).await.unwrap();
    let held = outbox.next(5, ALL).await.unwrap();
    outbox.sent(&held, &rows(&held), Leave::Held, Instant::now()).await.unwrap();
    let under_way = outbox.next(5, ALL).await.unwrap();
    assert_eq!(numbers(&under_way), [5, 6, 7, 8, 9]);
    assert!(!outbox.is_full());
    let mut taken = 10;
    while outbox.dropped() == 0 {
        outbox.take(&messages(taken..taken + 50)).await.unwrap();
        taken += 50;
        assert!(taken < 5000);
    }
    assert!(outbox.is_full());
    assert_eq!(outbox.dropped() + outbox.backlog() + 5, u64::from(taken), "five were confirmed");
    outbox.sent(&under_way, &rows(&under_way), Leave::Now, Instant::now()).await.unwrap();
    let next = outbox.next(1, ALL).await.unwrap();
    assert_eq!(numbers(&next), [10 + outbox.dropped()]);
}
