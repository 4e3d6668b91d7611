//! Devices and their points.
//!
//! A topic is a path of names; a segment that is exactly `-` stands for any one segment, everything else is itself. `regex` is searched in
//! `devices/<topic>`; `tag` asks the tagging service. `read-all=true` (GET) gives the points below a topic instead of links.
//!
//! - `GET P/devices[/{topic}]`: links, or for points `{topic: {"value" or "value_error", "route", "writable", "config"?}}`; `values`, `routes`
//!   and `writability` (default true) and `config` (default false) choose the keys. A point that cannot be read has its `value_error`, the
//!   status stays 200; 504 when the driver answers for no device at all.
//! - `PUT P/devices/{topic}` with `{"value": ...}`: `{topic: {"route", "set_error": null or text, "writable"}}`; with `confirm-values=true`
//!   also `value` and `value_check_error`. 400 for a value that does not fit, 409 for a lock or an override.
//! - `DELETE P/devices/{topic}`: reverts a point, a device, or each device below; answers as PUT.
//!
//! PUT and DELETE that could mean several points need `write-all=true`, else 405 and nothing is written. A device's own path names it
//! without doubt, so its DELETE needs none.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode, header};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};
use vt_services::{PointRef, SelectedPoint, Selection, ServiceError};
use vt_types::ErrorKind;

use super::{Answer, Cx, links, ok, ok_long};
use crate::error::ApiError;

/// Most points read from devices for one request.
const READ_MAX: usize = 10_000;
/// Most points listed in one answer.
const LISTED_MAX: usize = 200_000;
/// Most points written for one request.
const WRITTEN_MAX: usize = 1_000;
/// Writes on their way at the same time.
const WRITES_AT_ONCE_MAX: usize = 8;

/// All methods.
pub async fn serve(cx: Cx, topic: &str) -> Answer {
    match cx.method {
        Method::GET => read(&cx, topic).await,
        Method::PUT => write(cx, topic).await,
        Method::DELETE => revert(&cx, topic).await,
        _ => Err(cx.not_offered("GET, HEAD, PUT, DELETE")),
    }
}

async fn read(cx: &Cx, topic: &str) -> Answer {
    let selection = select(cx, topic).await?;
    let read_all = cx.query.flag("read-all", false);
    if !read_all && !selection.is_points {
        let below = if topic.is_empty() { "devices".to_owned() } else { format!("devices/{topic}") };
        return Ok(links(selection.next.into_iter().map(|name| {
            let path = cx.path(&format!("{below}/{name}"));
            (name, path)
        })));
    }
    let wants_values = cx.query.flag("values", true);
    let points_max = if wants_values { READ_MAX } else { LISTED_MAX };
    if selection.points.len() > points_max {
        return Err(ApiError::invalid(format!("{} points are more than the {points_max} allowed; ask for fewer.", selection.points.len())));
    }
    let values = if wants_values { Some(values(cx, &selection.points).await?) } else { None };
    let (routes, writability) = (cx.query.flag("routes", true), cx.query.flag("writability", true));
    let config = cx.query.flag("config", false);
    let entries = selection.points.iter().map(|point| {
        let topic = point.topic();
        let mut entry = Map::new();
        if let Some(value) = values.as_ref().and_then(|values| values.get(&point.point_ref())) {
            match value {
                Ok(value) => entry.insert("value".into(), value.clone()),
                Err(error) => entry.insert("value_error".into(), json!(error)),
            };
        }
        if routes {
            entry.insert("route".into(), json!(route(cx, &topic)));
        }
        if writability {
            entry.insert("writable".into(), json!(point.info().writable));
        }
        if config {
            entry.insert("config".into(), Value::Object(point.info().row.clone()));
        }
        (topic, Value::Object(entry))
    });
    Ok(ok_long(&Value::Object(entries.collect())))
}

async fn write(mut cx: Cx, topic: &str) -> Answer {
    let body = cx.object().await?;
    let value = body.get("value").ok_or_else(|| ApiError::invalid("The body must be a JSON object with the key 'value'."))?;
    let selection = select(&cx, topic).await?;
    if selection.is_plural {
        refuse_plural(&cx, topic, &selection)?;
    }
    let writable = writable(&selection)?;
    let writes: Vec<_> = writable.iter().map(|point| write_point(&cx, point.point_ref(), value.clone())).collect();
    let results: Vec<_> = stream::iter(writes).buffered(WRITES_AT_ONCE_MAX).collect().await;
    finish(&cx, &selection.points, results).await
}

async fn write_point(cx: &Cx, target: PointRef, value: Value) -> (PointRef, Result<(), ServiceError>) {
    let result = cx.services().devices.write(&cx.caller, &target, value).await.map(drop);
    (target, result)
}

async fn revert(cx: &Cx, topic: &str) -> Answer {
    let selection = select(cx, topic).await?;
    if selection.is_plural && !selection.is_device {
        refuse_plural(cx, topic, &selection)?;
    }
    let devices = &cx.services().devices;
    let mut results = Vec::new();
    if selection.devices.is_empty() {
        for point in writable(&selection)? {
            let target = point.point_ref();
            let result = devices.revert_point(&cx.caller, &target).await;
            results.push((target, result));
        }
    } else {
        for device in &selection.devices {
            let result = devices.revert_device(&cx.caller, &device.path).await;
            let points = device.points.iter().map(|point| PointRef { path: device.path.clone(), point: point.name.clone() });
            results.extend(points.map(|point| (point, result.clone())));
        }
    }
    finish(cx, &selection.points, results).await
}

async fn select(cx: &Cx, topic: &str) -> Result<Selection, ApiError> {
    let tree = cx.services().devices.tree();
    let platform = &cx.services().instance.name;
    let mut selection = tree.select(topic, cx.query.text("regex")).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ApiError::invalid(format!("Device topic {topic} not found on platform: {platform}.")),
        _ => error.into(),
    })?;
    if let Some(tag) = cx.query.text("tag") {
        let topics = cx.services().devices.tagged(tag).await.map_err(without_tagging)?;
        selection.keep_below(&topics);
    }
    Ok(selection)
}

/// A tag without a tagging service is a wrong request here, not a fault.
pub fn without_tagging(error: ServiceError) -> ApiError {
    match error {
        ServiceError::Unavailable(text) => ApiError::invalid(text),
        other => other.into(),
    }
}

/// Values or reasons; only a driver that stays silent fails the request.
async fn values(cx: &Cx, points: &[SelectedPoint]) -> Result<BTreeMap<PointRef, Result<Value, String>>, ApiError> {
    let points: Vec<PointRef> = points.iter().map(SelectedPoint::point_ref).collect();
    match cx.services().devices.read_points(&points).await {
        Ok(values) => Ok(values),
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            Ok(points.into_iter().map(|point| (point, Err(error.to_string()))).collect())
        }
        Err(error) => Err(error.into()),
    }
}

fn refuse_plural(cx: &Cx, topic: &str, selection: &Selection) -> Result<(), ApiError> {
    if cx.query.flag("write-all", false) {
        return Ok(());
    }
    let selected: Map<String, Value> =
        selection.points.iter().take(READ_MAX).map(|point| (point.topic(), json!(route(cx, &point.topic())))).collect();
    let body = json!({
        "error": "Use of wildcard expressions, regex, or tags may set multiple points. Query must include 'write-all=true'.",
        "requested_topic": topic,
        "regex": cx.query.text("regex"),
        "tag": cx.query.text("tag"),
        "selected_points": selected,
    });
    Err(not_allowed(body))
}

fn writable(selection: &Selection) -> Result<Vec<&SelectedPoint>, ApiError> {
    let writable: Vec<_> = selection.points.iter().filter(|point| point.info().writable).collect();
    if writable.is_empty() {
        let unwritable: Vec<_> = selection.points.iter().take(READ_MAX).map(SelectedPoint::topic).collect();
        return Err(not_allowed(json!({"error": "No selected points are writable.", "unwritable_points": unwritable})));
    }
    if writable.len() > WRITTEN_MAX {
        let text = format!("{} points are more than the {WRITTEN_MAX} that one request may change.", writable.len());
        return Err(ApiError::invalid(text));
    }
    Ok(writable)
}

fn not_allowed(body: Value) -> ApiError {
    ApiError::with_body(StatusCode::METHOD_NOT_ALLOWED, body).with_header(header::ALLOW, "GET, HEAD, PUT, DELETE")
}

/// The answer to a change: an error when nothing was changed for a reason that all share, else each point with its outcome.
async fn finish(cx: &Cx, points: &[SelectedPoint], results: Vec<(PointRef, Result<(), ServiceError>)>) -> Answer {
    let mut errors = BTreeMap::new();
    let mut first = None;
    let asked = results.len();
    for (point, result) in results {
        if let Err(error) = result {
            errors.insert(point, error.to_string());
            first.get_or_insert(error);
        }
    }
    let failed_as_a_whole = |error: &ServiceError| {
        errors.len() == asked
            && matches!(
                error.kind(),
                ErrorKind::Conflict | ErrorKind::Forbidden | ErrorKind::Invalid | ErrorKind::Timeout | ErrorKind::Unavailable
            )
    };
    if let Some(error) = first.filter(failed_as_a_whole) {
        return Err(error.into());
    }
    let confirmed = if cx.query.flag("confirm-values", false) { Some(values(cx, points).await?) } else { None };
    let entries = points.iter().map(|point| {
        let (topic, target) = (point.topic(), point.point_ref());
        let mut entry = Map::new();
        entry.insert("route".into(), json!(route(cx, &topic)));
        entry.insert("set_error".into(), json!(errors.get(&target)));
        entry.insert("writable".into(), json!(point.info().writable));
        if let Some(values) = &confirmed {
            let (value, error) = match values.get(&target) {
                Some(Ok(value)) => (value.clone(), None),
                Some(Err(error)) => (Value::Null, Some(error)),
                None => (Value::Null, None),
            };
            entry.insert("value".into(), value);
            entry.insert("value_check_error".into(), json!(error));
        }
        (topic, Value::Object(entry))
    });
    Ok(ok(&Value::Object(entries.collect())))
}

fn route(cx: &Cx, topic: &str) -> String {
    cx.path(&format!("devices/{topic}"))
}
