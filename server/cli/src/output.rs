//! What programs print: tables whose header goes to standard error and whose rows go to standard output, as scripts of VOLTTRON expect.

use std::io::Write;

use serde_json::Value;

/// Prints to standard output. A reader that went away (`| head`) is no error.
pub fn print(text: &str) {
    write_to(std::io::stdout().lock(), text);
}

/// Prints a line to standard output.
pub fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Prints to standard error.
pub fn hint(text: &str) {
    write_to(std::io::stderr().lock(), text);
}

/// Prints a line to standard error.
pub fn complain(text: &str) {
    write_to(std::io::stderr().lock(), &format!("{text}\n"));
}

fn write_to(mut to: impl Write, text: &str) {
    // Nobody reads any more; there is nobody to tell.
    drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
}

/// JSON with an indent, as Python's `json.dumps(indent=...)`.
pub fn pretty(value: &Value, indent: usize) -> String {
    let spaces = vec![b' '; indent];
    let formatter = serde_json::ser::PrettyFormatter::with_indent(&spaces);
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => value.to_string(),
    }
}

/// Prints clap's text where it belongs and gives the exit code: 0 for help and version, 2 for wrong arguments.
pub fn clap_exit(error: &clap::Error) -> u8 {
    drop(error.print());
    if error.use_stderr() { 2 } else { 0 }
}

/// An error with its causes in one line; a cause that the text before it already tells is left out.
pub fn sentence<'a>(chain: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>) -> String {
    let mut text = String::new();
    for cause in chain.map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The shortest length, at least `min`, at which the first characters of all `uuids` differ.
pub fn unique_prefix(uuids: &[&str], min: usize) -> usize {
    let longest = uuids.iter().map(|uuid| uuid.len()).max().unwrap_or(0);
    (min.max(1)..=longest)
        .find(|length| {
            let mut starts: Vec<_> = uuids.iter().map(|uuid| &uuid[..*length.min(&uuid.len())]).collect();
            starts.sort_unstable();
            starts.windows(2).all(|pair| pair[0] != pair[1])
        })
        .unwrap_or(longest)
}

/// Control characters made visible, so that a name cannot drive the terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_control(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether a character steers a terminal or the direction of text.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_as_short_as_they_can_be() {
        assert_eq!(unique_prefix(&["8b1e", "9c"], 1), 1);
        assert_eq!(unique_prefix(&["8b1e", "8b2f"], 1), 3);
        assert_eq!(unique_prefix(&["8b1e"], 0), 1);
        assert_eq!(unique_prefix(&["8b1e"], 3), 3);
        assert_eq!(unique_prefix(&[], 1), 0);
    }

    #[test]
    fn a_cause_is_told_once() {
        let source = std::io::Error::other("pool timed out");
        let inner = anyhow::Error::from(source).context("the database x cannot be used: pool timed out");
        assert_eq!(sentence(inner.context("no start").chain()), "no start: the database x cannot be used: pool timed out");
    }

    #[test]
    fn names_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
