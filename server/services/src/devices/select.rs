//! Which points a topic pattern means: literal segments, `-` for any one segment, a regular expression over full identifiers.
//! Anchored throughout: `pier4` never selects anything under `x/pier4`, and `zone-2` is a name. Source: VOLTTRON `vui_endpoints.py`
//! (devices), corrected where its patterns matched more than was asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::PointRef;
use super::tree::{DeviceNode, DeviceTree, PointInfo};
use crate::ServiceError;

/// A segment that stands for any one segment.
pub const WILDCARD: &str = "-";
/// Largest compiled regular expression, in bytes; larger ones are refused.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A selected point.
#[derive(Debug, Clone)]
pub struct SelectedPoint {
    /// The device that it belongs to.
    pub device: Arc<DeviceNode>,
    index: usize,
}

impl SelectedPoint {
    /// Its description.
    #[must_use]
    pub fn info(&self) -> &PointInfo {
        &self.device.points[self.index]
    }

    /// `campus/building/unit/point`.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{}/{}", self.device.path, self.info().name)
    }

    /// As the point is named in calls.
    #[must_use]
    pub fn point_ref(&self) -> PointRef {
        PointRef { path: self.device.path.clone(), point: self.info().name.clone() }
    }
}

/// What a pattern selects.
#[derive(Debug, Default)]
pub struct Selection {
    /// Names of the next segment below what was asked, sorted, once each.
    pub next: Vec<String>,
    /// All points at or below what was asked, by device.
    pub points: Vec<SelectedPoint>,
    /// Devices that lie at or below what was asked with all their points; none when a filter narrows the points.
    pub devices: Vec<Arc<DeviceNode>>,
    /// The pattern names points themselves, and nothing lies below it.
    pub is_points: bool,
    /// The pattern names exactly one device.
    pub is_device: bool,
    /// More than one point could be meant by the way it was asked, whatever was found.
    pub is_plural: bool,
    /// Segments of the pattern.
    depth: usize,
}

impl DeviceTree {
    /// Selects by `pattern`, such as `campus/-/unit/point` (empty = everything), keeping of the points only those in whose identifier
    /// `devices/<topic>` the expression `regex` is found.
    ///
    /// # Errors
    /// `NotFound` if no device or point matches `pattern` (never for the empty pattern), `Invalid` for a broken expression.
    pub fn select(&self, pattern: &str, regex: Option<&str>) -> Result<Selection, ServiceError> {
        let regex = regex.map(compile).transpose()?;
        let pattern = pattern.trim_matches('/');
        let segments: Vec<&str> = if pattern.is_empty() { Vec::new() } else { pattern.split('/').collect() };
        let literal = segments.iter().take_while(|segment| **segment != WILDCARD).copied().collect::<Vec<_>>().join("/");
        let mut found = Found {
            segments: &segments,
            regex: regex.as_ref(),
            next: BTreeSet::new(),
            selection: Selection::default(),
            matched: 0,
            exact: 0,
        };
        for device in self.above(&literal).chain(self.below(&literal)) {
            found.take(device);
        }
        if found.matched == 0 && !segments.is_empty() {
            return Err(ServiceError::NotFound(format!("Device topic {pattern} not found.")));
        }
        let Found { next, mut selection, matched, exact, .. } = found;
        let wildcard = segments.contains(&WILDCARD);
        selection.depth = segments.len();
        selection.next = next.into_iter().map(str::to_owned).collect();
        selection.is_points = matched > 0 && exact == matched;
        selection.is_device = !wildcard && selection.devices.len() == 1 && selection.devices[0].path.as_str() == pattern;
        selection.is_plural = wildcard || regex.is_some() || !selection.is_points || selection.points.len() > 1;
        Ok(selection)
    }

    /// Names of the next segment below `prefix`, sorted.
    #[must_use]
    pub fn children(&self, prefix: &str) -> Vec<String> {
        self.select(prefix, None).map(|selection| selection.next).unwrap_or_default()
    }
}

impl Selection {
    /// Keeps only points whose topic is one of `topics` or lies below one; for tags.
    pub fn keep_below(&mut self, topics: &[String]) {
        let topics: Vec<&str> = topics.iter().map(|topic| topic.strip_prefix("devices/").unwrap_or(topic).trim_matches('/')).collect();
        self.points.retain(|point| {
            let topic = point.topic();
            topics.iter().any(|wanted| topic.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        });
        let next: BTreeSet<String> =
            self.points.iter().filter_map(|point| point.topic().split('/').nth(self.depth).map(str::to_owned)).collect();
        self.next = next.into_iter().collect();
        self.devices.clear();
        self.is_device = false;
        self.is_plural = true;
    }
}

struct Found<'a> {
    segments: &'a [&'a str],
    regex: Option<&'a Regex>,
    next: BTreeSet<&'a str>,
    selection: Selection,
    /// Devices without a selected point and points that match, the regular expression left aside.
    matched: usize,
    /// Those of them that the pattern names in full.
    exact: usize,
}

impl<'a> Found<'a> {
    fn take(&mut self, device: &'a Arc<DeviceNode>) {
        let mut names = device.path.as_str().split('/');
        let mut asked = self.segments.iter();
        let next = loop {
            match (asked.as_slice().first(), names.clone().next()) {
                (_, None) | (None, Some(_)) => break names.next(),
                (Some(wanted), Some(name)) if fits(wanted, name) => {
                    asked.next();
                    names.next();
                }
                _ => return,
            }
        };
        let rest = asked.as_slice();
        if rest.is_empty() {
            self.matched += usize::from(device.points.is_empty());
            if self.regex.is_none() {
                self.selection.devices.push(Arc::clone(device));
                self.next.extend(next);
            }
        }
        for (index, point) in device.points.iter().enumerate() {
            let Some(below) = below(rest, &point.name) else { continue };
            self.matched += 1;
            self.exact += usize::from(below.is_empty() && !rest.is_empty());
            if self.regex.is_some_and(|regex| !regex.is_match(&format!("devices/{}/{}", device.path, point.name))) {
                continue;
            }
            self.next.extend(next.or_else(|| below.split('/').next().filter(|name| !name.is_empty())));
            self.selection.points.push(SelectedPoint { device: Arc::clone(device), index });
        }
    }
}

fn fits(wanted: &str, name: &str) -> bool {
    wanted == WILDCARD || wanted == name
}

/// What is left of a point's name (which may hold slashes) after `wanted` is taken away; `None` if it does not fit.
fn below<'a>(wanted: &[&str], name: &'a str) -> Option<&'a str> {
    let mut rest = name;
    for segment in wanted {
        let (first, others) = rest.split_once('/').unwrap_or((rest, ""));
        if first.is_empty() || !fits(segment, first) {
            return None;
        }
        rest = others;
    }
    Some(rest)
}

fn compile(text: &str) -> Result<Regex, ServiceError> {
    RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        ServiceError::Invalid(format!("regex is not a usable regular expression: {}", error.to_string().replace('\n', " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::tree;
    use super::*;

    fn topics(selection: &Selection) -> Vec<String> {
        selection.points.iter().map(SelectedPoint::topic).collect()
    }

    fn harbor() -> DeviceTree {
        tree(&[
            ("harbor/pier4/ahu2", &["SupplyTemp!", "a+b.c"]),
            ("harbor/pier5/ahu2", &["SupplyTemp!"]),
            ("x/harbor/zone-2", &["T"]),
            ("x/harbor/zone12", &["T"]),
        ])
    }

    #[test]
    fn links_lead_down_to_points() {
        let tree = harbor();
        assert_eq!(tree.children(""), ["harbor", "x"]);
        assert_eq!(tree.children("harbor/pier4"), ["ahu2"]);
        assert_eq!(tree.children("harbor/pier4/ahu2"), ["SupplyTemp", "a+b.c"]);
        let point = tree.select("harbor/pier4/ahu2/SupplyTemp", None).unwrap();
        assert!(point.is_points && !point.is_plural && !point.is_device);
        assert_eq!(topics(&point), ["harbor/pier4/ahu2/SupplyTemp"]);
        assert!(tree.select("harbor/pier4/ahu2", None).unwrap().is_device);
    }

    #[test]
    fn a_dash_is_one_segment_and_everything_else_is_itself() {
        let tree = harbor();
        let wild = tree.select("harbor/-/ahu2/SupplyTemp", None).unwrap();
        assert_eq!(topics(&wild), ["harbor/pier4/ahu2/SupplyTemp", "harbor/pier5/ahu2/SupplyTemp"]);
        assert!(wild.is_points && wild.is_plural);
        assert_eq!(tree.select("harbor/-/ahu2", None).unwrap().next, ["SupplyTemp", "a+b.c"]);
        assert_eq!(topics(&tree.select("-/harbor/zone-2", None).unwrap()), ["x/harbor/zone-2/T"]);
        assert_eq!(topics(&tree.select("harbor/pier4/ahu2/a+b.c", None).unwrap()), ["harbor/pier4/ahu2/a+b.c"]);
        assert!(matches!(tree.select("harbor/pier4/ahu2/aab.c", None), Err(ServiceError::NotFound(_))));
        assert!(tree.select("-", None).unwrap().is_plural, "a leading wildcard counts");
    }

    #[test]
    fn selections_are_anchored() {
        let tree = harbor();
        assert_eq!(topics(&tree.select("harbor", None).unwrap()).len(), 3, "nothing from x/harbor");
        assert!(matches!(tree.select("pier4", None), Err(ServiceError::NotFound(_))));
        assert!(matches!(tree.select("harbor/pier4/ahu2/SupplyTemp/more", None), Err(ServiceError::NotFound(_))));
    }

    #[test]
    fn regular_expressions_narrow_the_points() {
        let tree = harbor();
        let found = tree.select("", Some("^devices/.*pier[45]/.*Temp$")).unwrap();
        assert_eq!(topics(&found).len(), 2);
        assert_eq!(found.next, ["harbor"]);
        assert!(found.devices.is_empty(), "a narrowed device is not a whole one");
        assert!(matches!(tree.select("", Some("(")), Err(ServiceError::Invalid(_))));
        assert!(tree.select("harbor", Some("nothing")).unwrap().points.is_empty());
    }

    #[test]
    fn tags_keep_what_lies_below_them() {
        let tree = harbor();
        let mut found = tree.select("", None).unwrap();
        found.keep_below(&["devices/harbor/pier4".to_owned(), "x/harbor/zone".to_owned()]);
        assert_eq!(topics(&found), ["harbor/pier4/ahu2/SupplyTemp", "harbor/pier4/ahu2/a+b.c"]);
        assert_eq!(found.next, ["harbor"]);
    }

    #[test]
    fn an_empty_tree_has_no_children_and_is_no_error() {
        assert!(tree(&[]).select("", None).unwrap().next.is_empty());
    }
}
