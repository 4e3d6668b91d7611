//! What a scrape is published as: topics, and messages whose unchanging part is made once.
//!
//! The message of all points is mostly metadata, which never changes. A message that no subscriber holds any more gets the new values
//! written into it; otherwise it is copied. So a device costs no allocation per point and scrape when its subscribers keep up.

use std::sync::Arc;

use serde_json::{Map, Value};
use vt_drivers::interface::Points;
use vt_types::{DevicePath, Topic};

/// Messages kept for reuse: one may be held by whoever keeps the latest values, so there is a second.
const KEPT_MAX: usize = 2;

/// The messages and topics of one device.
#[derive(Debug)]
pub struct Messages {
    /// `devices/<path>/all`.
    pub depth_first_all: Topic,
    /// `devices/all/<path reversed>`.
    pub breadth_first_all: Topic,
    kept: Vec<Arc<Value>>,
}

impl Messages {
    /// Messages for the device at `path`.
    pub fn new(path: &DevicePath) -> Self {
        Self { depth_first_all: path.depth_first_all(), breadth_first_all: path.breadth_first_all(), kept: Vec::new() }
    }

    /// `[{point: value}, {point: {"units", "type", "tz"}}]` with `values` in the order of `points`.
    pub fn all(&mut self, points: &Points, tz: &str, values: Vec<Value>) -> Arc<Value> {
        if let Some(index) = self.kept.iter_mut().position(|message| Arc::get_mut(message).is_some()) {
            let mut message = self.kept.swap_remove(index);
            if let Some(Value::Array(parts)) = Arc::get_mut(&mut message)
                && let Some(Value::Object(old)) = parts.first_mut()
            {
                for (slot, value) in old.values_mut().zip(values) {
                    *slot = value;
                }
            }
            self.keep(&message);
            return message;
        }
        let names = || points.as_slice().iter().map(|point| point.name.to_string());
        let metadata = match self.kept.first().map(|message| &**message) {
            Some(Value::Array(parts)) => parts.get(1).cloned().unwrap_or_default(),
            _ => Value::Object(names().zip(points.as_slice().iter().map(|point| point.metadata(tz))).collect()),
        };
        let message = Arc::new(Value::Array(vec![Value::Object(names().zip(values).collect::<Map<_, _>>()), metadata]));
        self.keep(&message);
        message
    }

    fn keep(&mut self, message: &Arc<Value>) {
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push(Arc::clone(message));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vt_drivers::{Point, Registry, ValueType};

    use super::*;

    fn points() -> Points {
        let point = |name: &str| Point { name: name.into(), units: "x".into(), value_type: ValueType::Integer, writable: false, row: 0 };
        Points::new(vec![point("a"), point("b")], Arc::new(Registry::default()))
    }

    fn expected(a: i32, b: i32) -> Value {
        let meta = json!({"units": "x", "type": "integer", "tz": "UTC"});
        json!([{"a": a, "b": b}, {"a": meta, "b": meta}])
    }

    #[test]
    fn a_message_is_reused_only_when_nobody_holds_it() {
        let (points, mut messages) = (points(), Messages::new(&DevicePath::parse("c/b/u").unwrap()));
        let first = messages.all(&points, "UTC", vec![json!(1), json!(2)]);
        let second = messages.all(&points, "UTC", vec![json!(3), json!(4)]);
        let third = messages.all(&points, "UTC", vec![json!(5), json!(6)]);
        assert_eq!((&*first, &*second, &*third), (&expected(1, 2), &expected(3, 4), &expected(5, 6)));
        let address = Arc::as_ptr(&second);
        drop(second);
        let fourth = messages.all(&points, "UTC", vec![json!(7), json!(8)]);
        assert_eq!(Arc::as_ptr(&fourth), address);
        assert_eq!((&*third, &*fourth), (&expected(5, 6), &expected(7, 8)));
    }
}
