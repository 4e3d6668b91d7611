//! `/devices` and every place above a device: the tree with live values. Small buildings show every point; large ones show devices, and very
//! large ones a level at a time, so that a page stays a page.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use vt_services::{DeviceNode, Services};

use super::agents::Filter;
use super::overview::device_status;
use super::view::{Crumb, DeviceRow, PointRow, Reading, crumbs};
use crate::cx::{Viewer, page};
use crate::error::PageError;
use crate::frame::{Frame, Section};
use crate::ui;

/// With more points than this, devices are shown without them.
const POINTS_MAX: usize = 1200;
/// With more devices than this, one level is shown at a time.
const DEVICES_MAX: usize = 600;
/// Rows of one level at most.
const LEVEL_MAX: usize = 1000;

/// A place that holds devices.
#[derive(Debug, Clone, Default)]
pub struct Branch {
    /// Its path.
    pub path: String,
    /// Last segment.
    pub name: String,
    /// Its page.
    pub href: String,
    /// Devices below.
    pub devices: usize,
    /// Those in trouble.
    pub trouble: usize,
}

impl Branch {
    fn at(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Self { path: path.to_owned(), name, href: format!("/devices/{}", ui::path(path)), devices: 0, trouble: 0 }
    }
    fn count_words(&self) -> String {
        if self.devices == 1 { "1 device".to_owned() } else { format!("{} devices", self.devices) }
    }
    fn trouble_words(&self) -> String {
        format!("{} in trouble", self.trouble)
    }
    fn trouble_word(&self) -> &'static str {
        if self.trouble > 0 { "yes" } else { "no" }
    }
}

/// The tree in the order in which it is written.
#[derive(Debug, Clone)]
pub enum TreeItem {
    /// A place with what lies below it, up to its [`TreeItem::Close`].
    Open(Branch),
    /// A device with its points, up to its [`TreeItem::Close`].
    OpenDevice(Box<DeviceRow>),
    /// A point.
    Point(Box<PointRow>),
    /// A device without its points.
    Device(Box<DeviceRow>),
    /// A place on a page of its own.
    Group(Branch),
    /// The end of the last place or device that is open.
    Close,
}

/// The page.
#[derive(Template)]
#[template(path = "devices.html")]
pub struct DevicesPage {
    /// Surroundings.
    pub frame: Frame,
    /// Where this is; empty for the root.
    pub prefix: String,
    /// The way here.
    pub crumbs: Vec<Crumb>,
    /// The tree.
    pub items: Vec<TreeItem>,
    /// Devices below.
    pub device_count: usize,
    /// Points of those.
    pub point_count: usize,
    /// Devices in trouble.
    pub trouble_count: usize,
    /// Rows that a filter can hide.
    pub row_count: usize,
    /// What was left out, or why states are unknown.
    pub notice: Option<String>,
    /// Not everything is in the page, so the server filters.
    pub partial: bool,
    /// The filter.
    pub query: String,
}

impl DevicesPage {
    fn trouble_words(&self) -> String {
        format!("{} in trouble", self.trouble_count)
    }
}

/// `GET /devices`
pub async fn root(viewer: Viewer, Query(filter): Query<Filter>) -> Result<Response, PageError> {
    branch(&viewer, "", &filter).await
}

/// The tree below `prefix`.
pub async fn branch(viewer: &Viewer, prefix: &str, filter: &Filter) -> Result<Response, PageError> {
    let services = &viewer.cx.web.services;
    let status = device_status(services).await;
    let tree = services.devices.tree();
    let mut found: Vec<Found> = tree
        .below(prefix)
        .filter_map(|node| {
            let points = wanted_points(node, filter)?;
            let latest = services.live.latest(node.path.depth_first_all().as_str());
            let row = DeviceRow::of(node, status.get(node.path.as_str()), latest.as_deref(), viewer.cx.now);
            Some(Found { node: Arc::clone(node), row, points })
        })
        .collect();
    found.sort_by(|one, other| one.row.path.split('/').cmp(other.row.path.split('/')));
    let point_count = found.iter().map(|found| found.points.len()).sum();
    let leveled = found.len() > DEVICES_MAX;
    let with_points = !leveled && point_count <= POINTS_MAX;
    let (items, cut) = if leveled { level(prefix, &found) } else { (tree_items(services, prefix, &found, with_points), false) };
    let silent = status.is_empty() && !found.is_empty();
    let notice = if cut {
        Some(format!("Only the first {LEVEL_MAX} rows of this level are shown; the filter finds the others."))
    } else {
        silent.then(|| "The platform driver does not say how its devices are. It may be stopped; start it on the agents page.".to_owned())
    };
    page(&DevicesPage {
        frame: viewer.cx.frame(Section::Devices),
        prefix: prefix.to_owned(),
        crumbs: crumbs(prefix),
        row_count: items.iter().filter(|item| matches!(item, TreeItem::Point(_) | TreeItem::Device(_) | TreeItem::Group(_))).count(),
        items,
        device_count: found.len(),
        point_count,
        trouble_count: found.iter().filter(|found| found.row.in_trouble()).count(),
        notice,
        partial: leveled || !with_points,
        query: filter.q.clone(),
    })
}

struct Found {
    node: Arc<DeviceNode>,
    row: DeviceRow,
    /// Indices of the points that fit the filter.
    points: Vec<usize>,
}

/// The points of a device that fit; `None` if neither it nor any of its points does.
fn wanted_points(node: &DeviceNode, filter: &Filter) -> Option<Vec<usize>> {
    if filter.q.trim().is_empty() || filter.fits(node.path.as_str()) {
        return Some((0..node.points.len()).collect());
    }
    let fitting: Vec<usize> = node
        .points
        .iter()
        .enumerate()
        .filter(|(_, point)| filter.fits(&format!("{}/{}", node.path, point.name)))
        .map(|(index, _)| index)
        .collect();
    (!fitting.is_empty()).then_some(fitting)
}

/// The whole tree below `prefix`.
fn tree_items(services: &Services, prefix: &str, found: &[Found], with_points: bool) -> Vec<TreeItem> {
    let counts = counts(prefix, found);
    let mut items = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for Found { node, row, points } in found {
        let places: Vec<&str> = parents(prefix, &row.path).collect();
        let shared = open.iter().zip(&places).take_while(|(one, other)| one == other).count();
        while open.len() > shared {
            open.pop();
            items.push(TreeItem::Close);
        }
        for place in &places[shared..] {
            open.push(place);
            items.push(TreeItem::Open(counts.get(place).cloned().unwrap_or_else(|| Branch::at(place))));
        }
        if !with_points {
            items.push(TreeItem::Device(Box::new(row.clone())));
            continue;
        }
        let reading = Reading::of(services.live.latest(node.path.depth_first_all().as_str()).as_ref());
        items.push(TreeItem::OpenDevice(Box::new(row.clone())));
        items.extend(points.iter().map(|index| TreeItem::Point(Box::new(PointRow::of(row, &node.points[*index], &reading)))));
        items.push(TreeItem::Close);
    }
    items.extend(open.iter().map(|_| TreeItem::Close));
    items
}

/// The next level below `prefix` alone, and whether rows were left out.
fn level(prefix: &str, found: &[Found]) -> (Vec<TreeItem>, bool) {
    let counts = counts(prefix, found);
    let mut items = Vec::new();
    let mut last = "";
    for Found { row, .. } in found {
        match parents(prefix, &row.path).next() {
            None => items.push(TreeItem::Device(Box::new(row.clone()))),
            Some(place) if place != last => {
                last = place;
                items.push(TreeItem::Group(counts.get(place).cloned().unwrap_or_else(|| Branch::at(place))));
            }
            Some(_) => {}
        }
    }
    let cut = items.len() > LEVEL_MAX;
    items.truncate(LEVEL_MAX);
    (items, cut)
}

/// Paths of the places between `prefix` and the device at `path`, outermost first.
fn parents<'a>(prefix: &str, path: &'a str) -> impl Iterator<Item = &'a str> {
    let from = if prefix.is_empty() { 0 } else { prefix.len() + 1 };
    path.match_indices('/').map(|(end, _)| end).filter(move |end| *end > from).map(|end| &path[..end])
}

fn counts<'a>(prefix: &str, found: &'a [Found]) -> BTreeMap<&'a str, Branch> {
    let mut counts: BTreeMap<&str, Branch> = BTreeMap::new();
    for Found { row, .. } in found {
        for place in parents(prefix, &row.path) {
            let branch = counts.entry(place).or_insert_with(|| Branch::at(place));
            branch.devices += 1;
            branch.trouble += usize::from(row.in_trouble());
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_lie_between_prefix_and_device() {
        assert_eq!(parents("", "a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("a", "a/b/c").collect::<Vec<_>>(), ["a/b"]);
        assert_eq!(parents("a/b", "a/b/c").count(), 0);
        assert_eq!(parents("a/b", "a/b").count(), 0);
    }
}
