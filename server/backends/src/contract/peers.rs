//! Suites of what is kept about peers over ZeroMQ.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a breach of the contract is a failed test")]

use serde_json::json;
use vt_types::{CurveKeyPair, Identity, PublicKey, SecretKey};

use crate::repositories::peer_auth::authz::Authz;
use crate::repositories::peer_auth::capabilities::Capabilities;
use crate::repositories::peer_auth::entry::{AuthEntry, Field, Mechanism};
use crate::repositories::peer_auth::{PeerAuthRecords, PeerAuthRepository};
use crate::{KeyOwner, KeyRepository, KnownHost};

fn key(n: u8) -> PublicKey {
    PublicKey::new([n; 32])
}

/// Records with every kind of content.
#[must_use]
pub fn records() -> PeerAuthRecords {
    let mut full = AuthEntry::for_key(key(1), "a1");
    full.identity = Some(Identity::parse("a1").unwrap());
    full.address = Field::AnyOf(vec!["127.0.0.1".to_owned(), "/192\\.168\\..*/".to_owned()]);
    full.capabilities = Capabilities::new().with_only("edit_config_store", "identity", "a1").with("x");
    full.rpc_method_authorizations = [("set_point".to_owned(), vec!["x".to_owned()]), ("open".to_owned(), vec![String::new()])].into();
    (full.groups, full.roles, full.comments) = (vec!["g".to_owned()], vec!["r".to_owned()], Some("// \"why\" # /* é */".to_owned()));
    full.extra.insert("site".to_owned(), json!({"floor": [1, null]}));
    let mut everybody = AuthEntry::for_key(key(2), "everybody");
    (everybody.credentials, everybody.enabled) = (Field::One("/.*/".to_owned()), false);
    let mut local = AuthEntry::for_key(key(3), "local");
    (local.mechanism, local.credentials) = (Mechanism::Null, Field::Any);
    PeerAuthRecords {
        allow: vec![full, everybody, local],
        deny: vec![AuthEntry::for_key(key(4), "denied")],
        groups: [("z".to_owned(), vec!["r".to_owned()]), ("a".to_owned(), Vec::new())].into_iter().collect(),
        roles: [("r".to_owned(), Capabilities::new().with("x").with_only("y", "a", "/b/"))].into_iter().collect(),
        authz: Authz::parse(&json!({
            "roles": {"z": {"rpc_capabilities": ["a1.m", {"a1.n": {"x": "1"}}]}, "a": {"pubsub_capabilities": {"/t.*/": "pubsub"}}},
            "agent_groups": {"g": {"identities": ["a1"], "agent_roles": ["z"]}},
            "agents": {"a1": {"protected_rpcs": ["m"], "comments": "why"}},
            "protected_topics": ["devices"],
        }))
        .unwrap(),
        unusable: Vec::new(),
        extra: [("note".to_owned(), json!("kept"))].into_iter().collect(),
    }
}

/// The records: replaced as a whole, in every detail and order; the stamp moves with them.
pub async fn peer_auth<R: PeerAuthRepository>(open: impl AsyncFn() -> R) {
    let repository = open().await;
    assert_eq!(repository.load().await.unwrap().records, PeerAuthRecords::default());
    assert_eq!(repository.stamp().await.unwrap(), None);
    let mut records = records();
    repository.save(&records).await.unwrap();
    let stamp = repository.stamp().await.unwrap();
    assert!(stamp.is_some());
    let loaded = open().await.load().await.unwrap();
    assert_eq!(loaded.records, records);
    assert_eq!((loaded.migrated_from, loaded.needs_saving, loaded.warnings), (None, false, Vec::new()));

    records.allow.remove(0);
    open().await.save(&records).await.unwrap();
    assert_ne!(repository.stamp().await.unwrap(), stamp, "a change through another handle moves the stamp");
    assert_eq!(repository.load().await.unwrap().records, records);
    repository.save(&PeerAuthRecords::default()).await.unwrap();
    assert_eq!(open().await.load().await.unwrap().records, PeerAuthRecords::default());
}

fn pair(n: u8) -> CurveKeyPair {
    CurveKeyPair { public: key(n), secret: SecretKey::new([n + 100; 32]) }
}

/// Keys: one pair per owner, server keys by host.
pub async fn keys<R: KeyRepository>(open: impl AsyncFn() -> R) {
    let repository = open().await;
    let agent = Identity::parse("listener-3.3_1").unwrap();
    let owner = KeyOwner::Peer(agent.clone());
    assert_eq!(repository.load(&KeyOwner::Platform).await.unwrap(), None);
    assert_eq!(repository.load(&owner).await.unwrap(), None);
    repository.save(&KeyOwner::Platform, &pair(1)).await.unwrap();
    repository.save(&owner, &pair(2)).await.unwrap();
    assert_eq!(open().await.load(&KeyOwner::Platform).await.unwrap(), Some(pair(1)));
    repository.save(&owner, &pair(3)).await.unwrap();
    assert_eq!(open().await.load(&owner).await.unwrap(), Some(pair(3)), "the newer pair replaces the older");
    // The platform is nobody that a peer could be.
    let imitator = Identity::parse("platform").unwrap();
    assert!(!repository.remove(&imitator).await.unwrap());
    assert_eq!(repository.load(&KeyOwner::Platform).await.unwrap(), Some(pair(1)));
    assert!(repository.remove(&agent).await.unwrap());
    assert!(!open().await.remove(&agent).await.unwrap());
    assert_eq!(repository.load(&owner).await.unwrap(), None);

    let host = |host: &str, n| KnownHost { host: host.to_owned(), key: key(n) };
    assert!(repository.known_hosts().await.unwrap().records.is_empty());
    repository.add_known_hosts(&[host("@", 1), host("192.0.2.1:22916", 1), host("[2001:db8::1]:22916", 2)]).await.unwrap();
    open().await.add_known_hosts(&[host("192.0.2.1:22916", 3), host("other:1", 4)]).await.unwrap();
    let known = repository.known_hosts().await.unwrap();
    assert_eq!(known.records, [host("@", 1), host("192.0.2.1:22916", 3), host("[2001:db8::1]:22916", 2), host("other:1", 4)]);
    assert!(known.warnings.is_empty());
    assert!(repository.remove_known_host("@").await.unwrap());
    assert!(!open().await.remove_known_host("@").await.unwrap());
    assert_eq!(open().await.known_hosts().await.unwrap().records.len(), 3);
}
