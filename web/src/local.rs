//! Addresses inside this site: where to go after log-in or after a form. What came from outside is believed only as a path.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const PATH_BYTES_MAX: usize = 4096;

/// `text` if it is a path of this site, else `/`. Refuses other hosts (`//host`, `/\host`, schemes), control characters and the log-in page.
pub fn path_or_root(text: &str) -> &str {
    let inside = text.starts_with('/')
        && !text[1..].starts_with(['/', '\\'])
        && text.len() <= PATH_BYTES_MAX
        && text.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\')
        && !["/login", "/logout", "/setup"]
            .iter()
            .any(|page| text == *page || text.strip_prefix(page).is_some_and(|rest| rest.starts_with('?')));
    if inside { text } else { "/" }
}

/// The path and query of a `Referer`.
pub fn path_of_url(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let path = &rest[rest.find('/')?..];
    let path = path.split('#').next()?;
    Some(path_or_root(path).to_owned())
}

/// The log-in page that leads on to `path`.
pub fn login_for(path: &str) -> String {
    match path_or_root(path) {
        "/" => "/login".to_owned(),
        path => format!("/login?next={}", utf8_percent_encode(path, NON_ALPHANUMERIC)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_site_are_followed() {
        for good in ["/", "/agents?q=a%20b", "/devices/a%3C/b"] {
            assert_eq!(path_or_root(good), good);
        }
        for bad in [
            "",
            "//evil",
            "/\\evil",
            "https://evil",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie:x",
            "/login?next=/",
            "/setup",
            "agents",
            "/é",
        ] {
            assert_eq!(path_or_root(bad), "/", "{bad:?}");
        }
        assert_eq!(path_of_url("https://host:1/agents?x=1#y").as_deref(), Some("/agents?x=1"));
        assert_eq!(path_of_url("https://host//evil").as_deref(), Some("/"));
        assert_eq!(path_of_url("https://host"), None);
        assert_eq!(login_for("/agents"), "/login?next=%2Fagents");
        assert_eq!(login_for("//evil"), "/login");
    }
}
