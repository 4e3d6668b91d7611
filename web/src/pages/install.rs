//! `POST /install` and `/install/{id}`: installing a package in Python, from an uploaded wheel or by its name, and following that.

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use vt_services::{Install, PACKAGE_BYTES_MAX, PackageInstall, PackageSource};

use super::agents::{AGAIN, Filter, InstallForm, agents_page, priority, tag};
use crate::csrf::CheckedUpload;
use crate::cx::{Viewer, page, page_with};
use crate::error::PageError;
use crate::frame::{Frame, Section};
use crate::ui;

/// Largest form, bytes: a wheel and what is around it.
pub const UPLOAD_BYTES_MAX: usize = PACKAGE_BYTES_MAX + (1 << 20);

/// The page of one installation.
#[derive(Template)]
#[template(path = "install.html")]
pub struct InstallPage {
    /// Surroundings.
    pub frame: Frame,
    /// Its number.
    pub id: u64,
    /// What is installed.
    pub what: String,
    /// Who began it.
    pub user: String,
    /// Where it is, for people.
    pub step: &'static str,
    /// Rough part that is done.
    pub percent: u8,
    /// The newest lines of the tools.
    pub lines: Vec<String>,
    /// What became of it.
    pub end: End,
}

/// What became of an installation.
pub enum End {
    /// It goes on.
    NotYet,
    /// It is installed.
    Installed {
        /// The agent.
        identity: String,
        /// Its page.
        href: String,
        /// Why it was not started although that was wanted.
        start_error: Option<String>,
    },
    /// It failed.
    Failed(String),
}

/// `POST /install`
pub async fn begin(viewer: Viewer, CheckedUpload { texts, file }: CheckedUpload) -> Result<Response, PageError> {
    let text = |name: &str| texts.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let begun = async {
        let source = match (file, text("package")) {
            (Some((file_name, content)), _) => PackageSource::Wheel { file_name, content: Arc::new(content) },
            (None, Some(name)) => PackageSource::Requirement(name),
            (None, None) => return Err(PageError::invalid("Choose a wheel, or write the name of a package.")),
        };
        let request = PackageInstall {
            identity: text("identity"),
            tag: tag(&text("tag").unwrap_or_default())?,
            priority: priority(&text("priority").unwrap_or_default())?,
            config: texts.get("config").filter(|config| !config.trim().is_empty()).cloned(),
            force: text("force").is_some(),
            start: text("start").is_some(),
            ..PackageInstall::of(source)
        };
        Ok(viewer.cx.web.services.agents.begin_install(&viewer.caller, request).await?)
    };
    match begun.await {
        Ok(install) => Ok(Redirect::to(&format!("/install/{}", install.id)).into_response()),
        Err(error) => {
            let form = InstallForm {
                identity: text("identity").unwrap_or_default(),
                tag: text("tag").unwrap_or_default(),
                priority: text("priority").unwrap_or_default(),
                ..InstallForm::default()
            };
            let status = if error.status().is_client_error() { error.status() } else { AGAIN };
            page_with(status, &agents_page(&viewer, &Filter::default(), form, Some(error.text)))
        }
    }
}

/// `GET /install/{id}`
pub async fn show(viewer: Viewer, Path(id): Path<u64>) -> Result<Response, PageError> {
    if !viewer.caller.is_admin() {
        return Err(PageError::forbidden("Installing agents needs the group admin."));
    }
    let install = viewer.cx.web.services.agents.install_of(id);
    let install = install.ok_or_else(|| PageError::not_found("This installation is not known; only the newest ones are remembered."))?;
    page(&install_page(&viewer, &install))
}

fn install_page(viewer: &Viewer, install: &Install) -> InstallPage {
    let news = install.news(0);
    let end = match news.outcome {
        None => End::NotYet,
        Some(Ok(outcome)) => End::Installed {
            href: format!("/agents/{}", ui::segment(outcome.agent.identity.as_str())),
            identity: outcome.agent.identity.to_string(),
            start_error: outcome.start_error,
        },
        Some(Err(error)) => End::Failed(error.to_string()),
    };
    let step = match news.step {
        "waiting" => "Waiting for its turn",
        "checking" => "Reading the package",
        "environment" => "Making its environment",
        "building" => "Building it",
        "dependencies" => "Installing what it needs",
        "unpacking" => "Putting its files into place",
        "installing" => "Entering it",
        "starting" => "Starting it",
        "done" => "Done",
        _ => "Failed",
    };
    InstallPage {
        frame: viewer.cx.frame(Section::Agents),
        id: install.id,
        what: install.what.clone(),
        user: install.user.clone(),
        step,
        percent: news.percent,
        lines: news.lines,
        end,
    }
}
