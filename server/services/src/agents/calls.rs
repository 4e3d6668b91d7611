//! RPC towards any peer, for people. What they may call is decided by the bus's interceptor, for every way in alike.

use std::time::Duration;

use serde_json::Value;
use vt_bus::PeerHandle;
use vt_types::{Identity, Params, RpcError, RpcRequest};

use super::Agents;
use crate::{Caller, ServiceError};

/// How long a peer may take to tell its methods.
const INSPECT_LIMIT: Duration = Duration::from_secs(10);

impl Agents {
    /// Methods that a peer offers.
    ///
    /// # Errors
    /// `Rpc` with the cause.
    pub async fn rpc_methods(&self, identity: &Identity) -> Result<Vec<String>, ServiceError> {
        let answer = call(&self.inner.deps.web, INSPECT_LIMIT, identity, "inspect", Params::none()).await?;
        let methods = answer.get("methods").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(methods.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Signature of a method.
    ///
    /// # Errors
    /// `Rpc` with the cause; `MethodNotFound` names the method, not its inspection.
    pub async fn rpc_inspect(&self, identity: &Identity, method: &str) -> Result<Value, ServiceError> {
        let answer = call(&self.inner.deps.web, INSPECT_LIMIT, identity, &format!("{method}.inspect"), Params::none()).await;
        answer.map_err(|error| match error {
            RpcError::MethodNotFound(_) => RpcError::MethodNotFound(method.to_owned()).into(),
            other => other.into(),
        })
    }

    /// Calls a method of a peer for a person and waits up to `limit`.
    ///
    /// # Errors
    /// `Forbidden`, `Rpc` with the cause (`Refused` by policy).
    pub async fn rpc_call(
        &self,
        caller: &Caller,
        identity: &Identity,
        method: &str,
        params: Params,
        limit: Duration,
    ) -> Result<Value, ServiceError> {
        let called = async {
            caller.require_vui()?;
            Ok(call(&self.inner.deps.web.on_behalf_of(&caller.user), limit, identity, method, params).await?)
        };
        let result: Result<Value, ServiceError> = called.await;
        // Arguments and results may hold secrets and are not written down.
        let target = format!("{identity}.{}", method.chars().take(200).collect::<String>());
        self.inner.deps.audit.record(caller, "agent.rpc", &target, result.as_ref().map(|_| "")).await;
        result
    }
}

async fn call(peer: &PeerHandle, limit: Duration, callee: &Identity, method: &str, params: Params) -> Result<Value, RpcError> {
    let pending = peer.call(callee, RpcRequest::new(method, params))?;
    match tokio::time::timeout(limit, pending).await {
        Ok(result) => result,
        Err(_) => Err(RpcError::Timeout {
            peer: callee.clone(),
            method: method.to_owned(),
            timeout_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}
