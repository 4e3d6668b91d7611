//! `/peers`: who waits to be let in, who is let in and kept out, and what each may do; `/peers/{user_id}` changes what one may do. For
//! administrators.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use vt_services::peer_auth::{ATTEMPTS_MAX, Rights, Seen};
use vt_services::{Admission, AuthEntry, Capabilities, PendingAttempt};
use vt_types::ErrorKind;
use vt_types::timestamp::Timestamp;

use crate::csrf::Checked;
use crate::cx::{Viewer, back_with, page, page_with};
use crate::error::PageError;
use crate::frame::{Frame, Section};
use crate::ui::{self, Tone};

/// A peer that waits.
#[derive(Debug, Clone)]
pub struct WaitingRow {
    /// Key of the row.
    pub id: String,
    /// Names it in forms.
    pub user_id: String,
    /// The identity that it asked for.
    pub identity: String,
    /// Its key, or that it shows none.
    pub key: String,
    /// From where.
    pub address: String,
    /// How often it tried.
    pub retries: String,
    /// First try.
    pub first_seen: Timestamp,
    /// Last try.
    pub last_seen: Timestamp,
}

/// An entry of one of the lists.
#[derive(Debug, Clone)]
pub struct EntryRow {
    /// Key of the row.
    pub id: String,
    /// Names it in forms.
    pub user_id: String,
    /// Its page.
    pub href: String,
    /// The identity that it is for, if any.
    pub identity: Option<String>,
    /// Key or pattern.
    pub key: String,
    /// Where from; empty for anywhere.
    pub address: String,
    /// Names of its capabilities.
    pub capabilities: String,
    /// For people.
    pub comments: Option<String>,
    /// Whether it counts.
    pub enabled: bool,
    /// Whether the platform made it for itself.
    pub is_own: bool,
    /// Since the platform started.
    pub seen: Option<Seen>,
    /// Tries since the platform started.
    pub retries: String,
}

/// A group or role.
#[derive(Debug, Clone)]
pub struct BundleRow {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub holds: String,
}

/// The page.
#[derive(Template)]
#[template(path = "peers.html")]
pub struct PeersPage {
    /// Surroundings.
    pub frame: Frame,
    /// Who gets in, in a sentence; `None` where peers need an entry.
    pub admission: Option<&'static str>,
    /// What is wrong with the file, if anything.
    pub problem: Option<String>,
    /// Who waits.
    pub waiting: Vec<WaitingRow>,
    /// Attempts that were forgotten.
    pub dropped: u64,
    /// How many are kept.
    pub attempts_max: usize,
    /// Who is let in.
    pub allowed: Vec<EntryRow>,
    /// Who is kept out.
    pub denied: Vec<EntryRow>,
    /// Groups.
    pub groups: Vec<BundleRow>,
    /// Roles.
    pub roles: Vec<BundleRow>,
}

/// The page of one peer.
#[derive(Template)]
#[template(path = "peer.html")]
pub struct PeerPage {
    /// Surroundings.
    pub frame: Frame,
    /// The peer.
    pub row: EntryRow,
    /// What the form holds.
    pub form: RightsForm,
    /// What was wrong with it.
    pub problem: Option<String>,
}

/// A decision.
#[derive(Debug, Deserialize)]
pub struct DecisionForm {
    /// About whom.
    #[serde(default)]
    pub user_id: String,
    /// `approve`, `deny` or `delete`.
    #[serde(default)]
    pub decision: String,
}

/// What one may do.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RightsForm {
    /// JSON.
    #[serde(default)]
    pub capabilities: String,
    /// Separated by commas.
    #[serde(default)]
    pub roles: String,
    /// Separated by commas.
    #[serde(default)]
    pub groups: String,
    /// `1` if it counts.
    #[serde(default)]
    pub enabled: String,
}

/// `GET /peers`
pub async fn show(viewer: Viewer) -> Result<Response, PageError> {
    only_admin(&viewer)?;
    let auth = &viewer.cx.web.services.peer_auth;
    let records = auth.records();
    page(&PeersPage {
        frame: viewer.cx.frame(Section::Peers),
        admission: match auth.admission() {
            Admission::Listed => None,
            Admission::Setup => {
                Some("Set-up mode: every new key is let in and entered below. Restart without it when all peers are known.")
            }
            Admission::Open => Some("This platform asks nobody for a key (allow-auth is False): every peer may connect and do everything."),
        },
        problem: auth.problem(),
        waiting: auth.pending().into_iter().map(waiting).collect(),
        dropped: auth.dropped_attempts(),
        attempts_max: ATTEMPTS_MAX,
        allowed: records.allow.iter().map(|entry| row(&viewer, entry)).collect(),
        denied: records.deny.iter().map(|entry| row(&viewer, entry)).collect(),
        groups: records.groups.iter().map(|(name, roles)| BundleRow { name: name.to_owned(), holds: roles.join(", ") }).collect(),
        roles: records.roles.iter().map(|(name, held)| BundleRow { name: name.to_owned(), holds: names(held) }).collect(),
    })
}

/// `POST /peers`
pub async fn decide(viewer: Viewer, Checked(form): Checked<DecisionForm>) -> Result<Response, PageError> {
    only_admin(&viewer)?;
    let auth = &viewer.cx.web.services.peer_auth;
    let (result, done) = match form.decision.as_str() {
        "approve" => (auth.approve(&viewer.caller, &form.user_id).await, "is let in; it connects with its next try."),
        "deny" => (auth.deny(&viewer.caller, &form.user_id).await, "is kept out."),
        "delete" => (auth.delete(&viewer.caller, &form.user_id).await, "is forgotten; if it tries again, it waits again."),
        _ => return Err(PageError::invalid("This form was sent without a decision.")),
    };
    result?;
    Ok(back_with(&viewer.cx, "/peers", Tone::Good, format!("{} {done}", form.user_id)))
}

/// `GET /peers/{user_id}`
pub async fn edit(viewer: Viewer, Path(user_id): Path<String>) -> Result<Response, PageError> {
    only_admin(&viewer)?;
    let entry = find(&viewer, &user_id)?;
    let form = RightsForm {
        capabilities: format!("{:#}", entry.capabilities.to_json()),
        roles: entry.roles.join(", "),
        groups: entry.groups.join(", "),
        enabled: if entry.enabled { "1".to_owned() } else { String::new() },
    };
    page(&PeerPage { frame: viewer.cx.frame(Section::Peers), row: row(&viewer, &entry), form, problem: None })
}

/// `POST /peers/{user_id}`
pub async fn change(viewer: Viewer, Path(user_id): Path<String>, Checked(form): Checked<RightsForm>) -> Result<Response, PageError> {
    only_admin(&viewer)?;
    let entry = find(&viewer, &user_id)?;
    let changed = async {
        let rights = rights(&form)?;
        Ok::<_, PageError>(viewer.cx.web.services.peer_auth.set_rights(&viewer.caller, &user_id, rights).await?)
    };
    match changed.await {
        Ok(()) => Ok(back_with(&viewer.cx, "/peers", Tone::Good, format!("What {user_id} may do is changed."))),
        Err(error) => {
            let (status, problem) = (error.status(), Some(error.text));
            page_with(status, &PeerPage { frame: viewer.cx.frame(Section::Peers), row: row(&viewer, &entry), form, problem })
        }
    }
}

fn rights(form: &RightsForm) -> Result<Rights, PageError> {
    let text = form.capabilities.trim();
    let value: Value = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(text).map_err(|error| PageError::invalid(format!("The capabilities are not JSON: {error}.")))?
    };
    let capabilities = Capabilities::parse(&value).map_err(|error| PageError::invalid(crate::error::sentence(&error.to_string())))?;
    Ok(Rights { capabilities, roles: words(&form.roles), groups: words(&form.groups), enabled: form.enabled == "1" })
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn find(viewer: &Viewer, user_id: &str) -> Result<AuthEntry, PageError> {
    let allow = viewer.cx.web.services.peer_auth.records().allow;
    let found = allow.into_iter().find(|entry| entry.user_id == user_id);
    found.ok_or_else(|| PageError::new(ErrorKind::NotFound, "No peer is let in under this user id."))
}

fn only_admin(viewer: &Viewer) -> Result<(), PageError> {
    viewer
        .caller
        .require_admin()
        .map_err(|_| PageError::forbidden("Peers and keys are for administrators; your account needs the group admin."))
}

fn waiting(pending: PendingAttempt) -> WaitingRow {
    WaitingRow {
        id: ui::id("waiting", &pending.user_id),
        identity: pending.identity.to_string(),
        key: pending.key.map_or_else(|| "shows no key".to_owned(), |key| key.to_string()),
        address: pending.address,
        retries: ui::count(pending.retries),
        first_seen: pending.first_seen,
        last_seen: pending.last_seen,
        user_id: pending.user_id,
    }
}

fn row(viewer: &Viewer, entry: &AuthEntry) -> EntryRow {
    let auth = &viewer.cx.web.services.peer_auth;
    EntryRow {
        id: ui::id("peer", &entry.user_id),
        href: format!("/peers/{}", ui::segment(&entry.user_id)),
        identity: entry.identity.as_ref().map(ToString::to_string),
        // A password of the mechanism PLAIN is nothing to show.
        key: match entry.mechanism.as_str() {
            "CURVE" => entry.credentials.texts().join(", "),
            word => word.to_owned(),
        },
        address: entry.address.texts().join(", "),
        capabilities: names(&entry.capabilities),
        comments: entry.comments.clone(),
        enabled: entry.enabled,
        is_own: vt_types::identity::known::is_reserved(&entry.user_id),
        seen: auth.seen(&entry.user_id),
        retries: ui::count(auth.denied_retries(&entry.user_id)),
        user_id: entry.user_id.clone(),
    }
}

fn names(capabilities: &Capabilities) -> String {
    capabilities.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}
