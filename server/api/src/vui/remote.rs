//! Other platforms, joined over links (web.md §2.3). What they told when they last answered is given at once, with its age in seconds in the
//! header `Age`, whether or not they are there now; 503 while one has told nothing yet. What is done there is asked of them, by
//! administrators, and bounded in time.
//!
//! - `GET P`, `P/agents?agent-state=...`, `A`, `A/status`, `A/running`, `A/enabled`, `A/tag`, `A/health`, `P/status`, `P/health`: as of this
//!   platform.
//! - `PUT`, `DELETE A/running`; `GET A/rpc`, `A/rpc/{method}`, `POST A/rpc/{method}` (admin): at the other platform.
//! - `GET P/link`: `{"connected", "since", "heard", "problem", "address", "serverkey", "connects", "sent", "received", "lost", "wanted",
//!   "told", "silence"}`; ours.
//!
//! Everything else is 501: configurations, devices and histories of another platform are reached with `A/rpc` of its agents.

use axum::http::{HeaderValue, Method, header};
use serde_json::{Map, Value, json};
use vt_services::instances::{RemoteAgent, RemotePeer, Running, Told};
use vt_services::{InstanceView, ServiceError};
use vt_types::{Params, RpcError, timestamp};

use super::route::{AgentResource, Resource};
use super::{Answer, Cx, agent_not_found, done, links, ok, ok_long, rpc};
use crate::error::ApiError;
use crate::query;

/// A resource of another platform.
pub async fn serve(cx: Cx, platform: &str, resource: Resource) -> Answer {
    let Some(instance) = cx.services().instances.by_name(platform) else {
        return Err(ApiError::invalid(format!("Unknown platform: {platform}")));
    };
    let remote = Remote { cx, instance };
    match resource {
        Resource::Platform => {
            remote.cx.only_get()?;
            Ok(links(["agents", "health", "link", "status"].map(|name| (name.to_owned(), remote.path(name)))))
        }
        Resource::Link => remote.link(),
        Resource::Agents => remote.agents(),
        Resource::Status => remote.statuses(),
        Resource::Health => remote.health(),
        Resource::Agent(agent, resource) => remote.agent(&agent, resource).await,
        _ => Err(remote.cx.not_offered("nothing for other platforms")),
    }
}

struct Remote {
    cx: Cx,
    instance: InstanceView,
}

impl Remote {
    fn path(&self, rest: &str) -> String {
        format!("/vui/platforms/{}/{}", query::encode(&self.instance.link.platform.name), query::encode(rest))
    }

    fn link(&self) -> Answer {
        self.cx.only_get()?;
        let InstanceView { link, told, silence } = &self.instance;
        Ok(ok(&json!({
            "connected": link.is_connected,
            "since": link.since.map(timestamp::format),
            "heard": link.heard_at.map(timestamp::format),
            "problem": link.problem,
            "address": link.platform.address,
            "serverkey": link.platform.server_key.to_string(),
            "connects": link.connects,
            "sent": link.sent,
            "received": link.received,
            "lost": link.lost,
            "wanted": link.wanted,
            "told": told.as_ref().map(|told| timestamp::format(told.at)),
            "silence": silence,
        })))
    }

    fn told(&self) -> Result<&Told, ApiError> {
        let name = &self.instance.link.platform.name;
        let silence = || self.instance.silence.as_deref().or(self.instance.link.problem.as_deref()).unwrap_or("it was not asked yet");
        let told = self.instance.told.as_deref();
        told.ok_or_else(|| ServiceError::Unavailable(format!("The platform {name} has told nothing yet: {}", silence())).into())
    }

    fn known_agents(&self) -> Result<&[RemoteAgent], ApiError> {
        let name = &self.instance.link.platform.name;
        let agents = self.told()?.agents.as_deref();
        agents.ok_or_else(|| ServiceError::Unavailable(format!("The platform {name} has told nothing of its agents yet.")).into())
    }

    fn known_agent(&self, identity: &str) -> Result<&RemoteAgent, ApiError> {
        self.known_agents()?.iter().find(|agent| agent.identity == identity).ok_or_else(|| agent_not_found(identity))
    }

    /// An answer with its age.
    fn aged(&self, mut answer: axum::response::Response) -> Answer {
        let age_s = (self.cx.services().clock.now() - self.told()?.at).num_seconds().max(0);
        answer.headers_mut().insert(header::AGE, HeaderValue::from(age_s));
        Ok(answer)
    }

    fn agents(&self) -> Answer {
        self.cx.only_get()?;
        let only_running = match self.cx.query.get("agent-state").unwrap_or("running") {
            "running" => true,
            "installed" => false,
            other => return Err(ApiError::invalid(format!("Unknown agent-state: {other}. It must be running or installed."))),
        };
        let mut names: Vec<&str> =
            self.known_agents()?.iter().filter(|agent| !only_running || agent.is_running()).map(|agent| agent.identity.as_str()).collect();
        if self.cx.query.flag("include-hidden", false) {
            names.extend(self.told()?.peers.iter().flatten().map(|(identity, _)| identity.as_str()));
        }
        names.sort_unstable();
        names.dedup();
        self.aged(links(names.into_iter().map(|name| (name.to_owned(), self.path(&format!("agents/{name}"))))))
    }

    fn statuses(&self) -> Answer {
        self.cx.only_get()?;
        let all: Map<String, Value> = self.known_agents()?.iter().map(|agent| (agent.identity.clone(), status(agent))).collect();
        self.aged(ok_long(&Value::Object(all)))
    }

    fn health(&self) -> Answer {
        self.cx.only_get()?;
        let peers = self.told()?.peers.iter().flatten();
        let all: Map<String, Value> = peers.map(|(identity, peer)| (identity.clone(), entry(peer))).collect();
        self.aged(ok_long(&Value::Object(all)))
    }

    async fn agent(mut self, identity: &str, resource: AgentResource) -> Answer {
        match resource {
            AgentResource::Agent => {
                self.cx.only_get()?;
                self.told()?;
                let names = ["enabled", "health", "rpc", "running", "status", "tag"];
                self.aged(links(names.map(|name| (name.to_owned(), self.path(&format!("agents/{identity}/{name}"))))))
            }
            AgentResource::Running if self.cx.method != Method::GET => self.run(identity).await,
            AgentResource::Running => {
                let is_running = self.known_agent(identity)?.is_running();
                self.aged(ok(&json!({"running": is_running, "status": is_running})))
            }
            AgentResource::Rpc => {
                self.cx.only_get()?;
                let answer = self.call(identity, "inspect", Params::none()).await?;
                let methods = answer.get("methods").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let path = |method: &str| (method.to_owned(), self.path(&format!("agents/{identity}/rpc/{method}")));
                Ok(links(methods.iter().filter_map(Value::as_str).map(path)))
            }
            AgentResource::Method(method) => match self.cx.method {
                Method::GET => Ok(ok(&self.call(identity, &format!("{method}.inspect"), Params::none()).await?)),
                Method::POST => {
                    let params = rpc::params(&mut self.cx).await?;
                    Ok(ok(&self.call(identity, &method, params).await?))
                }
                _ => Err(self.cx.not_offered("GET, HEAD, POST")),
            },
            AgentResource::Status | AgentResource::Enabled | AgentResource::Tag | AgentResource::Health => {
                self.cx.only_get()?;
                let body = match resource {
                    AgentResource::Status => status(self.known_agent(identity)?),
                    AgentResource::Tag => json!({"tag": self.known_agent(identity)?.tag}),
                    AgentResource::Health => {
                        let peers = self.told()?.peers.as_ref();
                        entry(peers.and_then(|peers| peers.get(identity)).ok_or_else(|| agent_not_found(identity))?)
                    }
                    _ => {
                        let priority = self.known_agent(identity)?.priority.as_deref().and_then(|text| text.parse::<u8>().ok());
                        json!({"status": priority.is_some(), "priority": priority})
                    }
                };
                self.aged(ok(&body))
            }
            AgentResource::Configs | AgentResource::Config(_) | AgentResource::Logs => {
                Err(self.cx.not_offered("nothing for other platforms"))
            }
        }
    }

    async fn run(&self, identity: &str) -> Answer {
        let running = match self.cx.method {
            Method::PUT if self.cx.query.flag("restart", false) => Running::Restart,
            Method::PUT if self.known_agent(identity)?.is_running() => {
                return Err(ApiError::invalid(format!("Agent: {identity} is already running.")));
            }
            Method::PUT => Running::Start,
            Method::DELETE => Running::Stop,
            _ => return Err(self.cx.not_offered("GET, HEAD, PUT, DELETE")),
        };
        let platform = &self.instance.link.platform.name;
        self.cx.services().instances.run_agent(&self.cx.caller, platform, identity, running).await?;
        Ok(done())
    }

    async fn call(&self, identity: &str, method: &str, params: Params) -> Result<Value, ApiError> {
        let platform = &self.instance.link.platform.name;
        let called = self.cx.services().instances.call(&self.cx.caller, platform, identity, method, params).await;
        called.map_err(|error| match error {
            ServiceError::Rpc(RpcError::UnknownPeer(peer)) if peer.as_str() == identity => agent_not_found(identity),
            ServiceError::Rpc(error @ RpcError::MethodNotFound(_)) => ApiError::invalid(format!("for agent {identity}: {error}")),
            other => other.into(),
        })
    }
}

fn status(agent: &RemoteAgent) -> Value {
    json!({
        "name": agent.name,
        "uuid": agent.uuid,
        "tag": agent.tag,
        "priority": agent.priority,
        "running": agent.is_running(),
        "enabled": agent.priority.is_some(),
        "pid": agent.pid,
        "exit_code": agent.exit_code,
    })
}

/// The entry as the other platform gave it, with a word that is always there.
fn entry(peer: &RemotePeer) -> Value {
    let mut entry = peer.entry.clone();
    if let Value::Object(entry) = &mut entry {
        entry.insert("status".to_owned(), peer.status.as_str().into());
    }
    entry
}
