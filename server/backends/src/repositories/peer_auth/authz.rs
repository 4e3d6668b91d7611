//! What the modular generation says about rights: roles, groups of agents, agents and protected topics. Read from and written to the JSON of its
//! `authz.json`; read as well in the form in which its tools send it over RPC. Source: vip-zmq.md §8.6; volttron-core 2.0
//! `volttron/types/auth/authz_types.py`.

use serde_json::{Map, Value, json};

use super::named::Named;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Authz {
    /// What holders of a role may do.
    pub roles: Named<Powers>,
    /// Agents that share rights.
    pub groups: Named<AgentGroup>,
    /// Rights of single agents, and which of their methods are closed.
    pub agents: Named<AgentAuthz>,
    /// Topics on which not everybody may publish or which not everybody may hear: the start of a topic, or `/pattern/` that fits its start.
    pub protected_topics: Vec<String>,
}

/// What somebody may do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Powers {
    /// Methods that may be called.
    pub rpc: Vec<RpcPower>,
    /// Topics with what may be done there.
    pub pubsub: Named<Access>,
}

/// Methods that may be called: `<identity>.<method>` or `/pattern/`.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcPower {
    /// Which.
    pub method: String,
    /// For calls with these arguments only, each a value or `/pattern/`; for all calls if there are none.
    pub only: Map<String, Value>,
}

/// What may be done on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Publish and subscribe.
    Both,
    /// Publish.
    Publish,
    /// Subscribe.
    Subscribe,
}

/// A role that somebody holds.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldRole {
    /// Which.
    pub name: String,
    /// Further restrictions on its methods.
    pub only: Map<String, Value>,
}

/// Agents that share rights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentGroup {
    /// Who belongs to it.
    pub identities: Vec<String>,
    /// Roles of all of them.
    pub roles: Vec<HeldRole>,
    /// Further rights of all of them.
    pub powers: Powers,
}

/// What is said of one agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentAuthz {
    /// Its methods that only those may call who are allowed to.
    pub protected_rpcs: Vec<String>,
    /// Its roles.
    pub roles: Vec<HeldRole>,
    /// Its further rights.
    pub powers: Powers,
    /// For people.
    pub comments: Option<String>,
}

/// Why something cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthzError(pub String);

impl Access {
    /// `pubsub`, `publish` or `subscribe`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Both => "pubsub",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// The access of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Both, Self::Publish, Self::Subscribe].into_iter().find(|access| access.as_str() == text)
    }

    /// Whether it covers another.
    #[must_use]
    pub fn covers(self, wanted: Self) -> bool {
        self == Self::Both || self == wanted
    }
}

impl Authz {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the content of an `authz.json`.
    ///
    /// # Errors
    /// [`AuthzError`] names the member.
    pub fn parse(value: &Value) -> Result<Self, AuthzError> {
        Ok(Self {
            roles: named(value, "roles", |value| Powers::parse(&value["rpc_capabilities"], &value["pubsub_capabilities"]))?,
            groups: named(value, "agent_groups", AgentGroup::parse)?,
            agents: named(value, "agents", AgentAuthz::parse)?,
            protected_topics: texts("protected_topics", &value["protected_topics"])?,
        })
    }

    /// As `authz.json` holds it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let roles: Map<_, _> = self.roles.iter().map(|(name, powers)| (name.to_owned(), Value::Object(powers.to_json()))).collect();
        let groups: Map<_, _> = self.groups.iter().map(|(name, group)| (name.to_owned(), group.to_json())).collect();
        let agents: Map<_, _> = self.agents.iter().map(|(name, agent)| (name.to_owned(), agent.to_json())).collect();
        json!({"roles": roles, "agent_groups": groups, "agents": agents, "protected_topics": self.protected_topics})
    }
}

impl Powers {
    /// Reads both kinds of capabilities.
    ///
    /// # Errors
    /// [`AuthzError`].
    pub fn parse(rpc: &Value, pubsub: &Value) -> Result<Self, AuthzError> {
        Ok(Self { rpc: rpc_powers(rpc)?, pubsub: pubsub_powers(pubsub)? })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rpc.is_empty() && self.pubsub.is_empty()
    }

    /// Adds others; what they say of the same method's arguments or the same topic holds from now on.
    pub fn merge(&mut self, others: &Self) {
        for power in &others.rpc {
            let same = |known: &&mut RpcPower| known.method == power.method && known.only.is_empty() == power.only.is_empty();
            match self.rpc.iter_mut().find(same) {
                Some(known) => known.only.extend(power.only.clone()),
                None => self.rpc.push(power.clone()),
            }
        }
        others.pubsub.iter().for_each(|(topic, access)| self.pubsub.set(topic, *access));
    }

    /// As an object with `rpc_capabilities` and `pubsub_capabilities`, each if there are any.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let one = |power: &RpcPower| restricted(&power.method, &power.only);
        if !self.rpc.is_empty() {
            members.insert("rpc_capabilities".to_owned(), self.rpc.iter().map(one).collect());
        }
        if !self.pubsub.is_empty() {
            let topics = self.pubsub.iter().map(|(topic, access)| (topic.to_owned(), json!(access.as_str())));
            members.insert("pubsub_capabilities".to_owned(), Value::Object(topics.collect()));
        }
        members
    }
}

impl HeldRole {
    /// Reads roles: names, `{name: {argument: value}}`, or as tools send them.
    ///
    /// # Errors
    /// [`AuthzError`].
    pub fn parse_all(value: &Value) -> Result<Vec<Self>, AuthzError> {
        let all = sent(value, "agent_roles", ("role_name", "param_restrictions"))?;
        Ok(all.into_iter().map(|(name, only)| Self { name, only }).collect())
    }

    /// Adds others; what they say of the same role holds from now on.
    pub fn merge_all(known: &mut Vec<Self>, others: Vec<Self>) {
        for role in others {
            match known.iter_mut().find(|known| known.name == role.name) {
                Some(held) => *held = role,
                None => known.push(role),
            }
        }
    }

    fn all_to_json(all: &[Self]) -> Value {
        all.iter().map(|role| restricted(&role.name, &role.only)).collect()
    }
}

impl AgentGroup {
    fn parse(value: &Value) -> Result<Self, AuthzError> {
        Ok(Self {
            identities: texts("identities", &value["identities"])?,
            roles: HeldRole::parse_all(&value["agent_roles"])?,
            powers: Powers::parse(&value["rpc_capabilities"], &value["pubsub_capabilities"])?,
        })
    }

    fn to_json(&self) -> Value {
        let mut members = Map::from_iter([("identities".to_owned(), json!(self.identities))]);
        if !self.roles.is_empty() {
            members.insert("agent_roles".to_owned(), HeldRole::all_to_json(&self.roles));
        }
        members.extend(self.powers.to_json());
        Value::Object(members)
    }
}

impl AgentAuthz {
    fn parse(value: &Value) -> Result<Self, AuthzError> {
        Ok(Self {
            protected_rpcs: texts("protected_rpcs", &value["protected_rpcs"])?,
            roles: HeldRole::parse_all(&value["agent_roles"])?,
            powers: Powers::parse(&value["rpc_capabilities"], &value["pubsub_capabilities"])?,
            comments: value["comments"].as_str().map(str::to_owned),
        })
    }

    /// As an object with each member that says anything.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        if !self.protected_rpcs.is_empty() {
            members.insert("protected_rpcs".to_owned(), json!(self.protected_rpcs));
        }
        if !self.roles.is_empty() {
            members.insert("agent_roles".to_owned(), HeldRole::all_to_json(&self.roles));
        }
        members.extend(self.powers.to_json());
        if let Some(comments) = &self.comments {
            members.insert("comments".to_owned(), json!(comments));
        }
        Value::Object(members)
    }
}

/// `"name"`, or `{"name": {argument: value}}`.
fn restricted(name: &str, only: &Map<String, Value>) -> Value {
    if only.is_empty() { json!(name) } else { Value::Object(Map::from_iter([(name.to_owned(), Value::Object(only.clone()))])) }
}

fn rpc_powers(value: &Value) -> Result<Vec<RpcPower>, AuthzError> {
    let all = sent(value, "rpc_capabilities", ("resource", "param_restrictions"))?;
    let mut powers = Powers::default();
    let others = all.into_iter().map(|(method, only)| RpcPower { method, only }).collect();
    powers.merge(&Powers { rpc: others, pubsub: Named::default() });
    Ok(powers.rpc)
}

/// A name with restrictions on arguments.
type Restricted = (String, Map<String, Value>);

/// Names with restrictions. Files hold a list of names and of objects with one member; tools send an object with the list `member`, whose items
/// are objects with the members `keys`.
fn sent(value: &Value, member: &str, keys: (&str, &str)) -> Result<Vec<Restricted>, AuthzError> {
    let wrong = |item: &Value| AuthzError(format!("{member}: {} cannot be read", item.to_string().chars().take(80).collect::<String>()));
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Object(members) => members.get(member).unwrap_or(&Value::Null),
        other => other,
    };
    let read = |item: &Value| match item {
        Value::String(name) => Some((name.clone(), Map::new())),
        Value::Object(members) => match members.get(keys.0) {
            Some(name) => Some((name.as_str()?.to_owned(), restrictions(members.get(keys.1).unwrap_or(&Value::Null))?)),
            None if members.len() == 1 => members.iter().next().and_then(|(name, only)| Some((name.clone(), restrictions(only)?))),
            None => None,
        },
        _ => None,
    };
    let list = if list.is_null() { &json!([]) } else { list };
    let items = list.as_array().ok_or_else(|| wrong(value))?;
    items.iter().map(|item| read(item).filter(|(name, _)| !name.is_empty()).ok_or_else(|| wrong(item))).collect()
}

fn restrictions(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Null => Some(Map::new()),
        Value::Object(members) => Some(members.clone()),
        _ => None,
    }
}

/// Files hold an object of accesses by topic; tools send `{"pubsub_capabilities": [{"topic_pattern", "topic_access"}]}`.
fn pubsub_powers(value: &Value) -> Result<Named<Access>, AuthzError> {
    let access = |topic: &str, value: &Value| {
        let access = value.as_str().and_then(Access::parse);
        access
            .map(|access| (topic.to_owned(), access))
            .ok_or_else(|| AuthzError(format!("{topic:?}: the access must be publish, subscribe or pubsub")))
    };
    let wrong = || AuthzError("pubsub_capabilities must be an object of accesses by topic".to_owned());
    match value {
        Value::Null => Ok(Named::default()),
        Value::Object(members) => match members.get("pubsub_capabilities") {
            Some(Value::Null) => Ok(Named::default()),
            Some(Value::Array(list)) => {
                list.iter().map(|item| access(item["topic_pattern"].as_str().ok_or_else(wrong)?, &item["topic_access"])).collect()
            }
            Some(_) => Err(wrong()),
            None => members.iter().map(|(topic, value)| access(topic, value)).collect(),
        },
        _ => Err(wrong()),
    }
}

fn texts(name: &str, value: &Value) -> Result<Vec<String>, AuthzError> {
    let wrong = || AuthzError(format!("{name} must be a list of texts"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

fn named<T>(value: &Value, name: &str, read: impl Fn(&Value) -> Result<T, AuthzError>) -> Result<Named<T>, AuthzError> {
    let members = match &value[name] {
        Value::Null => return Ok(Named::default()),
        Value::Object(members) => members,
        _ => return Err(AuthzError(format!("{name} must be an object"))),
    };
    let one = |(key, value): (&String, &Value)| {
        let read = if value.is_object() { read(value) } else { Err(AuthzError("must be an object".to_owned())) };
        Ok((key.clone(), read.map_err(|error| AuthzError(format!("{name}: {key}: {error}")))?))
    };
    members.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_an_authz_file_is_kept() {
        let json = json!({
            "roles": {"admin": {"rpc_capabilities": ["/.*/"], "pubsub_capabilities": {"/.*/": "pubsub"}}},
            "agent_groups": {"g1": {"identities": ["platform.driver"], "agent_roles": ["admin"], "rpc_capabilities": ["a.b"]}},
            "agents": {"platform.driver": {
                "protected_rpcs": ["set_point"], "agent_roles": [{"default_rpc_capabilities": {"identity": "platform.driver"}}],
                "rpc_capabilities": ["a.b", {"a.b": {"x": "1"}}], "pubsub_capabilities": {"devices": "publish"}, "comments": "x",
            }},
            "protected_topics": ["devices", "/ana.*/"],
        });
        let authz = Authz::parse(&json).unwrap();
        assert_eq!(authz.to_json(), json);
        assert!(!authz.is_empty() && Authz::parse(&json!({})).unwrap().is_empty());
    }

    #[test]
    fn what_tools_send_is_read() {
        let rpc = json!({"rpc_capabilities": [{"resource": "a.b", "param_restrictions": {}}, {"resource": "a.c", "param_restrictions": {"x": "1"}}],
                         "_rpc_dict": {"a.b": {}, "a.c": {"x": "1"}}});
        let pubsub = json!({"pubsub_capabilities": [{"topic_pattern": "devices", "topic_access": "publish"}]});
        let powers = Powers::parse(&rpc, &pubsub).unwrap();
        let expected = json!({"rpc_capabilities": ["a.b", {"a.c": {"x": "1"}}], "pubsub_capabilities": {"devices": "publish"}});
        assert_eq!(Value::Object(powers.to_json()), expected);
        let roles =
            json!({"agent_roles": [{"role_name": "r", "param_restrictions": {"x": "1"}}, {"role_name": "s", "param_restrictions": null}]});
        assert_eq!(HeldRole::all_to_json(&HeldRole::parse_all(&roles).unwrap()), json!([{"r": {"x": "1"}}, "s"]));
        for nothing in [json!(null), json!({"rpc_capabilities": []}), json!([])] {
            assert!(Powers::parse(&nothing, &Value::Null).unwrap().is_empty(), "{nothing}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (json, expected) in [
            (json!({"roles": []}), "roles must be an object"),
            (json!({"roles": {"r": {"rpc_capabilities": [5]}}}), "roles: r: rpc_capabilities: 5 cannot be read"),
            (json!({"roles": {"r": {"rpc_capabilities": [{"a": 1}]}}}), "cannot be read"),
            (json!({"roles": {"r": {"pubsub_capabilities": {"t": "fly"}}}}), "the access must be publish, subscribe or pubsub"),
            (json!({"agents": {"a": 5}}), "agents: a: must be an object"),
            (json!({"agents": {"a": {"protected_rpcs": "m"}}}), "protected_rpcs must be a list of texts"),
            (json!({"agent_groups": {"g": {"identities": [1]}}}), "identities must be a list of texts"),
            (json!({"protected_topics": {}}), "protected_topics must be a list of texts"),
        ] {
            let error = Authz::parse(&json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn merging_adds_and_replaces() {
        let read = |value: Value| Powers::parse(&value["rpc_capabilities"], &value["pubsub_capabilities"]).unwrap();
        let mut known = read(json!({"rpc_capabilities": ["a.b", {"a.c": {"x": "1"}}], "pubsub_capabilities": {"t": "publish"}}));
        known.merge(&read(
            json!({"rpc_capabilities": ["a.b", "a.c", {"a.c": {"y": "2"}}], "pubsub_capabilities": {"t": "pubsub", "u": "subscribe"}}),
        ));
        let expected = json!({"rpc_capabilities": ["a.b", {"a.c": {"x": "1", "y": "2"}}, "a.c"], "pubsub_capabilities": {"t": "pubsub", "u": "subscribe"}});
        assert_eq!(Value::Object(known.to_json()), expected);
        let mut roles = HeldRole::parse_all(&json!(["r", "s"])).unwrap();
        HeldRole::merge_all(&mut roles, HeldRole::parse_all(&json!([{"s": {"x": "1"}}, "t"])).unwrap());
        assert_eq!(HeldRole::all_to_json(&roles), json!(["r", {"s": {"x": "1"}}, "t"]));
        assert!(Access::Both.covers(Access::Subscribe) && !Access::Publish.covers(Access::Subscribe));
    }
}
