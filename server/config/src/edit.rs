//! Setting keys of `[volttron]` in the configuration file, for tools: everything else of the file stays byte for byte.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::ConfigError;
use crate::ini;

/// The keys that `[volttron]` sets, in order; none for a missing file.
///
/// # Errors
/// If the file cannot be read or understood.
pub fn file_keys(path: &Path) -> Result<Vec<String>, ConfigError> {
    Ok(ini::read(path, false)?.entries.into_iter().map(|entry| entry.key.to_owned()).collect())
}

/// Gives each key its new value, in the place of its old one if it has one; `None` removes the key. Replaces the file at once; a new file
/// gets mode 0600.
///
/// # Errors
/// [`ConfigError::Problems`] when the file, or what it would become, cannot be understood; [`ConfigError::Read`]; [`ConfigError::Write`]. Then
/// it is unchanged.
pub fn set_keys(path: &Path, keys: &[(&'static str, Option<String>)]) -> Result<(), ConfigError> {
    // A link to the file is followed, so that the file itself is replaced and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = match fs::read(&target) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    let present = ini::parse(path, &old).map_err(ConfigError::Problems)?.entries;
    let text = String::from_utf8_lossy(&old);
    let mut lines: Vec<Option<String>> = text.split_inclusive('\n').map(|line| Some(line.to_owned())).collect();
    let mut added = Vec::new();
    for (key, value) in keys {
        let places: Vec<usize> = present.iter().filter(|entry| entry.key == *key).map(|entry| entry.line - 1).collect();
        let first = places.first().and_then(|place| lines.get(*place)).and_then(Option::as_deref);
        let new = match (value, first) {
            (Some(value), Some(first)) => Some(format!("{key} = {value}{}", if first.ends_with("\r\n") { "\r\n" } else { "\n" })),
            (Some(value), None) => {
                added.push(format!("{key} = {value}"));
                None
            }
            (None, _) => None,
        };
        for place in &places {
            lines[*place] = None;
        }
        if let Some(place) = places.first() {
            lines[*place] = new;
        }
    }
    let kept: String = lines.into_iter().flatten().collect();
    let new = if added.is_empty() { kept } else { ini::inserted(&kept, &added) };
    if new.as_bytes() == old {
        return Ok(());
    }
    ini::parse(path, new.as_bytes()).map_err(ConfigError::Problems)?;
    let mode = fs::metadata(&target).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777);
    ini::replace(&target, new.as_bytes(), mode).map_err(|source| ConfigError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str, keys: &[(&'static str, Option<&str>)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, text).unwrap();
        let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.map(str::to_owned))).collect();
        set_keys(&path, &keys).unwrap();
        fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn keys_are_replaced_where_they_stand_added_and_removed() {
        let text = "; mine\n[volttron]\ninstance-name = a\r\n# why\nvip-address = tcp://a:1\nvip-address = tcp://b:2\n[other]\nx=1\n";
        let keys =
            [("instance-name", Some("b")), ("vip-address", Some("tcp://c:3")), ("bind-web-address", None), ("message-bus", Some("zmq"))];
        let expected = "; mine\n[volttron]\ninstance-name = b\r\n# why\nvip-address = tcp://c:3\nmessage-bus = zmq\n[other]\nx=1\n";
        // The block that is added takes the line ends of the file.
        assert_eq!(after(text, &keys).replace("message-bus = zmq\r\n", "message-bus = zmq\n"), expected);
        assert_eq!(after("[volttron]\nlog = x", &[("log", None), ("message-bus", Some("zmq"))]), "[volttron]\nmessage-bus = zmq\n");
        assert_eq!(after("", &[("message-bus", Some("zmq"))]), "[volttron]\nmessage-bus = zmq\n");
    }

    #[test]
    fn what_cannot_be_understood_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "[volttron]\nnonsense = 1\n").unwrap();
        assert!(set_keys(&path, &[("message-bus", Some("zmq".to_owned()))]).is_err());
        fs::write(&path, "[volttron]\n").unwrap();
        assert!(set_keys(&path, &[("message-bus", Some("a\nb".to_owned()))]).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "[volttron]\n");
        assert!(file_keys(&path).unwrap().is_empty());
    }
}
