//! The cookies of pages: `Bearer` (access token, as VOLTTRON names it; REST and websockets read it too), `BearerRefresh`, an anonymous form
//! cookie, the message of a redirect, and the theme. All but the theme are HttpOnly; all are `SameSite=Strict` and, over HTTPS, `Secure`.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::frame::Flash;
use crate::ui::Tone;

/// Access token.
pub const ACCESS: &str = "Bearer";
/// Refresh token.
pub const REFRESH: &str = "BearerRefresh";
/// Ties forms shown before log-in to their visitor.
pub const VISITOR: &str = "Visitor";
/// Message to show on the next page.
pub const FLASH: &str = "Flash";
/// Chosen colours.
pub const THEME: &str = "Theme";

const FLASH_CHARS_MAX: usize = 800;
const FLASH_S: i64 = 60;
const YEAR_S: i64 = 365 * 24 * 3600;

/// The value of a cookie in the request.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name && !value.is_empty()).then_some(value)
    })
}

/// Cookies to be set by a response.
#[derive(Debug, Clone, Default)]
pub struct NewCookies(Vec<String>);

impl NewCookies {
    /// Sets a cookie for `age_s` seconds; none or less removes it.
    pub fn set(&mut self, name: &str, value: &str, age_s: i64, secure: bool) {
        let mut line = format!("{name}={value}; Path=/; SameSite=Strict; Max-Age={}", age_s.max(0));
        if name != THEME {
            line.push_str("; HttpOnly");
        }
        if secure {
            line.push_str("; Secure");
        }
        self.0.push(line);
    }

    /// Removes a cookie.
    pub fn remove(&mut self, name: &str, secure: bool) {
        self.set(name, "", 0, secure);
    }

    /// Shows `flash` on the next page.
    pub fn flash(&mut self, flash: &Flash, secure: bool) {
        let text: String = flash.text.chars().take(FLASH_CHARS_MAX).collect();
        let mut value = String::from(flash.tone.class());
        // Writing to a String cannot fail.
        let _written = write!(value, ".{}", utf8_percent_encode(&text, NON_ALPHANUMERIC));
        self.set(FLASH, &value, FLASH_S, secure);
    }

    /// Remembers the theme.
    pub fn theme(&mut self, word: &str, secure: bool) {
        self.set(THEME, word, YEAR_S, secure);
    }

    /// Adds the cookies to a response's headers.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for line in &self.0 {
            if let Ok(value) = HeaderValue::from_str(line) {
                headers.append(header::SET_COOKIE, value);
            }
        }
    }
}

/// Reads a [`NewCookies::flash`] back.
pub fn read_flash(headers: &HeaderMap) -> Option<Flash> {
    let (tone, text) = find(headers, FLASH)?.split_once('.')?;
    let tone = [Tone::Good, Tone::Bad, Tone::Stale].into_iter().find(|candidate| candidate.class() == tone)?;
    Some(Flash { tone, text: percent_decode_str(text).decode_utf8().ok()?.into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_redirect() {
        let flash = Flash { tone: Tone::Bad, text: "Line 3: “,” is missing; <b>\n".to_owned() };
        let mut cookies = NewCookies::default();
        cookies.flash(&flash, true);
        let mut set = HeaderMap::new();
        cookies.apply(&mut set);
        let line = set[header::SET_COOKIE].to_str().unwrap();
        assert!(line.contains("HttpOnly") && line.contains("Secure") && line.contains("SameSite=Strict"), "{line}");
        let mut request = HeaderMap::new();
        request.insert(header::COOKIE, HeaderValue::from_str(&format!("a=b; {}", line.split(';').next().unwrap())).unwrap());
        assert_eq!(read_flash(&request), Some(flash));
        assert_eq!(find(&request, "a"), Some("b"));
        assert_eq!(find(&request, "b"), None);
    }
}
