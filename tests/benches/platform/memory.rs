//! Memory of a server that nobody uses, without devices and with the demonstration building.

use std::time::Duration;

use vt_testkit::TestServer;

use crate::process::resident_mb;
use crate::row;

const SETTLE: Duration = Duration::from_secs(10);

pub async fn measure() {
    for (name, builder, target) in
        [("idle memory", TestServer::builder(), 60.0), ("memory with the demonstration building", TestServer::builder().demo(), 0.0)]
    {
        let server = builder.start().await;
        tokio::time::sleep(SETTLE).await;
        row(name, resident_mb(server.pid()), "MB", target, "program text, thread stacks, SQLite's page caches");
    }
}
