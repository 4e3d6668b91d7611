//! What surrounds every page: instance, viewer, theme, current section, form token, message from the previous request.

use vt_types::timestamp::Timestamp;

use crate::assets;
use crate::ui::Tone;

/// Entries of the navigation. Only pages that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `/`
    Overview,
    /// `/agents`
    Agents,
    /// `/devices`
    Devices,
    /// `/platforms`
    Platforms,
    /// `/peers`
    Peers,
    /// Pages outside the navigation.
    None,
}

/// Colours of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the system says.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Its word in cookie, form and `data-theme`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of a word; anything else is [`Theme::Auto`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        [Self::Light, Self::Dark].into_iter().find(|theme| theme.as_str() == text).unwrap_or_default()
    }
}

/// A message that a redirect brought along, shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flash {
    /// Good or bad news.
    pub tone: Tone,
    /// One sentence.
    pub text: String,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Instance name.
    pub instance: String,
    /// Signed-in user.
    pub user: Option<String>,
    /// Whether that user is an administrator.
    pub is_admin: bool,
    /// Colours.
    pub theme: Theme,
    /// Current section.
    pub section: Section,
    /// Token for every form.
    pub csrf: String,
    /// Message to show.
    pub flash: Option<Flash>,
    /// The server's time when the page was made.
    pub now: Timestamp,
    /// Path and query of this page, for forms that come back to it.
    pub here: String,
}

impl Frame {
    /// Where assets lie.
    #[must_use]
    pub fn assets(&self) -> &'static str {
        assets::base()
    }

    /// The current section's navigation mark.
    #[must_use]
    pub fn is(&self, section: &str) -> bool {
        matches!(
            (self.section, section),
            (Section::Overview, "overview")
                | (Section::Agents, "agents")
                | (Section::Devices, "devices")
                | (Section::Platforms, "platforms")
                | (Section::Peers, "peers")
        )
    }

    /// Whether `theme` is chosen.
    #[must_use]
    pub fn themed(&self, theme: &str) -> bool {
        self.theme.as_str() == theme
    }

    /// The server's time for scripts, milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now.timestamp_millis()
    }
}
