//! `/devices/{path}`: whatever lies there. A place shows its tree, a device its points, a point its value, its history, and the form to set it.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use vt_services::{AuditRecord, DeviceNode, DeviceTree, HistoryQuery, PointRef, Services};
use vt_types::timestamp::{self, Timestamp};
use vt_types::{ErrorKind, Identity};

use super::agents::Filter;
use super::chart::historian;
use super::devices;
use super::overview::device_status;
use super::view::{Crumb, DeviceRow, Kind, PointRow, Reading, crumbs};
use crate::csrf::Checked;
use crate::cx::{Viewer, back_with, page, page_with};
use crate::error::{PageError, sentence};
use crate::frame::{Frame, Section};
use crate::ui::{self, Tone};

/// Readings in the table that needs no scripts.
const READINGS: u64 = 30;
/// A page does not wait longer for its readings.
const READINGS_WAIT: Duration = Duration::from_secs(2);

/// A device.
#[derive(Template)]
#[template(path = "device.html")]
pub struct DevicePage {
    /// Surroundings.
    pub frame: Frame,
    /// The way here.
    pub crumbs: Vec<Crumb>,
    /// The device.
    pub device: DeviceRow,
    /// Its points.
    pub points: Vec<PointRow>,
    /// Its configuration entry.
    pub config_href: String,
    /// Whether the viewer may revert it.
    pub may_write: bool,
    /// The filter.
    pub query: String,
}

/// The last write of a point.
#[derive(Debug, Clone)]
pub struct LastWrite {
    /// Whether it worked.
    pub tone: Tone,
    /// `Written`, `Reverted`, `Refused`.
    pub word: &'static str,
    /// Who.
    pub user: String,
    /// When.
    pub at: Timestamp,
    /// The value, or what was wrong.
    pub detail: String,
}

/// A point.
#[derive(Template)]
#[template(path = "point.html")]
pub struct PointPage {
    /// Surroundings.
    pub frame: Frame,
    /// The way here.
    pub crumbs: Vec<Crumb>,
    /// Its device.
    pub device: DeviceRow,
    /// The point.
    pub point: PointRow,
    /// What it takes.
    pub kind: Kind,
    /// Whether it can be drawn.
    pub charted: bool,
    /// Where the chart's data are.
    pub chart_href: String,
    /// Whether the viewer may write.
    pub may_write: bool,
    /// What the form holds.
    pub draft: String,
    /// Why it was not written.
    pub problem: Option<String>,
    /// Who wrote last.
    pub last_write: Option<LastWrite>,
    /// The newest readings of the historian, newest first.
    pub readings: Vec<(Timestamp, String)>,
    /// Why there are none.
    pub history_problem: Option<String>,
    /// Columns of its registry row that say something.
    pub registry: Vec<(String, String)>,
    /// Where its values are published.
    pub topic: String,
}

enum Place {
    Branch,
    Device(Arc<DeviceNode>),
    Point(Arc<DeviceNode>, usize),
}

fn find(tree: &DeviceTree, path: &str) -> Option<Place> {
    if let Some(node) = tree.device(path) {
        return Some(Place::Device(Arc::clone(node)));
    }
    // Names of points may hold slashes.
    for (end, _) in path.rmatch_indices('/') {
        if let Some(node) = tree.device(&path[..end])
            && let Some(index) = node.points.iter().position(|point| point.name == path[end + 1..])
        {
            return Some(Place::Point(Arc::clone(node), index));
        }
    }
    tree.below(path).next().map(|_| Place::Branch)
}

fn missing(path: &str) -> PageError {
    PageError::not_found(format!("No device or point is configured at {}.", ui::plain(path)))
}

/// `GET /devices/{path}`
pub async fn show(viewer: Viewer, Path(path): Path<String>, Query(filter): Query<Filter>) -> Result<Response, PageError> {
    let path = path.trim_end_matches('/');
    match find(&viewer.cx.web.services.devices.tree(), path).ok_or_else(|| missing(path))? {
        Place::Branch => devices::branch(&viewer, path, &filter).await,
        Place::Device(node) => page(&device_page(&viewer, &node, &filter).await),
        Place::Point(node, index) => page(&point_page(&viewer, &node, index, None).await),
    }
}

async fn row(viewer: &Viewer, node: &DeviceNode) -> (DeviceRow, Reading) {
    let services = &viewer.cx.web.services;
    let status = device_status(services).await;
    let latest = services.live.latest(node.path.depth_first_all().as_str());
    (DeviceRow::of(node, status.get(node.path.as_str()), latest.as_deref(), viewer.cx.now), Reading::of(latest.as_ref()))
}

async fn device_page(viewer: &Viewer, node: &DeviceNode, filter: &Filter) -> DevicePage {
    let (device, reading) = row(viewer, node).await;
    let points = node.points.iter().filter(|point| filter.fits(&point.name)).map(|point| PointRow::of(&device, point, &reading)).collect();
    DevicePage {
        frame: viewer.cx.frame(Section::Devices),
        crumbs: crumbs(&device.path),
        points,
        config_href: format!("/agents/platform.driver/configs/devices/{}", ui::path(&device.path)),
        may_write: viewer.caller.may_use_vui() && node.points.iter().any(|point| point.writable),
        query: filter.q.clone(),
        device,
    }
}

/// A form that was refused: what was typed and why.
struct Refused {
    draft: String,
    problem: String,
}

async fn point_page(viewer: &Viewer, node: &DeviceNode, index: usize, refused: Option<Refused>) -> PointPage {
    let services = &viewer.cx.web.services;
    let (device, reading) = row(viewer, node).await;
    let info = &node.points[index];
    let point = PointRow::of(&device, info, &reading);
    let reference = PointRef { path: node.path.clone(), point: info.name.clone() };
    let (last_write, (readings, history_problem)) =
        tokio::join!(services.devices.last_write(&reference), readings(services, &reference, viewer.cx.refresh));
    let kind = point.kind;
    let (draft, problem) = match refused {
        Some(refused) => (refused.draft, Some(refused.problem)),
        None => {
            (unread_write(last_write.as_ref(), point.at).unwrap_or_else(|| point.raw.as_ref().map(ui::value).unwrap_or_default()), None)
        }
    };
    PointPage {
        frame: viewer.cx.frame(Section::Devices),
        crumbs: crumbs(&format!("{}/{}", device.path, point.name)),
        charted: kind != Kind::Text,
        chart_href: format!("/chart-data/{}", ui::path(&reference.topic())),
        kind,
        may_write: viewer.caller.may_use_vui(),
        draft,
        problem,
        last_write: last_write.map(last),
        readings,
        history_problem,
        registry: info
            .row
            .iter()
            .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""))
            .map(|(column, value)| (column.clone(), ui::value(value)))
            .collect(),
        topic: node.path.depth_first_all().to_string(),
        device,
        point,
    }
}

/// The value of a write that no reading has followed yet: what the form holds then, lest pressing the button again would undo the write.
fn unread_write(write: Option<&AuditRecord>, read_at: Option<Timestamp>) -> Option<String> {
    let write = write.filter(|write| write.success && read_at.is_none_or(|at| at < write.at))?;
    let value: Value = serde_json::from_str(write.detail.strip_prefix("value ")?).ok()?;
    Some(ui::value(&value))
}

fn last(record: AuditRecord) -> LastWrite {
    let (tone, word) = match (record.success, record.action.as_str()) {
        (true, "device.revert") => (Tone::Good, "Reverted"),
        (true, _) => (Tone::Good, "Written"),
        (false, _) => (Tone::Bad, "Refused"),
    };
    LastWrite { tone, word, user: record.user, at: record.at, detail: record.detail }
}

async fn readings(services: &Services, point: &PointRef, skip: bool) -> (Vec<(Timestamp, String)>, Option<String>) {
    if skip {
        return (Vec::new(), None);
    }
    let Some(historian) = historian(services) else { return (Vec::new(), Some("No historian is running, so nothing is kept.".to_owned())) };
    match tokio::time::timeout(READINGS_WAIT, newest(services, &historian, point)).await {
        Ok(Ok(readings)) if readings.is_empty() => (readings, Some(format!("{historian} has kept nothing of this point yet."))),
        Ok(Ok(readings)) => (readings, None),
        Ok(Err(error)) => (Vec::new(), Some(error.text)),
        Err(_) => (Vec::new(), Some(format!("{historian} did not answer in time."))),
    }
}

async fn newest(services: &Services, historian: &Identity, point: &PointRef) -> Result<Vec<(Timestamp, String)>, PageError> {
    let query = HistoryQuery { topics: vec![point.topic()], count: Some(READINGS), newest_first: true, ..HistoryQuery::default() };
    let series = services.history.query(historian, query).await?;
    let values = series.into_iter().next().map(|series| series.values).unwrap_or_default();
    Ok(values.into_iter().filter_map(|(at, value)| Some((timestamp::parse(&at).ok()?.assume_utc(), ui::value(&value)))).collect())
}

/// Fields of the forms of devices and points.
#[derive(Debug, Deserialize)]
pub struct ChangeForm {
    #[serde(default)]
    r#do: String,
    #[serde(default)]
    value: String,
}

/// `POST /devices/{path}`: `do=set` with `value`, or `do=revert`.
pub async fn change(viewer: Viewer, Path(path): Path<String>, Checked(form): Checked<ChangeForm>) -> Result<Response, PageError> {
    let path = path.trim_end_matches('/');
    let services = &viewer.cx.web.services;
    let href = format!("/devices/{}", ui::path(path));
    match find(&services.devices.tree(), path).ok_or_else(|| missing(path))? {
        Place::Branch => Err(missing(path)),
        Place::Device(node) if form.r#do == "revert" => match services.devices.revert_device(&viewer.caller, &node.path).await {
            Ok(()) => Ok(back_with(&viewer.cx, &href, Tone::Good, "The device is reverted.")),
            Err(error) if error.kind() == ErrorKind::Forbidden => Err(error.into()),
            Err(error) => Ok(back_with(&viewer.cx, &href, Tone::Bad, sentence(&error.to_string()))),
        },
        Place::Device(_) => Err(PageError::invalid("A device as a whole can only be reverted.")),
        Place::Point(node, index) => change_point(&viewer, &node, index, &form, &href).await,
    }
}

async fn change_point(viewer: &Viewer, node: &DeviceNode, index: usize, form: &ChangeForm, href: &str) -> Result<Response, PageError> {
    let services = &viewer.cx.web.services;
    let info = &node.points[index];
    let point = PointRef { path: node.path.clone(), point: info.name.clone() };
    let done =
        if form.r#do == "revert" {
            services.devices.revert_point(&viewer.caller, &point).await.map(|()| "The point is reverted.".to_owned())
        } else {
            let (_, reading) = row(viewer, node).await;
            let device = DeviceRow::of(node, None, None, viewer.cx.now);
            let value = match PointRow::of(&device, info, &reading).kind.read(&form.value) {
                Ok(value) => value,
                Err(problem) => return refuse(viewer, node, index, form, problem, StatusCode::UNPROCESSABLE_ENTITY).await,
            };
            services.devices.write(&viewer.caller, &point, value).await.map(|value| {
                format!("Written: {} {}", ui::value(&value), info.units).trim_end().to_owned() + ". The next reading shows it."
            })
        };
    match done {
        Ok(text) => Ok(back_with(&viewer.cx, href, Tone::Good, text)),
        Err(error) if error.kind() == ErrorKind::Forbidden => Err(error.into()),
        Err(error) => {
            let error = PageError::from(error);
            let status = error.status();
            refuse(viewer, node, index, form, error.text, status).await
        }
    }
}

async fn refuse(
    viewer: &Viewer,
    node: &DeviceNode,
    index: usize,
    form: &ChangeForm,
    problem: String,
    status: StatusCode,
) -> Result<Response, PageError> {
    let refused = Refused { draft: form.value.clone(), problem };
    page_with(status, &point_page(viewer, node, index, Some(refused)).await)
}
