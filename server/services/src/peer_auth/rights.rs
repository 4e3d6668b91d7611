//! Whether somebody's capabilities suffice for a call. Refusals are in VOLTTRON's words (`vip/agent/subsystems/rpc.py`).

use serde_json::{Map, Value};
use vt_backends::repositories::peer_auth::entry;
use vt_backends::{Capabilities, Grant};

use super::rules::compile;

/// What is known of a call's arguments.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    /// By name.
    pub named: &'a Map<String, Value>,
    /// Whether further ones were given whose names only the callee knows. It then checks them itself.
    pub has_others: bool,
}

/// Checks that `held` covers `needed` for a call of `method` with these arguments.
///
/// # Errors
/// The refusal.
pub fn check(user: &str, held: &Capabilities, method: &str, needed: &[String], arguments: Arguments<'_>) -> Result<(), String> {
    if needed.iter().any(|name| held.get(name).is_none()) {
        let needed = needed.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let held = held.to_json();
        return Err(format!("method '{method}' requires capabilities {{{needed}}}, but capability {held} was provided for user {user}"));
    }
    needed.iter().try_for_each(|name| match held.get(name) {
        Some(Grant::Only(only)) => only.iter().try_for_each(|(name, allowed)| fits(user, method, name, allowed, arguments)),
        _ => Ok(()),
    })
}

/// Checks one argument of a call against what is allowed: a value, or `/pattern/` that matches from end to end.
///
/// # Errors
/// The refusal.
pub fn fits(user: &str, method: &str, name: &str, allowed: &Value, arguments: Arguments<'_>) -> Result<(), String> {
    let Some(given) = arguments.named.get(name) else {
        if arguments.has_others {
            return Ok(());
        }
        return Err(format!("User {user} capability is not defined properly. method {method} does not have a parameter {name}"));
    };
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pattern = allowed.as_str().and_then(entry::pattern);
    let is_fitting = match pattern {
        Some(pattern) => compile(pattern).is_ok_and(|regex| given.as_str().is_some_and(|text| regex.is_match(text))),
        None => given == allowed,
    };
    if is_fitting {
        return Ok(());
    }
    let (allowed, given) = (shown(allowed), shown(given));
    let wanted = if pattern.is_some() { format!("{name} matching pattern {allowed}") } else { format!("{name}={allowed}") };
    Err(format!("User {user} can call method {method} only with {wanted} but called with {name}={given}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn try_with(held: &Capabilities, needed: &[&str], named: &Value, has_others: bool) -> Result<(), String> {
        let needed: Vec<_> = needed.iter().map(|name| (*name).to_owned()).collect();
        check("u", held, "m", &needed, Arguments { named: named.as_object().unwrap(), has_others })
    }

    #[test]
    fn all_that_is_needed_must_be_held() {
        let held = Capabilities::new().with("a").with("b");
        assert_eq!(try_with(&held, &["a", "b"], &json!({}), false), Ok(()));
        assert_eq!(try_with(&held, &[], &json!({}), false), Ok(()));
        let refused = try_with(&held, &["a", "c"], &json!({}), false).unwrap_err();
        assert_eq!(refused, r#"method 'm' requires capabilities {'a', 'c'}, but capability {"a":null,"b":null} was provided for user u"#);
    }

    #[test]
    fn restrictions_are_values_or_patterns_from_end_to_end() {
        let held = Capabilities::new().with_only("a", "identity", "/p\\..*/").with_only("b", "n", "5");
        assert_eq!(try_with(&held, &["a"], &json!({"identity": "p.driver"}), false), Ok(()));
        let refused = try_with(&held, &["a"], &json!({"identity": "xp.driver"}), false).unwrap_err();
        assert_eq!(refused, "User u can call method m only with identity matching pattern /p\\..*/ but called with identity=xp.driver");
        let refused = try_with(&held, &["b"], &json!({"n": 5}), false).unwrap_err();
        assert_eq!(refused, "User u can call method m only with n=5 but called with n=5", "a number is no text");
        assert!(try_with(&held, &["a"], &json!({}), false).unwrap_err().contains("does not have a parameter identity"));
        assert_eq!(try_with(&held, &["a"], &json!({}), true), Ok(()), "the callee knows its parameters");
        let broken = Capabilities::new().with_only("a", "x", "/(/");
        assert!(try_with(&broken, &["a"], &json!({"x": "("}), false).is_err());
    }
}
