//! The tree of devices and points as the configuration store of the platform driver describes it, whether or not the driver runs.
//! Reads `devices/<path>` entries and the registries that they link to; never asks a device anything.
//! Source: VOLTTRON documentation, "Driver configuration" and `volttron/platform/web/topic_tree.py`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Map, Value};
use vt_types::DevicePath;
use vt_types::topic::is_control;

/// Column of a registry with the name of a point.
const POINT_NAME: &str = "Volttron Point Name";
/// Column with the units.
const UNITS: &str = "Units";
/// Column that says whether a point can be set.
const WRITABLE: &str = "Writable";
/// Start of the entries that describe devices.
const DEVICES: &str = "devices/";
/// Start of a link to another entry.
const LINK: &str = "config://";
/// The driver's default period of a scrape.
const INTERVAL_S: f64 = 60.0;

/// One point as its registry row describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct PointInfo {
    /// Its name in topics.
    pub name: String,
    /// Its units as the registry spells them; may be empty.
    pub units: String,
    /// Whether it can be set.
    pub writable: bool,
    /// The registry row, keyed by column.
    pub row: Map<String, Value>,
}

/// One configured device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceNode {
    /// Where it stands.
    pub path: DevicePath,
    /// Which interface reads it; empty when the configuration does not say.
    pub driver_type: String,
    /// Period of its scrape, seconds.
    pub interval_s: f64,
    /// In the order of the registry; shared between devices with the same registry.
    pub points: Arc<Vec<PointInfo>>,
    /// What is wrong with its configuration, one sentence.
    pub problem: Option<String>,
}

impl DeviceNode {
    /// The point of that name.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<&PointInfo> {
        self.points.iter().find(|point| point.name == name)
    }
}

/// All configured devices, by path.
#[derive(Debug, Default)]
pub struct DeviceTree {
    devices: BTreeMap<String, Arc<DeviceNode>>,
}

impl DeviceTree {
    /// Builds the tree from the names of the driver's entries and their parsed contents.
    pub(super) fn build(names: &[String], parsed: impl Fn(&str) -> Option<Value>) -> Self {
        let mut registries = HashMap::new();
        let devices =
            names.iter().filter_map(|name| device(name, &parsed, &mut registries)).map(|node| (node.path.to_string(), node)).collect();
        Self { devices }
    }

    /// All devices, by path.
    pub fn devices(&self) -> impl Iterator<Item = &Arc<DeviceNode>> {
        self.devices.values()
    }

    /// Number of devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether no device is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The device at exactly this path.
    #[must_use]
    pub fn device(&self, path: &str) -> Option<&Arc<DeviceNode>> {
        self.devices.get(path)
    }

    /// Devices whose path is `prefix` or lies below it; all for the empty prefix.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<DeviceNode>> {
        self.devices
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(prefix))
            .filter(move |(path, _)| prefix.is_empty() || path.len() == prefix.len() || path.as_bytes()[prefix.len()] == b'/')
            .map(|(_, node)| node)
    }

    /// Devices at proper ancestors of `prefix`: for `a/b/c` those at `a` and `a/b`.
    pub(super) fn above<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<DeviceNode>> {
        prefix.match_indices('/').filter_map(|(end, _)| self.devices.get(&prefix[..end]))
    }
}

type Registries = HashMap<String, Result<Arc<Vec<PointInfo>>, String>>;

fn device(name: &str, parsed: &impl Fn(&str) -> Option<Value>, registries: &mut Registries) -> Option<Arc<DeviceNode>> {
    let path = name.get(..DEVICES.len()).filter(|start| start.eq_ignore_ascii_case(DEVICES)).map(|_| &name[DEVICES.len()..])?;
    let path = DevicePath::parse(path.trim_end_matches('/')).ok()?;
    let mut node = DeviceNode { path, driver_type: String::new(), interval_s: INTERVAL_S, points: Arc::default(), problem: None };
    let Some(Value::Object(config)) = parsed(name) else {
        node.problem = Some("its configuration is not a JSON object".to_owned());
        return Some(Arc::new(node));
    };
    if let Some(interval_s) = config.get("interval").and_then(number).filter(|interval_s| *interval_s > 0.0) {
        node.interval_s = interval_s;
    }
    match config.get("driver_type").and_then(Value::as_str) {
        Some(driver_type) => driver_type.clone_into(&mut node.driver_type),
        None => node.problem = Some("its configuration has no driver_type".to_owned()),
    }
    match config.get("registry_config") {
        None | Some(Value::Null) => {}
        Some(Value::String(link)) if link.starts_with(LINK) => {
            let target = link[LINK.len()..].trim();
            let registry = registries.entry(target.to_lowercase()).or_insert_with(|| match parsed(target) {
                Some(rows) => points(&rows).map(Arc::new).map_err(|problem| format!("registry {target}: {problem}")),
                None => Err(format!("its registry {link} is not in the configuration store or cannot be read")),
            });
            match registry {
                Ok(points) => node.points = Arc::clone(points),
                Err(problem) => node.problem = Some(problem.clone()),
            }
        }
        Some(rows) => match points(rows) {
            Ok(points) => node.points = Arc::new(points),
            Err(problem) => node.problem = Some(format!("registry_config: {problem}")),
        },
    }
    Some(Arc::new(node))
}

fn points(rows: &Value) -> Result<Vec<PointInfo>, String> {
    let Value::Array(rows) = rows else { return Err("a list of rows is expected".to_owned()) };
    let mut names = HashSet::new();
    let mut points = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let place = index + 1;
        let Value::Object(row) = row else { return Err(format!("row {place} is not an object keyed by column")) };
        let name = text(row, POINT_NAME);
        if name.is_empty() {
            // Blank lines and rows that only carry notes.
            continue;
        }
        if name.chars().any(is_control) {
            return Err(format!("row {place}, column {POINT_NAME}: control characters are not allowed in names"));
        }
        if !names.insert(name.clone()) {
            return Err(format!("row {place}, column {POINT_NAME}: the point {name:?} is defined twice"));
        }
        let writable = text(row, WRITABLE).eq_ignore_ascii_case("true");
        points.push(PointInfo { name, units: text(row, UNITS), writable, row: row.clone() });
    }
    Ok(points)
}

/// Text of a column, found without regard to case.
fn text(row: &Map<String, Value>, column: &str) -> String {
    let value = row.get(column).or_else(|| row.iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(column)).map(|(_, value)| value));
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(other) => other.to_string(),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A tree of `(path, [point; `!` marks a writable one])`.
    pub fn tree(devices: &[(&str, &[&str])]) -> DeviceTree {
        let entries: HashMap<String, Value> = devices
            .iter()
            .map(|(path, points)| {
                let rows: Vec<_> = points
                    .iter()
                    .map(|point| json!({POINT_NAME: point.trim_end_matches('!'), WRITABLE: if point.ends_with('!') { "TRUE" } else { "FALSE" }}))
                    .collect();
                (format!("devices/{path}"), json!({"driver_type": "fake", "registry_config": rows}))
            })
            .collect();
        let names: Vec<_> = entries.keys().cloned().collect();
        DeviceTree::build(&names, |name| entries.get(name).cloned())
    }

    #[test]
    fn devices_share_a_registry_and_problems_are_told() {
        let entries = HashMap::from([
            ("devices/a/b", json!({"driver_type": "fake", "interval": "5", "registry_config": "config://R.csv"})),
            ("devices/a/c", json!({"driver_type": "fake", "registry_config": "config://r.csv"})),
            ("devices/bad", json!({"driver_type": "fake", "registry_config": "config://gone.csv"})),
            ("devices/odd", json!([])),
            ("config", json!({})),
        ]);
        let names: Vec<_> = entries.keys().map(|name| (*name).to_owned()).collect();
        let tree = DeviceTree::build(&names, |name| match name {
            "R.csv" | "r.csv" => Some(json!([{"Volttron Point Name": "T", "units": "C", "Writable": "True"}, {"Volttron Point Name": ""}])),
            name => entries.get(name).cloned(),
        });
        assert_eq!(tree.len(), 4);
        let (b, c) = (tree.device("a/b").unwrap(), tree.device("a/c").unwrap());
        assert!(Arc::ptr_eq(&b.points, &c.points));
        assert_eq!((b.interval_s, c.interval_s), (5.0, 60.0));
        let point = b.point("T").unwrap();
        assert_eq!((point.units.as_str(), point.writable), ("C", true));
        assert!(tree.device("bad").unwrap().problem.as_deref().unwrap().contains("gone.csv"));
        assert!(tree.device("odd").unwrap().problem.is_some());
    }

    #[test]
    fn a_point_defined_twice_is_a_problem() {
        let tree = tree(&[("a", &["p", "p"])]);
        assert_eq!(
            tree.device("a").unwrap().problem.as_deref(),
            Some("registry_config: row 2, column Volttron Point Name: the point \"p\" is defined twice")
        );
    }

    #[test]
    fn below_respects_segments() {
        let tree = tree(&[("a/b", &[]), ("a/bc", &[]), ("a/b/c", &[]), ("a-b", &[])]);
        let paths: Vec<_> = tree.below("a/b").map(|node| node.path.as_str()).collect();
        assert_eq!(paths, ["a/b", "a/b/c"]);
        assert_eq!(tree.below("").count(), 4);
        assert_eq!(tree.above("a/b/c/d").map(|node| node.path.as_str()).collect::<Vec<_>>(), ["a/b", "a/b/c"]);
    }
}
