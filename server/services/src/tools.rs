//! The peer as which command line tools on this machine speak: `control.connection`. One for all of them, as in VOLTTRON; whom it acts
//! for travels with each call. Which person that is was settled where the tool connected, by the rights on the server's socket.

use std::time::Duration;

use vt_agent::AgentContext;
use vt_types::{Identity, Params, RpcError};

use crate::Caller;

/// Longest time that a tool may wait for one call.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Speaks on the bus for command line tools.
pub struct Tools {
    context: AgentContext,
}

impl Tools {
    /// Speaks through a connected context; it is closed by whoever owns the tasks of the services.
    pub(crate) fn new(context: AgentContext) -> Self {
        Self { context }
    }

    /// Calls a method of any peer for `caller`, as command line tools of VOLTTRON do.
    ///
    /// # Errors
    /// [`RpcError`], each cause its own variant.
    pub async fn call(
        &self,
        caller: &Caller,
        peer: &Identity,
        method: &str,
        params: Params,
        limit: Duration,
    ) -> Result<serde_json::Value, RpcError> {
        let handle = self.context.peer().on_behalf_of(&caller.user);
        vt_agent::context::call_within(&handle, limit.min(CALL_TIMEOUT_MAX), peer, method, params).await
    }
}
