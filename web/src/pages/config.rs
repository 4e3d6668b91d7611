//! Entries of an agent's configuration store: new, view, edit, delete. What cannot be stored is shown again with line and field of the mistake.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;
use serde::de::IgnoredAny;
use vt_services::ConfigType;
use vt_types::timestamp::Timestamp;
use vt_types::{ErrorKind, Identity};

use super::agent::{ConfirmPage, identity};
use crate::csrf::Checked;
use crate::cx::{Viewer, back_with, page, page_with};
use crate::error::PageError;
use crate::frame::{Frame, Section};
use crate::ui::{self, Tone};

/// The page.
#[derive(Template)]
#[template(path = "config.html")]
pub struct ConfigPage {
    /// Surroundings.
    pub frame: Frame,
    /// Whose store.
    pub identity: String,
    /// Its page.
    pub agent_href: String,
    /// Where the form goes.
    pub action: String,
    /// Whether the entry is yet to be made.
    pub is_new: bool,
    /// Its name.
    pub name: String,
    /// `json`, `csv` or `raw`.
    pub kind: &'static str,
    /// Its text.
    pub text: String,
    /// When it was stored.
    pub modified: Option<Timestamp>,
    /// Why it was not stored.
    pub problem: Option<String>,
}

impl ConfigPage {
    fn of(viewer: &Viewer, identity: &Identity) -> Self {
        let agent_href = format!("/agents/{}", ui::segment(identity.as_str()));
        Self {
            frame: viewer.cx.frame(Section::Agents),
            identity: identity.to_string(),
            action: format!("{agent_href}/configs"),
            agent_href,
            is_new: true,
            name: String::new(),
            kind: "json",
            text: String::new(),
            modified: None,
            problem: None,
        }
    }

    fn existing(mut self, name: &str) -> Self {
        self.is_new = false;
        self.action = entry_href(&self.agent_href, name);
        name.clone_into(&mut self.name);
        self
    }

    fn with(mut self, form: ConfigForm, problem: String) -> Self {
        self.kind = kind(&form.r#type).as_str();
        self.text = form.text;
        self.problem = Some(problem);
        self
    }
}

fn entry_href(agent: &str, name: &str) -> String {
    format!("{agent}/configs/{}", ui::path(name))
}

/// Fields of the form.
#[derive(Debug, Deserialize)]
pub struct ConfigForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    r#do: String,
    #[serde(default)]
    confirmed: String,
}

fn kind(word: &str) -> ConfigType {
    ConfigType::parse(word).unwrap_or(ConfigType::Raw)
}

/// `GET /agents/{identity}/configs`: the form for a new entry.
pub async fn blank(viewer: Viewer, Path(agent): Path<String>) -> Result<Response, PageError> {
    page(&ConfigPage::of(&viewer, &identity(&agent)?))
}

/// `POST /agents/{identity}/configs`
pub async fn create(viewer: Viewer, Path(agent): Path<String>, Checked(form): Checked<ConfigForm>) -> Result<Response, PageError> {
    let identity = identity(&agent)?;
    let name = form.name.trim().to_owned();
    let stored = match viewer.cx.web.services.configs.get(&identity, &name) {
        Some(_) => Err(PageError::new(
            ErrorKind::AlreadyExists,
            format!("An entry named {name} exists already. Open it to change it, or choose another name."),
        )),
        None => store(&viewer, &identity, &name, &form).await,
    };
    match stored {
        Ok(response) => Ok(response),
        Err(error) => {
            let mut page = ConfigPage::of(&viewer, &identity).with(form, error.text.clone());
            page.name = name;
            page_with(error.status(), &page)
        }
    }
}

/// `GET /agents/{identity}/configs/{name}`
pub async fn show(viewer: Viewer, Path((agent, name)): Path<(String, String)>) -> Result<Response, PageError> {
    let identity = identity(&agent)?;
    let view = viewer.cx.web.services.configs.get(&identity, &name).ok_or_else(|| missing(&identity, &name))?;
    let mut show = ConfigPage::of(&viewer, &identity).existing(&view.name);
    show.kind = view.config_type.as_str();
    show.text = if view.config_type == ConfigType::Json { spread(&view.data) } else { view.data };
    show.modified = view.modified;
    page(&show)
}

/// `POST /agents/{identity}/configs/{name}`: saves, or deletes with `do=delete`.
pub async fn change(
    viewer: Viewer,
    Path((agent, name)): Path<(String, String)>,
    Checked(form): Checked<ConfigForm>,
) -> Result<Response, PageError> {
    let identity = identity(&agent)?;
    let configs = &viewer.cx.web.services.configs;
    let Some(view) = configs.get(&identity, &name) else { return Err(missing(&identity, &name)) };
    let agent_href = format!("/agents/{}", ui::segment(identity.as_str()));
    if form.r#do != "delete" {
        return match store(&viewer, &identity, &view.name, &form).await {
            Ok(response) => Ok(response),
            Err(error) => {
                let mut page = ConfigPage::of(&viewer, &identity).existing(&view.name).with(form, error.text.clone());
                page.modified = view.modified;
                page_with(error.status(), &page)
            }
        };
    }
    if form.confirmed != "1" {
        return page(&ConfirmPage {
            frame: viewer.cx.frame(Section::Agents),
            heading: "Delete this entry?".to_owned(),
            text: format!("{} is removed from the store of {identity}; a running agent is told.", ui::plain(&view.name)),
            action: entry_href(&agent_href, &view.name),
            fields: &[("do", "delete")],
            button: "Delete entry",
            back: entry_href(&agent_href, &view.name),
        });
    }
    configs.delete(&viewer.caller, &identity, &view.name).await?;
    Ok(back_with(&viewer.cx, &agent_href, Tone::Good, format!("{} is deleted.", view.name)))
}

/// JSON that stands in one line, as tools store it, spread over lines for reading. Every token stays as it was written; what people laid out
/// themselves, and what is no plain JSON, stays as it is.
fn spread(text: &str) -> String {
    let line = text.trim();
    if line.contains('\n') || serde_json::from_str::<IgnoredAny>(line).is_err() {
        return text.to_owned();
    }
    let mut spread = String::new();
    let mut depth = 0_usize;
    let (mut quoted, mut escaped) = (false, false);
    let mut chars = line.chars().filter(|c| !matches!(c, '\r' | '\t')).peekable();
    while let Some(c) = chars.next() {
        if quoted {
            spread.push(c);
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        let indent = |spread: &mut String, depth: usize| {
            spread.push('\n');
            spread.extend(std::iter::repeat_n("  ", depth));
        };
        match c {
            ' ' => {}
            '{' | '[' => {
                spread.push(c);
                while chars.next_if_eq(&' ').is_some() {}
                if chars.peek().is_some_and(|next| !matches!(next, '}' | ']')) {
                    depth += 1;
                    indent(&mut spread, depth);
                } else {
                    spread.extend(chars.next());
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                indent(&mut spread, depth);
                spread.push(c);
            }
            ',' => {
                spread.push(c);
                indent(&mut spread, depth);
            }
            ':' => spread.push_str(": "),
            c => {
                quoted = c == '"';
                spread.push(c);
            }
        }
    }
    spread
}

async fn store(viewer: &Viewer, identity: &Identity, name: &str, form: &ConfigForm) -> Result<Response, PageError> {
    let kind = ConfigType::parse(&form.r#type).ok_or_else(|| PageError::invalid("Choose JSON, CSV or plain text as the type."))?;
    // Browsers send line ends of forms as CR LF, whatever the text had.
    let text = form.text.replace("\r\n", "\n");
    viewer.cx.web.services.configs.set(&viewer.caller, identity, name, kind, &text).await?;
    let agent = format!("/agents/{}", ui::segment(identity.as_str()));
    Ok(back_with(&viewer.cx, &entry_href(&agent, name), Tone::Good, "Saved. A running agent has been told."))
}

fn missing(identity: &Identity, name: &str) -> PageError {
    PageError::not_found(format!("{identity} has no configuration entry named {}.", ui::plain(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_one_line_is_spread_and_its_tokens_stay() {
        let line = r#"{"a":{}, "b": [ ], "c\\\"}":[1.50,"x, {y}: \\"],"d":12345678901234567890123}"#;
        let expected = "{\n  \"a\": {},\n  \"b\": [],\n  \"c\\\\\\\"}\": [\n    1.50,\n    \"x, {y}: \\\\\"\n  ],\n  \"d\": 12345678901234567890123\n}";
        assert_eq!(spread(line), expected);
        assert_eq!(spread(expected), expected);
        for other in ["{\"a\": 1,}", "", "21", "{ # comment }"] {
            assert_eq!(spread(other), other);
        }
    }
}
