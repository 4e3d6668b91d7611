//! The actuator over RPC. The requester is the calling peer, or the web user for whom the web service calls; the argument
//! `requester_id` is taken for compatibility and not looked at.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_agent::{Call, MethodTable};
use vt_types::RpcError;
use vt_types::identity::known;

use super::Actuator;
use super::driver::PointRef;

/// The exported methods.
pub fn methods(actuator: &Arc<Actuator>) -> MethodTable {
    let mut table = MethodTable::new();
    let this = Arc::clone(actuator);
    let get_point = table.method("get_point").doc("Gets the value of a point.").param("topic").optional("point", Value::Null);
    get_point.keywords("kwargs").to(move |call| {
        let this = with_ready(&this);
        async move { Ok(this.await.get_point(point(&call)?, kwargs(&call)).await?) }
    });

    let this = Arc::clone(actuator);
    let set_point = table.method("set_point").doc("Sets the value of a point; the device must be scheduled by the caller or by nobody.");
    let set_point = set_point.param("requester_id").param("topic").param("value").optional("point", Value::Null);
    set_point.keywords("kwargs").to(move |call| {
        let this = with_ready(&this);
        async move { Ok(this.await.set_point(&requester(&call), point(&call)?, call.value("value").clone(), kwargs(&call)).await?) }
    });

    let this = Arc::clone(actuator);
    table.method("scrape_all").doc("Gets all points of a device.").param("topic").to(move |call| {
        let this = with_ready(&this);
        async move { Ok(this.await.scrape_all(&call.arg::<String>("topic")?).await?) }
    });

    let this = Arc::clone(actuator);
    let get_multiple = table.method("get_multiple_points").doc("Gets points of several devices: values by topic, errors by topic.");
    get_multiple.param("topics").keywords("kwargs").to(move |call| {
        let this = with_ready(&this);
        async move {
            let topics: Vec<Value> = call.arg("topics")?;
            let points = topics.iter().map(any_point).collect::<Result<_, _>>()?;
            Ok(this.await.get_multiple_points(points, &kwargs(&call)).await?)
        }
    });

    let this = Arc::clone(actuator);
    let set_multiple = table.method("set_multiple_points").doc("Sets points of several devices: errors by topic.");
    set_multiple.param("requester_id").param("topics_values").keywords("kwargs").to(move |call| {
        let this = with_ready(&this);
        async move {
            let pairs: Vec<(Value, Value)> = call.arg("topics_values")?;
            let writes = pairs.into_iter().map(|(topic, value)| Ok((any_point(&topic)?, value))).collect::<Result<_, RpcError>>()?;
            Ok(this.await.set_multiple_points(&requester(&call), writes, &kwargs(&call)).await?)
        }
    });

    let this = Arc::clone(actuator);
    let revert_point = table.method("revert_point").doc("Puts a point back to its default state.");
    revert_point.param("requester_id").param("topic").optional("point", Value::Null).to(move |call| {
        let this = with_ready(&this);
        async move {
            this.await.revert_point(&requester(&call), point(&call)?).await?;
            Ok(Value::Null)
        }
    });

    let this = Arc::clone(actuator);
    let revert_device = table.method("revert_device").doc("Puts all points of a device back to their default state.");
    revert_device.param("requester_id").param("topic").to(move |call| {
        let this = with_ready(&this);
        async move {
            this.await.revert_device(&requester(&call), &call.arg::<String>("topic")?).await?;
            Ok(Value::Null)
        }
    });

    let this = Arc::clone(actuator);
    let new_schedule = table.method("request_new_schedule").doc("Reserves devices: requests are [device, start, end] or a list of them.");
    new_schedule.param("requester_id").param("task_id").param("priority").param("requests").to(move |call| {
        let this = with_ready(&this);
        async move {
            let (task, priority, requests) = (call.value("task_id"), call.value("priority"), call.value("requests"));
            Ok(this.await.request_new_schedule(&requester(&call), task, priority, requests).await)
        }
    });

    let this = Arc::clone(actuator);
    let cancel_schedule = table.method("request_cancel_schedule").doc("Gives up a reservation.");
    cancel_schedule.param("requester_id").param("task_id").to(move |call| {
        let this = with_ready(&this);
        async move { Ok(this.await.request_cancel_schedule(&requester(&call), call.value("task_id")).await) }
    });
    table
}

/// Waits until configuration and schedules are loaded: before that nobody knows whose device it is.
fn with_ready(actuator: &Arc<Actuator>) -> impl Future<Output = Arc<Actuator>> + use<> {
    let actuator = Arc::clone(actuator);
    async move {
        let ready = actuator.ready.subscribe().wait_for(|ready| *ready).await.is_ok();
        debug_assert!(ready, "the sender is the actuator's own");
        actuator
    }
}

/// Who asks. Only the web service is believed when it speaks for somebody else.
fn requester(call: &Call) -> String {
    match &call.user {
        Some(user) if call.from.as_str() == known::PLATFORM_WEB => format!("web:{user}"),
        _ => call.from.to_string(),
    }
}

fn kwargs(call: &Call) -> Map<String, Value> {
    call.value("kwargs").as_object().cloned().unwrap_or_default()
}

fn point(call: &Call) -> Result<PointRef, RpcError> {
    let (topic, point): (String, Option<String>) = (call.arg("topic")?, call.arg("point")?);
    Ok(PointRef::parse(&topic, point.as_deref())?)
}

/// A topic, or a pair of device path and point.
fn any_point(value: &Value) -> Result<PointRef, RpcError> {
    match value {
        Value::String(topic) => Ok(PointRef::parse(topic, None)?),
        Value::Array(pair) => match &pair[..] {
            [Value::String(device), Value::String(point)] => Ok(PointRef::parse(device, Some(point))?),
            _ => Err(RpcError::value_error(format!("{} is neither a topic nor [device, point]", json!(pair)))),
        },
        other => Err(RpcError::value_error(format!("{other} is neither a topic nor [device, point]"))),
    }
}
