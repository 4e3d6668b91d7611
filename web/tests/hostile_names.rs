//! Every page, rendered with every name, tag, unit, reason and text replaced by something hostile: nothing of it may become markup, leave its
//! attribute, reorder the text around it, or blow up the page.
#![expect(clippy::unwrap_used, reason = "a test whose page does not render fails")]

#[path = "../examples/preview/samples.rs"]
#[expect(dead_code, reason = "the preview uses what this test does not")]
mod samples;

use askama::Template;
use samples::Samples;
use vt_web::frame::Theme;

fn pages(name: &str) -> Vec<(&'static str, String)> {
    let samples = Samples { name: Some(name.to_owned()), ..Samples::pleasant(Theme::Auto) };
    vec![
        ("overview", samples.overview().render().unwrap()),
        ("agents", samples.agents().render().unwrap()),
        ("agent", samples.agent_page().render().unwrap()),
        ("config", samples.config().render().unwrap()),
        ("devices", samples.devices().render().unwrap()),
        ("device", samples.device_page().render().unwrap()),
        ("point", samples.point().render().unwrap()),
        ("search", samples.search().render().unwrap()),
        ("login", samples.login().render().unwrap()),
        ("setup", samples.setup().render().unwrap()),
        ("confirm", samples.confirm().render().unwrap()),
        ("error", samples.error(name).render().unwrap()),
    ]
}

/// The text of a page's tags: everything between `<` and `>`, quoted values taken out.
fn tags(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let mut quoted = false;
        let mut tag = String::new();
        let mut end = rest.len();
        for (at, c) in rest[start..].char_indices() {
            match c {
                '"' => quoted = !quoted,
                '>' if !quoted => {
                    end = start + at + 1;
                    break;
                }
                c if !quoted => tag.push(c),
                _ => {}
            }
        }
        // Where a name may break depends on the name; the mark has neither content nor attributes.
        if tag != "<wbr" {
            tags.push(tag);
        }
        rest = &rest[end..];
    }
    tags
}

const MARKUP: &[&str] = &[
    "<img src=x onerror=alert(1)>",
    "\"><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "\" onfocus=\"alert(1)\" autofocus=\"",
    "</title></textarea></style><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&#60;",
    "../../etc/passwd",
    ".*+?^${}()|[]\\",
];

#[test]
fn markup_in_names_stays_text() {
    for name in MARKUP {
        for (page, html) in pages(name) {
            let found = tags(&html);
            assert!(found.len() > 15, "{page} was not taken apart");
            for tag in found {
                let lower = tag.to_lowercase();
                assert!(
                    !lower.starts_with("<img")
                        && !lower.contains("onerror")
                        && !lower.contains("onmouseover")
                        && !lower.contains("onfocus")
                        && !lower.contains("onload"),
                    "{page} with {name:?}: {tag}"
                );
                // Scripts of our own all have a source.
                assert!(!lower.starts_with("<script") || lower.contains("src="), "{page} with {name:?}: {tag}");
            }
            assert!(!html.contains("href=\"javascript:"), "{page} with {name:?}");
            assert!(!html.contains(" style="), "{page} has inline style");
        }
    }
}

#[test]
fn pages_have_the_same_tags_whatever_the_names_are() {
    let shape =
        |name: &str| -> Vec<(&'static str, Vec<String>)> { pages(name).into_iter().map(|(page, html)| (page, tags(&html))).collect() };
    let harmless = shape("harmless");
    for name in MARKUP.iter().filter(|name| !name.contains('/')) {
        for ((page, one), (_, other)) in harmless.iter().zip(shape(name)) {
            assert_eq!(*one, other, "{page} with {name:?}");
        }
    }
}

#[test]
fn text_that_reorders_or_controls_is_spelled_out() {
    for (page, html) in pages("a\u{202e}b\u{2066}c\u{7}d\u{200f}e") {
        // Form fields and data for scripts hold names as they are; what is read or spoken does not.
        let shown =
            tags_text(&html).into_iter().map(str::to_owned).chain(attributes(&html, "title")).chain(attributes(&html, "aria-label"));
        for text in shown {
            for c in ['\u{202e}', '\u{2066}', '\u{7}', '\u{200f}'] {
                assert!(!text.contains(c), "{page} shows {c:?} in {text:?}");
            }
        }
        assert!(html.contains("⟨U+202E⟩"), "{page}");
    }
}

#[test]
fn long_names_are_cut() {
    let name = "x".repeat(65_536);
    for (page, html) in pages(&name) {
        let longest = tags_text(&html).into_iter().map(|text| text.len()).max().unwrap_or(0);
        assert!(longest < 4096, "{page} shows a text of {longest} bytes");
    }
}

/// The texts between tags, form fields and log lines (which wrap) aside.
fn tags_text(html: &str) -> Vec<&str> {
    html.split('<')
        .filter_map(|part| part.split_once('>'))
        .filter(|(tag, _)| !tag.starts_with("textarea") && !tag.contains("class=\"text\""))
        .map(|(_, text)| text)
        .collect()
}

/// The values of an attribute, wherever it stands.
fn attributes(html: &str, name: &str) -> Vec<String> {
    html.split(&format!(" {name}=\"")).skip(1).filter_map(|part| part.split('"').next()).map(str::to_owned).collect()
}
