//! Web users (admin).
//!
//! - `GET P/auths/users`: links by name. `POST {"name", "password", "groups"}`: 201 with `Location`, 409 if the name is taken.
//! - `GET P/auths/users/{name}`: `{"name", "groups"}`. `PUT {"password"?, "groups"?}`: changes what is given, 204. `DELETE`: 204. The last
//!   administrator can be neither removed nor deprived of the group: 409.
//!
//! Passwords go in and never come out.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use vt_services::ServiceError;

use super::{Answer, Cx, created, done, links, ok};
use crate::error::ApiError;

/// `P/auths/users`.
pub async fn list(mut cx: Cx) -> Answer {
    cx.only_admin()?;
    match cx.method {
        Method::GET => {
            let users = cx.services().auth.users();
            Ok(links(users.into_iter().map(|user| {
                let path = path(&cx, &user.name);
                (user.name, path)
            })))
        }
        Method::POST => {
            let body = cx.object().await?;
            let missing = |name: &str| ApiError::invalid(format!("'{name}' must be given as text."));
            let name = text(&body, "name")?.ok_or_else(|| missing("name"))?;
            let password = text(&body, "password")?.ok_or_else(|| missing("password"))?;
            let groups = groups(&body)?.unwrap_or_default();
            cx.services().auth.add_user(&cx.caller, &name, &password, groups).await.map_err(ApiError::of_new_route)?;
            Ok(created(&path(&cx, &name), None))
        }
        _ => Err(cx.not_offered("GET, HEAD, POST")),
    }
}

/// `P/auths/users/{name}`.
pub async fn user(mut cx: Cx, name: &str) -> Answer {
    cx.only_admin()?;
    if ![Method::GET, Method::PUT, Method::DELETE].contains(&cx.method) {
        return Err(cx.not_offered("GET, HEAD, PUT, DELETE"));
    }
    let view = cx.services().auth.users().into_iter().find(|user| user.name == name);
    let view = view.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, format!("There is no user {name:?}.")))?;
    match cx.method {
        Method::GET => return Ok(ok(&json!({"name": view.name, "groups": view.groups}))),
        Method::PUT => {
            let body = cx.object().await?;
            let (password, groups) = (text(&body, "password")?, groups(&body)?);
            if password.is_none() && groups.is_none() {
                return Err(ApiError::invalid("Nothing to change: give 'password', 'groups' or both."));
            }
            change(&cx, name, password, groups).await.map_err(ApiError::of_new_route)?;
        }
        _ => cx.services().auth.remove_user(&cx.caller, name).await.map_err(ApiError::of_new_route)?,
    }
    Ok(done())
}

async fn change(cx: &Cx, name: &str, password: Option<String>, groups: Option<Vec<String>>) -> Result<(), ServiceError> {
    let auth = &cx.services().auth;
    if let Some(groups) = groups {
        auth.set_groups(&cx.caller, name, groups).await?;
    }
    if let Some(password) = password {
        auth.set_password(&cx.caller, name, &password).await?;
    }
    Ok(())
}

fn path(cx: &Cx, name: &str) -> String {
    cx.path(&format!("auths/users/{name}"))
}

fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::invalid(format!("'{name}' must be text."))),
    }
}

fn groups(body: &Map<String, Value>) -> Result<Option<Vec<String>>, ApiError> {
    let Some(groups) = body.get("groups").filter(|groups| !groups.is_null()) else { return Ok(None) };
    let texts: Option<Vec<String>> =
        groups.as_array().and_then(|list| list.iter().map(|group| group.as_str().map(str::to_owned)).collect());
    texts.map(Some).ok_or_else(|| ApiError::invalid("'groups' must be an array of texts."))
}
