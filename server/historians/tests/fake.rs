//! The in-memory fake keeps the contract.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;

use std::sync::Arc;

use vt_historians::{HistoryStore, fake::FakeHistory};

async fn make() -> ((), contract::Store) {
    let store = FakeHistory::new();
    store.set_up().await.unwrap();
    ((), Arc::new(store))
}

contract::suite!(make);

#[tokio::test]
async fn insert_before_set_up_says_not_ready() {
    contract::insert_and_query_before_set_up_say_not_ready(Arc::new(FakeHistory::new())).await;
}
