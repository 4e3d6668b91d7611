//! Who writes while the server is killed, and what: each writer numbers its records from 1, or from where it left off, and notes which were
//! acknowledged.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use vt_testkit::Client;

use super::PASSWORD;

/// Records in one insert into the history.
pub const BATCH: u32 = 20;
/// A historian that keeps everything in its cache.
pub const CACHED: &str = "cached.historian";
/// The user whose groups are changed.
pub const CHANGED_USER: &str = "changed";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One entry of the config store, replaced again and again.
    Replaced,
    /// A new entry of the config store each time.
    Created,
    /// An entry of the config store that is made and deleted.
    Deleted,
    /// Batches inserted into a historian that stores them.
    History,
    /// Batches inserted into a historian that caches them.
    Cached,
    /// The tag of an agent.
    Tag,
    /// The start priority of an agent.
    Priority,
    /// A new agent each time.
    Installed,
    /// An agent that is installed and removed.
    Removed,
    /// A new user each time.
    User,
    /// The groups of a user.
    Groups,
}

impl Kind {
    /// All, and how many writers write each at the same time.
    pub const ALL: [(Self, u32); 11] = [
        (Self::Replaced, 2),
        (Self::Created, 2),
        (Self::Deleted, 1),
        (Self::History, 2),
        (Self::Cached, 2),
        (Self::Tag, 1),
        (Self::Priority, 1),
        (Self::Installed, 1),
        (Self::Removed, 1),
        (Self::User, 1),
        (Self::Groups, 1),
    ];

    /// Whether each record takes the place of the one before, so that numbers go on from round to round.
    fn replaces(self) -> bool {
        matches!(self, Self::Replaced | Self::Tag | Self::Priority | Self::Groups)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Writer {
    pub kind: Kind,
    pub round: u32,
    pub number: u32,
}

impl Writer {
    /// What the names of this writer's config entries, agents or users begin with; the number of the record follows.
    pub fn prefix(self) -> String {
        let Self { kind, round, number } = self;
        match kind {
            Kind::Created => format!("r{round}/w{number}/"),
            Kind::Deleted => format!("deleted/r{round}/w{number}/"),
            Kind::Installed => format!("durable.r{round}.w{number}.n"),
            Kind::Removed => format!("removed.r{round}.w{number}.n"),
            Kind::User => format!("user-r{round}-w{number}-n"),
            _ => unreachable!("{kind:?} has one name for all its records"),
        }
    }

    /// The topic of this writer's history.
    pub fn topic(self) -> String {
        format!("durable/r{}/w{}", self.round, self.number)
    }
}

/// What one writer did in one round: numbers rise by one; the last sent one may be unacknowledged.
#[derive(Debug)]
pub struct Written {
    pub writer: Writer,
    pub first: u32,
    pub sent: u32,
    pub acknowledged: u32,
}

/// What the writers need to be there.
pub async fn prepare(client: &Client, platform: &str) {
    let historian = json!({
        "kind": "platform_historian", "identity": CACHED, "priority": "90", "start": true,
        "config": {"cache_only_enabled": true, "submit_size_limit": 20_000, "capture_device_data": false, "capture_analysis_data": false,
                   "capture_log_data": false, "capture_record_data": false},
    });
    client.post(&format!("/vui/platforms/{platform}/agents"), &historian).await.expect(201);
    let user = json!({"name": CHANGED_USER, "password": PASSWORD, "groups": ["g0"]});
    client.post(&format!("/vui/platforms/{platform}/auths/users"), &user).await.expect(201);
}

/// Writes until the server is gone.
pub async fn write(client: Client, platform: String, writer: Writer, last: u32) -> Written {
    let first = if writer.kind.replaces() { last + 1 } else { 1 };
    let mut written = Written { writer, first, sent: first - 1, acknowledged: first - 1 };
    loop {
        let number = written.sent + 1;
        written.sent = number;
        for request in requests(&client, &platform, writer, number) {
            match client.try_send(request).await {
                Ok(answer) if answer.status < 300 => {}
                Ok(answer) => panic!("{writer:?} {number}: {answer:?}"),
                Err(_) => return written,
            }
        }
        written.acknowledged = number;
    }
}

/// What is sent for one record, one after the other.
fn requests(client: &Client, platform: &str, writer: Writer, number: u32) -> Vec<RequestBuilder> {
    let Writer { kind, number: who, .. } = writer;
    let agents = format!("/vui/platforms/{platform}/agents");
    let users = format!("/vui/platforms/{platform}/auths/users");
    let create = |name: &str| {
        client.request(Method::POST, &format!("{agents}/durable.agent/configs?config-name={name}")).json(&json!({"n": number}))
    };
    let install = |identity: &str| {
        let body = json!({"kind": "listener", "identity": identity, "tag": identity, "config": {"message": number.to_string()}});
        client.request(Method::POST, &agents).json(&body)
    };
    match kind {
        Kind::Replaced => {
            vec![client.request(Method::PUT, &format!("{agents}/durable.agent/configs/counter-{who}")).json(&json!({"n": number}))]
        }
        Kind::Created => vec![create(&format!("{}{number}", writer.prefix()))],
        Kind::Deleted => {
            let name = format!("{}{number}", writer.prefix());
            let path = format!("{agents}/durable.agent/configs/{}", vt_testkit::client::encode(&name));
            vec![create(&name), client.request(Method::DELETE, &path)]
        }
        Kind::Tag => {
            vec![client.request(Method::PUT, &format!("{agents}/platform.actuator/tag")).json(&json!({"tag": format!("t{number}")}))]
        }
        Kind::Priority => vec![client.request(Method::PUT, &format!("{agents}/platform.actuator/enabled?priority={}", number % 100))],
        Kind::Installed => vec![install(&format!("{}{number}", writer.prefix()))],
        Kind::Removed => {
            let identity = format!("{}{number}", writer.prefix());
            vec![install(&identity), client.request(Method::DELETE, &format!("{agents}/{identity}"))]
        }
        Kind::User => {
            let body = json!({"name": format!("{}{number}", writer.prefix()), "password": PASSWORD, "groups": [format!("g{number}")]});
            vec![client.request(Method::POST, &users).json(&body)]
        }
        Kind::Groups => {
            vec![client.request(Method::PUT, &format!("{users}/{CHANGED_USER}")).json(&json!({"groups": [format!("g{number}")]}))]
        }
        Kind::History => vec![insert(client, &agents, "platform.historian", writer, number)],
        Kind::Cached => vec![insert(client, &agents, CACHED, writer, number)],
    }
}

fn insert(client: &Client, agents: &str, historian: &str, writer: Writer, number: u32) -> RequestBuilder {
    let topic = format!("record/{}", writer.topic());
    let record = |value| {
        let headers = json!({"Date": moment(value), "TimeStamp": moment(value)});
        json!({"topic": topic, "headers": headers, "message": value})
    };
    let records: Vec<Value> = (0..BATCH).map(|index| record(number * BATCH + index)).collect();
    client.request(Method::POST, &format!("{agents}/{historian}/rpc/insert")).json(&json!([records]))
}

/// A time of its own for every value of a topic.
pub fn moment(value: u32) -> String {
    let (seconds, milliseconds) = (value / 1_000, value % 1_000);
    format!("2026-01-01T{:02}:{:02}:{:02}.{milliseconds:03}000+00:00", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
