//! `/search?q=`: one box for agents, devices, points and configuration entries. All words must occur; better matches come first.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use vt_types::Identity;
use vt_types::identity::known;

use super::agents::Filter;
use crate::cx::{Viewer, page};
use crate::error::PageError;
use crate::frame::{Frame, Section};
use crate::ui;

/// Hits shown of each kind.
const HITS_MAX: usize = 40;
/// Longest question looked at, in characters.
const QUESTION_CHARS_MAX: usize = 200;

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What it is called.
    pub name: String,
    /// Where it lies, or what it is.
    pub place: String,
    /// Its page.
    pub href: String,
}

/// Hits of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Heading.
    pub heading: &'static str,
    /// Its icon.
    pub icon: &'static str,
    /// The best hits.
    pub hits: Vec<Hit>,
    /// How many are not shown.
    pub more: usize,
}

/// The page.
#[derive(Template)]
#[template(path = "search.html")]
pub struct SearchPage {
    /// Surroundings.
    pub frame: Frame,
    /// The question.
    pub query: String,
    /// What was found; kinds without hits are left out.
    pub groups: Vec<Group>,
}

/// `GET /search?q=`
pub async fn show(viewer: Viewer, Query(mut filter): Query<Filter>) -> Result<Response, PageError> {
    filter.q = filter.q.chars().take(QUESTION_CHARS_MAX).collect();
    let groups = if filter.q.trim().is_empty() { Vec::new() } else { find(&viewer, &filter) };
    page(&SearchPage { frame: viewer.cx.frame(Section::None), query: filter.q, groups })
}

fn find(viewer: &Viewer, filter: &Filter) -> Vec<Group> {
    let services = &viewer.cx.web.services;
    let tree = services.devices.tree();
    let agents = services.agents.list().into_iter().map(|agent| Hit {
        href: format!("/agents/{}", ui::segment(agent.identity.as_str())),
        name: agent.identity.to_string(),
        place: agent.tag.as_ref().map_or_else(|| agent.name.clone(), |tag| format!("{}, {}", tag.as_str(), agent.name)),
    });
    let devices = tree.devices().map(|node| Hit {
        href: format!("/devices/{}", ui::path(node.path.as_str())),
        name: node.path.to_string(),
        place: node.driver_type.clone(),
    });
    let points = tree.devices().flat_map(|node| {
        node.points.iter().filter(|point| filter.fits(&format!("{}/{}", node.path, point.name))).map(|point| Hit {
            href: format!("/devices/{}/{}", ui::path(node.path.as_str()), ui::path(&point.name)),
            name: point.name.clone(),
            place: node.path.to_string(),
        })
    });
    let driver = Identity::known(known::PLATFORM_DRIVER);
    let stores = services.configs.stores().into_iter().chain([driver]);
    let entries = stores.collect::<std::collections::BTreeSet<_>>().into_iter().flat_map(|identity| {
        let agent = ui::segment(identity.as_str());
        services.configs.names(&identity).into_iter().map(move |name| Hit {
            href: format!("/agents/{agent}/configs/{}", ui::path(&name)),
            name,
            place: identity.to_string(),
        })
    });
    let groups = [
        group("Agents", "agents", filter, agents),
        group("Devices", "devices", filter, devices),
        group("Points", "point", filter, points),
        group("Configuration entries", "folder", filter, entries),
    ];
    groups.into_iter().filter(|group| !group.hits.is_empty()).collect()
}

fn group(heading: &'static str, icon: &'static str, filter: &Filter, hits: impl Iterator<Item = Hit>) -> Group {
    let mut hits: Vec<Hit> = hits
        .filter(|hit| filter.fits(&format!("{} {}", hit.place, hit.name)) || filter.fits(&format!("{}/{}", hit.place, hit.name)))
        .collect();
    let question = filter.q.trim().to_lowercase();
    // What is called so stands before what begins so, that before what contains it.
    hits.sort_by_cached_key(|hit| {
        let name = hit.name.to_lowercase();
        (name != question, !name.starts_with(&question), name.len(), hit.place.clone(), name)
    });
    let more = hits.len().saturating_sub(HITS_MAX);
    hits.truncate(HITS_MAX);
    Group { heading, icon, hits, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_matches_come_first() {
        let hit = |name: &str| Hit { name: name.to_owned(), place: "campus/ahu".to_owned(), href: String::new() };
        let filter = Filter { q: "temp".to_owned() };
        let found = group("Points", "point", &filter, ["SupplyTemperature", "Temp", "Status", "TemperatureHigh"].into_iter().map(hit));
        assert_eq!(found.hits.iter().map(|hit| hit.name.as_str()).collect::<Vec<_>>(), ["Temp", "TemperatureHigh", "SupplyTemperature"]);
        let filter = Filter { q: "ahu stat".to_owned() };
        assert_eq!(group("Points", "point", &filter, ["Status"].into_iter().map(hit)).hits.len(), 1);
    }
}
