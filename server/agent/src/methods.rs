//! Methods that an agent exports over RPC: names, parameters as Python would inspect them, handlers.
//! Source: VOLTTRON `vip/agent/subsystems/rpc.py` (`inspect`), Python's rules for binding arguments.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use vt_types::{Identity, Params, RpcError};

type Handler = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Result<Value, RpcError>> + Send>> + Send + Sync>;

/// The exported methods of an agent.
#[derive(Default, Clone)]
pub struct MethodTable {
    methods: BTreeMap<String, Arc<Method>>,
}

impl std::fmt::Debug for MethodTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.methods.keys()).finish()
    }
}

pub(crate) struct Method {
    name: String,
    doc: Option<String>,
    params: Vec<Param>,
    rest: Option<String>,
    keywords: Option<String>,
    pub(crate) handler: Handler,
}

struct Param {
    name: String,
    default: Option<Value>,
}

/// Who calls, as the router says.
pub(crate) struct Caller {
    pub from: Identity,
    pub user_id: Arc<str>,
    pub user: Option<Arc<str>>,
}

/// One call of a method, its arguments bound to names.
#[derive(Debug)]
pub struct Call {
    /// Who calls.
    pub from: Identity,
    /// The caller's authenticated user id, by which rights are decided; the identity itself for in-process peers.
    pub user_id: Arc<str>,
    /// The web user for whom the caller acts, if any.
    pub user: Option<Arc<str>>,
    method: String,
    bound: Map<String, Value>,
    given: Vec<String>,
}

/// Describes a method; ends with [`MethodBuilder::to`].
pub struct MethodBuilder<'a> {
    table: &'a mut MethodTable,
    name: String,
    doc: Option<String>,
    params: Vec<Param>,
    rest: Option<String>,
    keywords: Option<String>,
}

impl MethodTable {
    /// No methods.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the description of a method; a later one of the same name replaces it.
    pub fn method(&mut self, name: &str) -> MethodBuilder<'_> {
        MethodBuilder { table: self, name: name.to_owned(), doc: None, params: Vec::new(), rest: None, keywords: None }
    }

    /// Names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.methods.keys().cloned().collect()
    }

    /// Runs a method without a bus, as if `from` called it.
    ///
    /// # Errors
    /// What the method raises, or that there is none.
    pub async fn call(&self, from: &Identity, method: &str, params: Params) -> Result<Value, RpcError> {
        let found = self.find(method).cloned().ok_or_else(|| RpcError::MethodNotFound(method.to_owned()))?;
        let by = Caller { from: from.clone(), user_id: Arc::from(from.as_str()), user: None };
        (found.handler)(found.bind(by, params)?).await
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Method>> {
        self.methods.get(name)
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.methods.extend(other.methods);
    }
}

impl MethodBuilder<'_> {
    /// What it does, one sentence.
    #[must_use]
    pub fn doc(mut self, text: &str) -> Self {
        self.doc = Some(text.to_owned());
        self
    }

    /// A parameter that must be given.
    #[must_use]
    pub fn param(mut self, name: &str) -> Self {
        self.params.push(Param { name: name.to_owned(), default: None });
        self
    }

    /// A parameter with a default.
    #[must_use]
    pub fn optional(mut self, name: &str, default: impl Into<Value>) -> Self {
        self.params.push(Param { name: name.to_owned(), default: Some(default.into()) });
        self
    }

    /// Takes further positional arguments as an array under `name`.
    #[must_use]
    pub fn rest(mut self, name: &str) -> Self {
        self.rest = Some(name.to_owned());
        self
    }

    /// Takes further keyword arguments as an object under `name`.
    #[must_use]
    pub fn keywords(mut self, name: &str) -> Self {
        self.keywords = Some(name.to_owned());
        self
    }

    /// What runs. Calls of one agent run side by side.
    pub fn to<F, Fut>(self, handler: F)
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, RpcError>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |call| Box::pin(handler(call)));
        let method =
            Method { name: self.name.clone(), doc: self.doc, params: self.params, rest: self.rest, keywords: self.keywords, handler };
        self.table.methods.insert(self.name, Arc::new(method));
    }
}

impl Method {
    /// Binds arguments as Python does.
    pub(crate) fn bind(&self, by: Caller, params: Params) -> Result<Call, RpcError> {
        let name = &self.name;
        let mut bound = Map::new();
        let mut given = Vec::new();
        let mut args = params.args.into_iter();
        let mut kwargs = params.kwargs;
        for param in &self.params {
            let value = match (args.next(), kwargs.shift_remove(&param.name)) {
                (Some(_), Some(_)) => {
                    return Err(RpcError::type_error(format!("{name}() got multiple values for argument '{}'", param.name)));
                }
                (Some(value), None) | (None, Some(value)) => {
                    given.push(param.name.clone());
                    value
                }
                (None, None) => match &param.default {
                    Some(default) => default.clone(),
                    None => {
                        return Err(RpcError::type_error(format!("{name}() missing 1 required positional argument: '{}'", param.name)));
                    }
                },
            };
            bound.insert(param.name.clone(), value);
        }
        let rest: Vec<Value> = args.collect();
        match &self.rest {
            Some(key) => {
                bound.insert(key.clone(), Value::Array(rest));
            }
            None if !rest.is_empty() => {
                let (most, got) = (self.params.len(), self.params.len() + rest.len());
                return Err(RpcError::type_error(format!("{name}() takes {most} positional arguments but {got} were given")));
            }
            None => {}
        }
        match (&self.keywords, kwargs.keys().next()) {
            (Some(key), _) => {
                bound.insert(key.clone(), Value::Object(kwargs));
            }
            (None, Some(unexpected)) => {
                return Err(RpcError::type_error(format!("{name}() got an unexpected keyword argument '{unexpected}'")));
            }
            (None, None) => {}
        }
        let Caller { from, user_id, user } = by;
        Ok(Call { from, user_id, user, method: self.name.clone(), bound, given })
    }

    /// Answer of `<method>.inspect`.
    pub(crate) fn inspect(&self) -> Value {
        let mut params = Map::new();
        for param in &self.params {
            let mut entry = Map::new();
            entry.insert("kind".into(), json!("POSITIONAL_OR_KEYWORD"));
            if let Some(default) = &param.default {
                entry.insert("default".into(), default.clone());
            }
            params.insert(param.name.clone(), Value::Object(entry));
        }
        for (name, kind) in [(&self.rest, "VAR_POSITIONAL"), (&self.keywords, "VAR_KEYWORD")] {
            if let Some(name) = name {
                params.insert(name.clone(), json!({"kind": kind}));
            }
        }
        let mut answer = Map::new();
        answer.insert("params".into(), Value::Object(params));
        if let Some(doc) = &self.doc {
            answer.insert("doc".into(), json!(doc));
        }
        Value::Object(answer)
    }
}

impl Call {
    /// The argument as given, or its default; `null` for a name that the method does not declare.
    #[must_use]
    pub fn value(&self, name: &str) -> &Value {
        self.bound.get(name).unwrap_or(&Value::Null)
    }

    /// Whether the caller gave the argument (as opposed to its default).
    #[must_use]
    pub fn was_given(&self, name: &str) -> bool {
        self.given.iter().any(|given| given == name)
    }

    /// The argument as a `T`.
    ///
    /// # Errors
    /// A Python `TypeError` that names method, argument and what is wrong.
    pub fn arg<T: DeserializeOwned>(&self, name: &str) -> Result<T, RpcError> {
        T::deserialize(self.value(name)).map_err(|error| RpcError::type_error(format!("{}(): '{name}' does not fit: {error}", self.method)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> MethodTable {
        let mut table = MethodTable::new();
        table
            .method("m")
            .doc("Does it.")
            .param("a")
            .optional("b", 5)
            .keywords("kw")
            .to(|call| async move { Ok(json!([call.value("a"), call.value("b"), call.value("kw")])) });
        table.method("strict").param("a").to(|call| async move { Ok(json!(call.arg::<u32>("a")?)) });
        table
    }

    async fn call(method: &str, params: Params) -> Result<Value, RpcError> {
        table().call(&Identity::known("x"), method, params).await
    }

    fn kwargs(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[tokio::test]
    async fn arguments_are_bound_as_python_does() {
        assert_eq!(call("m", Params::positional(vec![json!(1)])).await, Ok(json!([1, 5, {}])));
        assert_eq!(call("m", Params::keyword(kwargs(&json!({"b": 2, "a": 1, "c": 3})))).await, Ok(json!([1, 2, {"c": 3}])));
        let both = Params { args: vec![json!(1)], kwargs: kwargs(&json!({"a": 1})) };
        assert_eq!(call("m", both).await.unwrap_err().to_string(), "m() got multiple values for argument 'a'");
        assert_eq!(call("m", Params::none()).await.unwrap_err().to_string(), "m() missing 1 required positional argument: 'a'");
        let many = Params::positional(vec![json!(1), json!(2)]);
        assert_eq!(call("strict", many).await.unwrap_err().to_string(), "strict() takes 1 positional arguments but 2 were given");
        let odd = Params::keyword(kwargs(&json!({"a": 1, "z": 1})));
        assert_eq!(call("strict", odd).await.unwrap_err().to_string(), "strict() got an unexpected keyword argument 'z'");
        assert_eq!(call("none", Params::none()).await, Err(RpcError::MethodNotFound("none".to_owned())));
        let wrong = call("strict", Params::positional(vec![json!("one")])).await.unwrap_err();
        assert!(wrong.to_string().starts_with("strict(): 'a' does not fit: "), "{wrong}");
    }

    #[test]
    fn inspection_shows_parameters_defaults_and_doc() {
        assert_eq!(
            table().find("m").unwrap().inspect(),
            json!({"params": {"a": {"kind": "POSITIONAL_OR_KEYWORD"}, "b": {"kind": "POSITIONAL_OR_KEYWORD", "default": 5},
                   "kw": {"kind": "VAR_KEYWORD"}}, "doc": "Does it."})
        );
    }
}
