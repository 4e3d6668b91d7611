//! The catalogue of built-in agents, by kind. A new agent gets a line here and nothing else outside its folder.

use std::sync::Arc;

use vt_agent::AgentKind;
use vt_backends::RemoteBus;
use vt_types::identity::known;

use crate::{actuator, data_mover, forwarder, historian, listener, platform_driver};

/// All kinds, alphabetical. Those that send to other platforms reach them over `remote`.
#[must_use]
pub fn all(remote: &Arc<dyn RemoteBus>) -> Vec<AgentKind> {
    let (to_forward, to_move) = (Arc::clone(remote), Arc::clone(remote));
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
            kind: "data_mover",
            distribution: "datamoveragent",
            version: "0.1",
            class_name: "DataMover",
            default_identity: "data.mover",
            summary: "Hands what is published to the historian of another platform.",
            publications_max: historian::PUBLICATIONS_MAX,
            build: Arc::new(move |config| data_mover::build(Arc::clone(&to_move), config)),
        },
        AgentKind {
            kind: "forwarder",
            distribution: "forwarderagent",
            version: "5.1",
            class_name: "ForwardHistorian",
            default_identity: "forward.historian",
            summary: "Publishes on another platform what is published here.",
            publications_max: historian::PUBLICATIONS_MAX,
            build: Arc::new(move |config| forwarder::build(Arc::clone(&to_forward), config)),
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
    use vt_backends::remote_bus::fake::FakePlatform;

    use super::*;

    fn kinds() -> Vec<AgentKind> {
        all(&(Arc::new(FakePlatform::new()) as Arc<dyn RemoteBus>))
    }

    #[test]
    fn the_catalogue_is_sorted_and_without_duplicates() {
        let kinds: Vec<_> = kinds().iter().map(|kind| kind.kind).collect();
        assert!(kinds.is_sorted_by(|a, b| a < b), "{kinds:?}");
    }

    #[test]
    fn default_identities_are_valid_and_each_is_built_without_a_configuration() {
        for kind in kinds() {
            let identity = kind.default_identity.replace("{n}", "1");
            assert!(vt_types::Identity::parse(&identity).is_ok(), "{identity}");
            assert!((kind.build)(serde_json::json!({})).is_ok(), "{}", kind.kind);
        }
    }
}
