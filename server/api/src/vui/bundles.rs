//! Roles (bundles of capabilities) and groups (bundles of roles) of peers (admin).
//!
//! - `GET P/groups`, `P/roles`: links by name. `POST {"group_name", "roles": [text]}`, `{"role_name", "capabilities"}`: 201, 409 if the
//!   name is taken.
//! - `GET|PUT|DELETE P/groups/{name}`, `P/roles/{name}`: the record; `PUT` replaces or makes it, 204.

use axum::http::Method;
use serde_json::{Map, Value, json};
use vt_services::{Capabilities, PeerAuthRecords, ServiceError};

use super::{Answer, Cx, created, done, links, ok};
use crate::error::ApiError;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Groups,
    Roles,
}

/// `P/groups`, `P/roles`.
pub async fn list(mut cx: Cx, kind: Kind) -> Answer {
    cx.only_admin()?;
    match cx.method {
        Method::GET => {
            let names = names(&cx.services().peer_auth.records(), kind);
            Ok(links(names.into_iter().map(|name| {
                let path = path(&cx, kind, &name);
                (name, path)
            })))
        }
        Method::POST => {
            let body = cx.object().await?;
            let name = body.get(kind.name_key()).and_then(Value::as_str).map(str::trim).filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| ApiError::invalid(format!("'{}' must be given as text.", kind.name_key())))?.to_owned();
            if record(&cx.services().peer_auth.records(), kind, &name).is_some() {
                return Err(ServiceError::AlreadyExists(format!("{name:?} already exists")).into());
            }
            set(&cx, kind, &name, &body).await?;
            Ok(created(&path(&cx, kind, &name), None))
        }
        _ => Err(cx.not_offered("GET, HEAD, POST")),
    }
}

/// `P/groups/{name}`, `P/roles/{name}`.
pub async fn one(mut cx: Cx, kind: Kind, name: &str) -> Answer {
    cx.only_admin()?;
    match cx.method {
        Method::GET => {
            let found = record(&cx.services().peer_auth.records(), kind, name);
            found.map(|record| ok(&record)).ok_or_else(|| ApiError::not_found(format!("There is no {name:?} here.")))
        }
        Method::PUT => {
            let body = cx.object().await?;
            set(&cx, kind, name, &body).await?;
            Ok(done())
        }
        Method::DELETE => {
            let peers = &cx.services().peer_auth;
            let removed = match kind {
                Kind::Groups => peers.set_group(&cx.caller, name, None).await,
                Kind::Roles => peers.set_role(&cx.caller, name, None).await,
            };
            removed.map(|()| done()).map_err(ApiError::of_new_route)
        }
        _ => Err(cx.not_offered("GET, HEAD, PUT, DELETE")),
    }
}

async fn set(cx: &Cx, kind: Kind, name: &str, body: &Map<String, Value>) -> Result<(), ApiError> {
    let value = body.get(kind.value_key()).ok_or_else(|| ApiError::invalid(format!("'{}' must be given.", kind.value_key())))?;
    let peers = &cx.services().peer_auth;
    let set = match kind {
        Kind::Groups => {
            let roles: Option<Vec<String>> =
                value.as_array().and_then(|list| list.iter().map(|role| role.as_str().map(str::to_owned)).collect());
            let roles = roles.ok_or_else(|| ApiError::invalid("'roles' must be an array of texts."))?;
            peers.set_group(&cx.caller, name, Some(roles)).await
        }
        Kind::Roles => {
            let capabilities = Capabilities::parse(value).map_err(|error| ApiError::invalid(error.to_string()))?;
            peers.set_role(&cx.caller, name, Some(capabilities)).await
        }
    };
    set.map_err(ApiError::of_new_route)
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Roles => "roles",
        }
    }

    fn name_key(self) -> &'static str {
        match self {
            Self::Groups => "group_name",
            Self::Roles => "role_name",
        }
    }

    fn value_key(self) -> &'static str {
        match self {
            Self::Groups => "roles",
            Self::Roles => "capabilities",
        }
    }
}

fn names(records: &PeerAuthRecords, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Groups => records.groups.iter().map(|(name, _)| name.to_owned()).collect(),
        Kind::Roles => records.roles.iter().map(|(name, _)| name.to_owned()).collect(),
    }
}

fn record(records: &PeerAuthRecords, kind: Kind, name: &str) -> Option<Value> {
    let value = match kind {
        Kind::Groups => json!(records.groups.get(name)?),
        Kind::Roles => records.roles.get(name)?.to_json(),
    };
    Some(json!({kind.name_key(): name, kind.value_key(): value}))
}

fn path(cx: &Cx, kind: Kind, name: &str) -> String {
    cx.path(&format!("{}/{name}", kind.path()))
}
