//! Web users in `web-users.json`: an object by user name, each `{"hashed_password": PHC text, "groups": [text], ...}`; further keys are
//! kept. Written indented, mode 0600, replaced at once. Source: VOLTTRON `volttron/platform/web/__init__.py`, `authenticate_endpoint.py`.
//! Differs from VOLTTRON: version 6's Python pickles are refused and never interpreted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use vt_backends::repositories::Stamp;
use vt_backends::{RepositoryError, UserRecord, UserRepository, Users};
use vt_types::topic::is_control;

use crate::atomic::{self, PRIVATE};
use crate::blocking::{self, unavailable};
use crate::json::{self, corrupt, excerpt};
use crate::stamp;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Longest user name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The users of a home.
#[derive(Debug, Clone)]
pub struct FileUsers {
    path: Arc<PathBuf>,
    writing: Arc<Mutex<()>>,
}

impl FileUsers {
    /// The users file of the home at `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { path: Arc::new(home.join("web-users.json")), writing: Arc::default() }
    }
}

#[async_trait]
impl UserRepository for FileUsers {
    async fn load(&self) -> Result<Users, RepositoryError> {
        let path = Arc::clone(&self.path);
        blocking::run("web users", move || match atomic::read(&path, FILE_BYTES_MAX).map_err(unavailable(&path))? {
            Some(bytes) => parse(&path, &bytes),
            None => Ok(Users::new()),
        })
        .await
    }

    async fn save(&self, users: &Users) -> Result<(), RepositoryError> {
        let (path, writing) = (Arc::clone(&self.path), Arc::clone(&self.writing));
        let bytes = render(users);
        blocking::run("web users", move || {
            let _turn = writing.lock();
            atomic::write(&path, &bytes, PRIVATE).map_err(unavailable(&path))
        })
        .await
    }

    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError> {
        let path = Arc::clone(&self.path);
        blocking::run("web users", move || stamp::of(&path).map_err(unavailable(&path))).await
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Users, RepositoryError> {
    if is_pickle(bytes) {
        let problem = "the file is a Python pickle, as VOLTTRON 6 wrote it; move it away and make the first administrator anew in the browser, \
                       or convert it with VOLTTRON 9 to JSON";
        return Err(corrupt(path, None, problem));
    }
    // VOLTTRON makes an empty file before it writes the first user.
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Users::new());
    }
    let mut users = Users::new();
    for (name, value) in json::object(path, bytes)?.0 {
        let wrong = |problem: &str| corrupt(path, json::line_of(bytes, &name), format!("user {}: {problem}", excerpt(&name)));
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(is_control) {
            return Err(wrong("a user name has 1 to 255 bytes and no control characters"));
        }
        let record = user(value).map_err(wrong)?;
        users.insert(name, record);
    }
    Ok(users)
}

fn user(value: Value) -> Result<UserRecord, &'static str> {
    let Value::Object(mut extra) = value else {
        return Err("the value must be an object with hashed_password and groups");
    };
    let Some(Value::String(hashed_password)) = extra.shift_remove("hashed_password") else {
        return Err("hashed_password is missing or is not text");
    };
    let groups = match extra.shift_remove("groups") {
        None => Vec::new(),
        Some(Value::Array(groups)) => {
            let texts = groups.into_iter().map(|group| if let Value::String(text) = group { Some(text) } else { None });
            texts.collect::<Option<Vec<_>>>().ok_or("groups must be a list of texts")?
        }
        Some(_) => return Err("groups must be a list of texts"),
    };
    Ok(UserRecord { hashed_password, groups, extra })
}

fn render(users: &Users) -> Vec<u8> {
    let object: Map<String, Value> = users
        .iter()
        .map(|(name, user)| {
            let mut record = Map::new();
            record.insert("hashed_password".to_owned(), Value::String(user.hashed_password.clone()));
            record.insert("groups".to_owned(), user.groups.iter().cloned().map(Value::String).collect());
            record.extend(user.extra.clone());
            (name.clone(), Value::Object(record))
        })
        .collect();
    format!("{:#}\n", Value::Object(object)).into_bytes()
}

/// Protocols 2 to 5 begin with their number; protocol 0 of an object begins with `(d`.
fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..] | [b'(', b'd' | b'l', ..])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parse_text(text: &[u8]) -> Result<Users, String> {
        parse(Path::new("web-users.json"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn files_of_volttron_are_read() {
        let text =
            r#"{"dana": {"hashed_password": "$argon2id$x", "groups": ["admin", "vui"], "site": 7}, "kiosk": {"hashed_password": "y"}}"#;
        let users = parse_text(text.as_bytes()).unwrap();
        assert_eq!(users["dana"].groups, ["admin", "vui"]);
        assert_eq!(users["dana"].extra["site"], 7);
        assert!(users["kiosk"].groups.is_empty());
        assert!(parse_text(b"").unwrap().is_empty());
        assert!(parse_text(b" \n").unwrap().is_empty());
    }

    #[test]
    fn broken_files_are_refused_with_file_and_line() {
        let long = format!(r#"{{"{}": {{"hashed_password": "x"}}}}"#, "u".repeat(65_536));
        for (text, expected) in [
            (b"\x80\x03}q\x00.".as_slice(), "web-users.json: the file is a Python pickle"),
            (b"(dp0\n.", "web-users.json: the file is a Python pickle"),
            (b"{\"a\": {\"hashed_pass", "web-users.json (line 1): the file ends too early; it may be half-written"),
            (b"{\n\"a\": 1}", "web-users.json (line 2): user \"a\": the value must be an object"),
            (b"{\n\"a\": {\"groups\": []}}", "web-users.json (line 2): user \"a\": hashed_password is missing"),
            (b"{\"a\": {\"hashed_password\": \"x\", \"groups\": \"admin\"}}", "groups must be a list of texts"),
            (b"{\"a\": {\"hashed_password\": \"x\", \"groups\": [1]}}", "groups must be a list of texts"),
            (b"{\"a\\u202eb\": {\"hashed_password\": \"x\"}}", "no control characters"),
            (b"{\"\": {\"hashed_password\": \"x\"}}", "1 to 255 bytes"),
            (b"{\"a\": {\"hashed_password\": \"x\"},\n\"a\": {\"hashed_password\": \"y\"}}", "\"a\" stands twice"),
            (long.as_bytes(), "1 to 255 bytes"),
        ] {
            let error = parse_text(text).unwrap_err();
            assert!(error.contains(expected) && error.len() < 400, "{error}");
        }
    }

    #[tokio::test]
    async fn the_file_is_private_and_keeps_what_we_do_not_know() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("web-users.json");
        fs::write(&path, r#"{"dana": {"site": {"b": 1, "a": 2}, "groups": ["admin"], "hashed_password": "x"}}"#).unwrap();
        let repository = FileUsers::new(home.path());
        let users = repository.load().await.unwrap();
        repository.save(&users).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\n  \"dana\": {\n"), "indented: {text}");
        assert!(text.find("\"b\"").unwrap() < text.find("\"a\"").unwrap(), "order is kept: {text}");
        assert_eq!(repository.load().await.unwrap(), users);
    }

    #[tokio::test]
    async fn edits_from_outside_change_the_stamp() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("web-users.json");
        let repository = FileUsers::new(home.path());
        assert_eq!(repository.stamp().await.unwrap(), None);
        fs::write(&path, "{}").unwrap();
        let first = repository.stamp().await.unwrap();
        assert_eq!(repository.stamp().await.unwrap(), first);
        fs::write(&path, "{ }").unwrap();
        let second = repository.stamp().await.unwrap();
        assert_ne!(second, first);
        fs::write(home.path().join("new"), "{ }").unwrap();
        fs::rename(home.path().join("new"), &path).unwrap();
        assert_ne!(repository.stamp().await.unwrap(), second, "same size, another file");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let repository = FileUsers::new(&home.path().join("gone"));
        assert!(matches!(repository.save(&Users::new()).await, Err(RepositoryError::Unavailable { .. })));
        assert!(repository.load().await.unwrap().is_empty());
    }
}
