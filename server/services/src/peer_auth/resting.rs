//! `platform.auth` of a platform whose server is down, for tools that hold the lock of its home. The same methods on the same files, by the
//! same code; who waits for a decision is known to a running server alone.
//!
//! Nothing is written into the audit log: it is in a database that may be another machine's, and whoever may write the files may do so anyway.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use vt_agent::MethodTable;
use vt_backends::{AuditFilter, AuditRecord, AuditRepository, KeyRepository, PeerAuthRepository, RepositoryError};
use vt_types::identity::known;
use vt_types::{Clock, Identity, Params, RpcError};

use super::book::Book;
use super::{Admission, InstalledAgents, PeerAuth, PeerAuthConfig, PeerAuthDeps, rpc};
use crate::{Audit, Caller, ServiceError};

/// The service without its platform.
pub struct RestingAuth {
    peers: Arc<PeerAuth>,
    methods: MethodTable,
}

impl RestingAuth {
    /// Reads the records; nothing is made that is missing.
    ///
    /// # Errors
    /// `Conflict` if `auth.json` cannot be understood, `Unavailable`.
    pub async fn open(
        records: Arc<dyn PeerAuthRepository>,
        keys: Arc<dyn KeyRepository>,
        clock: Arc<dyn Clock>,
        caller: Caller,
    ) -> Result<Self, ServiceError> {
        let book = Book::open(Arc::clone(&records)).await?;
        book.check().await?;
        let config = PeerAuthConfig { admission: Admission::Listed, own_uid: 0, hosts: Vec::new() };
        let audit = Arc::new(Audit::new(Arc::new(NoLog), Arc::clone(&clock)));
        let deps = PeerAuthDeps { config, records, keys, installed: Arc::new(Nobody), audit, clock };
        let peers = Arc::new(PeerAuth::of(deps, book, std::collections::HashMap::new()));
        let methods = rpc::export_resting(&peers, caller);
        Ok(Self { peers, methods })
    }

    /// What is wrong with entries of `auth.json`, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.peers.problem()
    }

    /// Calls a method of `platform.auth`.
    ///
    /// # Errors
    /// As over the bus.
    pub async fn call(&self, method: &str, params: Params) -> Result<Value, RpcError> {
        self.methods.call(&Identity::known(known::CONTROL_LOCAL), method, params).await
    }
}

struct Nobody;

impl InstalledAgents for Nobody {
    fn identities(&self) -> Vec<Identity> {
        Vec::new()
    }

    fn has(&self, _: &str) -> bool {
        false
    }
}

struct NoLog;

#[async_trait]
impl AuditRepository for NoLog {
    async fn append(&self, _: AuditRecord) -> Result<(), RepositoryError> {
        Ok(())
    }

    async fn list(&self, _: AuditFilter) -> Result<Vec<AuditRecord>, RepositoryError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vt_backends::KeyOwner;
    use vt_backends::memory::peers::{MemoryKeys, MemoryPeerAuth};
    use vt_types::{CurveKeyPair, PublicKey, SecretKey, SystemClock};

    use super::*;

    async fn call(auth: &RestingAuth, method: &str, args: &[Value]) -> Result<Value, String> {
        auth.call(method, Params::positional(args.to_vec())).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn files_are_read_and_changed_as_by_the_running_service_and_nothing_is_made() {
        let (records, keys) = (MemoryPeerAuth::default(), MemoryKeys::default());
        let open = async || {
            let (records, keys) = (Arc::new(records.clone()), Arc::new(keys.clone()));
            RestingAuth::open(records, keys, Arc::new(SystemClock), Caller::local("dana")).await.unwrap()
        };
        let auth = open().await;
        assert_eq!(call(&auth, "auth_file.read", &[]).await.unwrap()["allow_list"], json!([]), "the platform's own entries are not made");
        let none = call(&auth, "get_public_credentials", &[json!(["platform"])]).await.unwrap();
        assert_eq!(none["errors"]["platform"], "Identity not found: platform");
        let key = PublicKey::new([7; 32]);
        call(&auth, "auth_file.add", &[json!({"credentials": key.to_string(), "user_id": "u"})]).await.unwrap();
        call(&auth, "auth_file.add_role", &[json!("r"), json!(["a", {"b": {"x": "1"}}])]).await.unwrap();
        call(&auth, "auth_file.update_role", &[json!("r"), json!(["b", "c"])]).await.unwrap();
        call(&auth, "auth_file.update_role", &[json!("r"), json!(["a"]), json!(true)]).await.unwrap();
        call(&auth, "auth_file.add_group", &[json!("g"), json!(["r", "r"])]).await.unwrap();
        let twice = call(&auth, "auth_file.add_group", &[json!("g"), json!([])]).await.unwrap_err();
        assert_eq!(twice, "group \"g\" already exists");
        call(&auth, "auth_file.update_group", &[json!("g"), json!(["s", "r"])]).await.unwrap();
        let missing = call(&auth, "auth_file.update_group", &[json!("h"), json!(["s"])]).await.unwrap_err();
        assert_eq!(missing, "group \"h\" does not exist");
        call(&auth, "known_hosts.add", &[json!("tcp://example.org:22916/x"), json!(key.to_string())]).await.unwrap();
        keys.save(&KeyOwner::Platform, &CurveKeyPair { public: key, secret: SecretKey::new([8; 32]) }).await.unwrap();
        let again = open().await;
        let read = call(&again, "auth_file.read", &[]).await.unwrap();
        assert_eq!(
            (&read["allow_list"][0]["user_id"], &read["roles"], &read["groups"]),
            (&json!("u"), &json!({"r": ["b", "c"]}), &json!({"g": ["r", "s"]}))
        );
        assert_eq!(call(&again, "known_hosts.read", &[]).await.unwrap(), json!({"example.org:22916": key.to_string()}));
        assert_eq!(call(&again, "get_public_credentials", &[json!(["platform"])]).await.unwrap()["results"]["platform"], key.to_string());
        call(&again, "deny_authorization", &[json!("u")]).await.unwrap();
        call(&again, "known_hosts.remove", &[json!("example.org:22916")]).await.unwrap();
        assert!(call(&again, "known_hosts.remove", &[json!("example.org:22916")]).await.unwrap_err().contains("no key of"));
        assert_eq!(call(&again, "auth_file.read", &[]).await.unwrap()["deny_list"][0]["user_id"], "u");
        records.set_failing(true);
        assert!(call(&again, "auth_file.remove_role", &[json!("r")]).await.is_err(), "what is not stored is no success");
    }
}
