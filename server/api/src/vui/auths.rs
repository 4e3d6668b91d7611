//! Peers from outside: who may connect and what they may do (admin).
//!
//! - `GET P/auths?records=`: links by user id, or with `records=true` the allow entries. `POST` an entry: 201, 409 if it is there.
//! - `GET|PUT|DELETE P/auths/{user_id}`: one allow entry `{"domain", "address", "user_id", "identity", "mechanism", "credentials",
//!   "capabilities", "roles", "groups", "rpc_method_authorizations", "comments", "enabled"}`; `PUT` replaces it.
//! - `GET P/auths/pending`, `.../approved`, `.../denied`: who waits, is let in, is kept out. `PUT P/auths/approved/{user_id}` lets a peer
//!   in, `PUT P/auths/denied/{user_id}` keeps it out, `DELETE` of any of them forgets it: 204 each.
//! - `GET P/auths/{identity or -}/publickeys`: public keys by identity; `-` is all, `platform` the server's.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use vt_services::{AuthEntry, AuthList, PendingAttempt};
use vt_types::timestamp;

use super::route::Peers;
use super::{Answer, Cx, created, done, links, ok, ok_long};
use crate::error::ApiError;

/// `P/auths`.
pub async fn list(mut cx: Cx) -> Answer {
    cx.only_admin()?;
    match cx.method {
        Method::GET => {
            let allow = cx.services().peer_auth.records().allow;
            if cx.query.text("records").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
                return Ok(ok_long(&allow.iter().map(AuthEntry::to_json).collect()));
            }
            Ok(links(allow.into_iter().map(|entry| {
                let path = path(&cx, &entry.user_id);
                (entry.user_id, path)
            })))
        }
        Method::POST => {
            let entry = entry(&Value::Object(cx.object().await?))?;
            let user_id = entry.user_id.clone();
            cx.services().peer_auth.add_entry(&cx.caller, AuthList::Allow, entry).await.map_err(ApiError::of_new_route)?;
            Ok(created(&path(&cx, &user_id), Some(&json!({"user_id": user_id}))))
        }
        _ => Err(cx.not_offered("GET, HEAD, POST")),
    }
}

/// `P/auths/{user_id}`.
pub async fn record(mut cx: Cx, user_id: &str) -> Answer {
    cx.only_admin()?;
    let missing = || ApiError::not_found(format!("There is no peer with the user id {user_id:?}."));
    match cx.method {
        Method::GET => {
            let records = cx.services().peer_auth.records();
            let found = records.allow.iter().find(|entry| entry.user_id == user_id).ok_or_else(missing)?;
            Ok(ok(&found.to_json()))
        }
        Method::PUT => {
            let mut body = cx.object().await?;
            body.entry("user_id").or_insert_with(|| json!(user_id));
            let entry = entry(&Value::Object(body))?;
            cx.services().peer_auth.replace_entry(&cx.caller, user_id, entry).await.map_err(ApiError::of_new_route)?;
            Ok(done())
        }
        Method::DELETE => {
            cx.services().peer_auth.delete(&cx.caller, user_id).await.map_err(ApiError::of_new_route)?;
            Ok(done())
        }
        _ => Err(cx.not_offered("GET, HEAD, PUT, DELETE")),
    }
}

/// `P/auths/pending`, `P/auths/approved`, `P/auths/denied`.
pub fn group(cx: &Cx, peers: Peers) -> Answer {
    cx.only_admin()?;
    cx.only_get()?;
    let auth = &cx.services().peer_auth;
    let records = auth.records();
    Ok(ok_long(&match peers {
        Peers::Pending => auth.pending().iter().map(pending).collect(),
        Peers::Approved => records.allow.iter().map(AuthEntry::to_json).collect(),
        Peers::Denied => {
            let with_retries = records.deny.iter().map(|entry| {
                let mut json = entry.to_json();
                json["retries"] = json!(auth.denied_retries(&entry.user_id));
                json
            });
            with_retries.collect()
        }
    }))
}

/// `P/auths/{pending|approved|denied}/{user_id}`.
pub async fn decision(cx: Cx, peers: Peers, user_id: &str) -> Answer {
    cx.only_admin()?;
    let auth = &cx.services().peer_auth;
    let result = match (&cx.method, peers) {
        (&Method::PUT, Peers::Approved) => auth.approve(&cx.caller, user_id).await,
        (&Method::PUT, Peers::Denied) => auth.deny(&cx.caller, user_id).await,
        (&Method::DELETE, _) => auth.delete(&cx.caller, user_id).await,
        (_, Peers::Pending) => return Err(cx.not_offered("DELETE")),
        _ => return Err(cx.not_offered("PUT, DELETE")),
    };
    result.map(|()| done()).map_err(ApiError::of_new_route)
}

/// `P/auths/{identity or -}/publickeys`.
pub async fn public_keys(cx: &Cx, identity: &str) -> Answer {
    cx.only_admin()?;
    cx.only_get()?;
    let auth = &cx.services().peer_auth;
    let mut keys = Map::new();
    let wanted: Vec<String> = if identity == "-" {
        auth.records()
            .allow
            .iter()
            .map(|entry| entry.identity.as_ref().map_or_else(|| entry.user_id.clone(), ToString::to_string))
            .collect()
    } else {
        vec![identity.to_owned()]
    };
    for identity in wanted {
        if let Some(key) = auth.public_key(&identity).await? {
            keys.insert(identity, json!(key.to_string()));
        }
    }
    if keys.is_empty() && identity != "-" {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("No key of {identity:?} is known.")));
    }
    Ok(ok(&Value::Object(keys)))
}

fn pending(pending: &PendingAttempt) -> Value {
    json!({
        "user_id": pending.user_id,
        "address": pending.address,
        "identity": pending.identity,
        "mechanism": if pending.key.is_some() { "CURVE" } else { "NULL" },
        "credentials": pending.key.map(|key| key.to_string()),
        "retries": pending.retries,
        "first_seen": timestamp::format(pending.first_seen),
        "last_seen": timestamp::format(pending.last_seen),
    })
}

fn entry(body: &Value) -> Result<AuthEntry, ApiError> {
    AuthEntry::parse(body).map_err(|error| ApiError::invalid(error.to_string()))
}

fn path(cx: &Cx, user_id: &str) -> String {
    cx.path(&format!("auths/{user_id}"))
}
