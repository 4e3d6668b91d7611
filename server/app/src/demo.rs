//! The demonstration building: simulated devices, the agents that read and store them, all through the same services that people use.

use serde_json::json;
use vt_services::{Caller, ConfigType, InstallRequest, Services};
use vt_types::{Identity, Priority, Tag};

const DRIVER: &str = "platform.driver";

/// VOLTTRON's sample registry of a simulated device.
const FAKE_REGISTRY: &str = include_str!("demo/fake.csv");
/// Registry of an air handling unit whose values move.
const AHU_REGISTRY: &str = include_str!("demo/ahu.csv");
/// Registry of an electricity meter.
const METER_REGISTRY: &str = include_str!("demo/meter.csv");
/// Registry of a room controller.
const ROOM_REGISTRY: &str = include_str!("demo/room.csv");

/// Entries of the configuration store for VOLTTRON's sample device: name, text, type.
#[must_use]
pub fn fake_device_entries() -> Vec<(String, String, &'static str)> {
    vec![
        ("fake.csv".to_owned(), FAKE_REGISTRY.to_owned(), "csv"),
        device("fake-campus/fake-building/fake-device", "fake.csv", 5, &json!({"timezone": "US/Pacific", "heart_beat_point": "Heartbeat"})),
    ]
}

fn demonstration_entries() -> Vec<(String, String, &'static str)> {
    let mut entries = fake_device_entries();
    for (name, text) in [("ahu.csv", AHU_REGISTRY), ("meter.csv", METER_REGISTRY), ("room.csv", ROOM_REGISTRY)] {
        entries.push((name.to_owned(), text.to_owned(), "csv"));
    }
    for unit in ["ahu-1", "ahu-2"] {
        entries.push(device(&format!("demo/main-building/{unit}"), "ahu.csv", 2, &json!({})));
    }
    entries.push(device("demo/main-building/meter", "meter.csv", 1, &json!({})));
    for room in ["101", "102", "201", "202"] {
        entries.push(device(&format!("demo/main-building/floor-{}/room-{room}", &room[..1]), "room.csv", 5, &json!({})));
    }
    entries
}

fn device(path: &str, registry: &str, interval_s: u32, more: &serde_json::Value) -> (String, String, &'static str) {
    let mut config = json!({
        "driver_config": {},
        "registry_config": format!("config://{registry}"),
        "interval": interval_s,
        "timezone": "UTC",
        "driver_type": "fakedriver",
    });
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    (format!("devices/{path}"), config.to_string(), "json")
}

/// Sets up what is missing of the demonstration; what people changed stays.
///
/// # Errors
/// The first thing that could not be set up.
pub async fn set_up(services: &Services) -> anyhow::Result<()> {
    let caller = Caller::local("demo");
    let driver = Identity::known(DRIVER);
    let known = services.configs.names(&driver);
    let entries: Vec<_> = demonstration_entries()
        .into_iter()
        .filter(|(name, ..)| !known.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|(name, text, kind)| (name, if kind == "csv" { ConfigType::Csv } else { ConfigType::Json }, text))
        .collect();
    if !entries.is_empty() {
        services.configs.set_many(&caller, &driver, entries).await?;
    }
    for (kind, identity, priority) in [
        ("platform_historian", "platform.historian", "90"),
        ("platform_driver", DRIVER, "50"),
        ("actuator", "platform.actuator", "40"),
        ("listener", "listener", "10"),
    ] {
        if services.agents.by_identity(identity).is_some() {
            continue;
        }
        let request = InstallRequest {
            kind: kind.to_owned(),
            identity: Some(identity.to_owned()),
            tag: Some(Tag::parse(kind)?),
            priority: Some(Priority::parse(priority)?),
            config: None,
            force: false,
        };
        services.agents.install(&caller, request).await?;
    }
    Ok(())
}
