//! The catalogue of built-in agents, by kind. A new agent gets a line here and nothing else outside its folder.

use std::sync::Arc;

use vt_agent::AgentKind;
use vt_types::identity::known;

use crate::{actuator, historian, listener, platform_driver};

/// All kinds, alphabetical.
#[must_use]
pub fn all() -> Vec<AgentKind> {
    vec![
        AgentKind {
            kind: "actuator",
            distribution: "actuatoragent",
            version: "1.0",
            class_name: "ActuatorAgent",
            default_identity: known::PLATFORM_ACTUATOR,
            summary: "Reserves devices and writes to them for agents and people.",
            publications_max: 0,
            build: Arc::new(actuator::build),
        },
        AgentKind {
            kind: "listener",
            distribution: "listeneragent",
            version: "3.3",
            class_name: "ListenerAgent",
            default_identity: "listeneragent-3.3_{n}",
            summary: "Logs everything that is published.",
            publications_max: 0,
            build: Arc::new(listener::build),
        },
        AgentKind {
            kind: "platform_driver",
            distribution: "platform_driveragent",
            version: "4.0",
            class_name: "PlatformDriverAgent",
            default_identity: known::PLATFORM_DRIVER,
            summary: "Reads devices in their rhythm, publishes their values and writes to them.",
            publications_max: 0,
            build: Arc::new(platform_driver::build),
        },
        AgentKind {
            kind: "platform_historian",
            distribution: "sqlhistorianagent",
            version: historian::VERSION,
            class_name: "SQLHistorian",
            default_identity: known::PLATFORM_HISTORIAN,
            summary: "Stores what is published, in SQLite or PostgreSQL, and answers questions about it.",
            publications_max: historian::PUBLICATIONS_MAX,
            build: Arc::new(historian::build),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_and_without_duplicates() {
        let kinds: Vec<_> = all().iter().map(|kind| kind.kind).collect();
        assert!(kinds.is_sorted_by(|a, b| a < b), "{kinds:?}");
    }

    #[test]
    fn default_identities_are_valid_and_each_is_built_without_a_configuration() {
        for kind in all() {
            let identity = kind.default_identity.replace("{n}", "1");
            assert!(vt_types::Identity::parse(&identity).is_ok(), "{identity}");
            assert!((kind.build)(serde_json::json!({})).is_ok(), "{}", kind.kind);
        }
    }
}
