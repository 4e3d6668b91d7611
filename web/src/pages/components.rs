//! `/components`: every part of the design system in all its states, for maintainers. Nothing here is live.

use askama::Template;
use axum::response::Response;
use chrono::Duration;

use crate::cx::{Viewer, page};
use crate::error::PageError;
use crate::frame::{Frame, Section};
use crate::ui;

/// The page.
#[derive(Template)]
#[template(path = "components.html")]
pub struct ComponentsPage {
    /// Surroundings.
    pub frame: Frame,
}

impl ComponentsPage {
    fn seconds_ago(&self, seconds: i64) -> ui::Html {
        ui::age(self.frame.now - Duration::seconds(seconds), self.frame.now)
    }
}

/// `GET /components`
pub async fn show(viewer: Viewer) -> Result<Response, PageError> {
    page(&ComponentsPage { frame: viewer.cx.frame(Section::None) })
}
