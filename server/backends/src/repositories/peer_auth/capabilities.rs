//! What a user may do: capabilities by name, some of them for certain arguments only. Source: VOLTTRON `auth_entry.py`
//! (`build_capabilities_field`), `vip/agent/subsystems/rpc.py`.

use serde_json::{Map, Value};

use super::entry::EntryError;

/// Capabilities of a user or role: `{"cap": null}` holds always, `{"cap": {"argument": "value or /pattern/"}}` for those arguments only.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capabilities(Map<String, Value>);

/// For what a capability holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Grant<'a> {
    /// For every call.
    Always,
    /// For calls whose arguments are these: each a value, or `/pattern/` that matches from end to end.
    Only(&'a Map<String, Value>),
}

impl Capabilities {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads every form that VOLTTRON accepts: a name, a list of names and objects, or an object.
    ///
    /// # Errors
    /// [`EntryError`] for everything else.
    pub fn parse(value: &Value) -> Result<Self, EntryError> {
        let mut all = Self::new();
        match value {
            Value::Null => {}
            Value::Array(list) => list.iter().try_for_each(|one| all.add_json(one))?,
            one => all.add_json(one)?,
        }
        Ok(all)
    }

    fn add_json(&mut self, value: &Value) -> Result<(), EntryError> {
        match value {
            Value::String(name) if name.is_empty() => {}
            Value::String(name) => {
                self.0.entry(name.as_str()).or_insert(Value::Null);
            }
            Value::Object(several) => {
                for (name, only) in several {
                    if !only.is_null() && !only.is_object() {
                        return Err(EntryError::Capability(name.clone()));
                    }
                    self.0.insert(name.clone(), only.clone());
                }
            }
            other => return Err(EntryError::Capability(other.to_string().chars().take(60).collect())),
        }
        Ok(())
    }

    /// Adds a capability that holds always.
    #[must_use]
    pub fn with(mut self, name: &str) -> Self {
        self.0.insert(name.to_owned(), Value::Null);
        self
    }

    /// Adds a capability that holds when `argument` is `value`.
    #[must_use]
    pub fn with_only(mut self, name: &str, argument: &str, value: &str) -> Self {
        let only = Map::from_iter([(argument.to_owned(), Value::from(value))]);
        self.0.insert(name.to_owned(), Value::Object(only));
        self
    }

    /// For what `name` holds, if at all.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Grant<'_>> {
        self.0.get(name).map(grant)
    }

    /// All in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Grant<'_>)> {
        self.0.iter().map(|(name, only)| (name.as_str(), grant(only)))
    }

    /// Adds what `other` has and this has not; says whether anything was added.
    pub fn add_missing(&mut self, other: &Self) -> bool {
        let before = self.0.len();
        for (name, only) in &other.0 {
            self.0.entry(name.as_str()).or_insert_with(|| only.clone());
        }
        self.0.len() > before
    }

    /// Adds all of `other` as VOLTTRON joins roles to an entry: what holds always wins over what holds for some arguments.
    pub fn join(&mut self, other: &Self) {
        for (name, only) in &other.0 {
            let mine = self.0.entry(name.as_str()).or_insert_with(|| only.clone());
            if only.is_null() {
                *mine = Value::Null;
            }
        }
    }

    /// Takes a capability away; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.shift_remove(name).is_some()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `{"cap": null, "cap2": {"argument": "value"}}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// As roles hold them: a list of names, and of objects for those that hold for some arguments only.
    #[must_use]
    pub fn to_json_list(&self) -> Value {
        let one = |(name, only): (&String, &Value)| {
            if only.is_null() { Value::from(name.as_str()) } else { Value::Object(Map::from_iter([(name.clone(), only.clone())])) }
        };
        self.0.iter().map(one).collect()
    }
}

fn grant(only: &Value) -> Grant<'_> {
    only.as_object().map_or(Grant::Always, Grant::Only)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_becomes_an_object() {
        for (given, expected) in [
            (json!(null), json!({})),
            (json!("a"), json!({"a": null})),
            (json!(["a", {"b": {"identity": "/x.*/"}}, "b"]), json!({"a": null, "b": {"identity": "/x.*/"}})),
            (json!({"a": null, "b": {"x": 1}}), json!({"a": null, "b": {"x": 1}})),
        ] {
            assert_eq!(Capabilities::parse(&given).unwrap().to_json(), expected, "{given}");
        }
        for wrong in [json!(5), json!([["a"]]), json!({"a": "b"}), json!({"a": []})] {
            assert!(Capabilities::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_holds_always_wins() {
        let mut own = Capabilities::new().with_only("edit", "identity", "a").with("x");
        own.join(&Capabilities::new().with("edit").with_only("x", "y", "z").with_only("new", "n", "1"));
        assert_eq!(own.to_json(), json!({"edit": null, "x": null, "new": {"n": "1"}}));
        assert_eq!(own.to_json_list(), json!(["edit", "x", {"new": {"n": "1"}}]));
        assert_eq!(Capabilities::parse(&own.to_json_list()).unwrap(), own);
        assert!(matches!(own.get("new"), Some(Grant::Only(only)) if only["n"] == "1"));
        assert!(!own.add_missing(&Capabilities::new().with("new")) && own.add_missing(&Capabilities::new().with("other")));
        assert!(own.remove("new") && own.get("new").is_none());
    }
}
