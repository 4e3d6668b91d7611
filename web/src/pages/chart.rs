//! `/chart-data/{topic}`: a point's history for its chart, `{"t": [ms], "v": [mean], "min": [], "max": [], "thinned": bool, "historian": name}`;
//! `note` says why there is none.

use axum::Json;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use vt_services::Services;
use vt_types::identity::known;
use vt_types::timestamp::{self, Timestamp};
use vt_types::{Identity, Topic};

use crate::cx::Viewer;
use crate::error::PageError;

const POINTS_DEFAULT: usize = 1000;
const POINTS_MAX: usize = 4000;

/// What part of the history.
#[derive(Debug, Deserialize)]
pub struct Range {
    from: String,
    to: String,
    #[serde(default)]
    points: Option<usize>,
}

/// The historian whose history is shown: the platform's own if it runs, else any.
#[must_use]
pub fn historian(services: &Services) -> Option<Identity> {
    let running = services.history.historians();
    running.iter().find(|identity| identity.as_str() == known::PLATFORM_HISTORIAN).or_else(|| running.first()).cloned()
}

/// `GET /chart-data/{topic}?from&to&points`
pub async fn data(viewer: Viewer, Path(topic): Path<String>, Query(range): Query<Range>) -> Result<Response, PageError> {
    let topic = Topic::parse(&topic).map_err(|error| PageError::invalid(error.to_string()))?;
    let (from, to) = (time("from", &range.from)?, time("to", &range.to)?);
    if from >= to {
        return Err(PageError::invalid("from must lie before to."));
    }
    let services = &viewer.cx.web.services;
    let Some(historian) = historian(services) else {
        let note = "No historian is running, so there is no history to draw. New readings appear as they arrive.";
        return Ok(Json(json!({"t": [], "v": [], "min": [], "max": [], "thinned": false, "note": note})).into_response());
    };
    let points = range.points.unwrap_or(POINTS_DEFAULT).clamp(10, POINTS_MAX);
    let series = services.history.chart(&historian, topic.as_str(), from, to, points).await?;
    let thinned = series.min.iter().zip(&series.max).any(|(low, high)| low != high);
    let body =
        json!({"t": series.times_ms, "v": series.mean, "min": series.min, "max": series.max, "thinned": thinned, "historian": historian});
    Ok(Json(body).into_response())
}

fn time(name: &str, text: &str) -> Result<Timestamp, PageError> {
    timestamp::parse(text).map(timestamp::Parsed::assume_utc).map_err(|error| PageError::invalid(format!("{name}: {error}.")))
}
