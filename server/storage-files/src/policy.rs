//! Protected topics in `protected_topics.json`: `{"write-protect": [{"topic": text, "capabilities": text or [text]}]}`. People edit it; we
//! only read. An empty or missing file protects nothing. Source: VOLTTRON `volttron/platform/auth` (`_read_protected_topics_file`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use vt_backends::repositories::Stamp;
use vt_backends::{PolicyRepository, ProtectedTopic, RepositoryError};

use crate::atomic;
use crate::blocking::{self, unavailable};
use crate::json::{self, corrupt, excerpt};
use crate::stamp;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The protected topics of a home.
#[derive(Debug, Clone)]
pub struct FilePolicy {
    path: Arc<PathBuf>,
}

impl FilePolicy {
    /// The file of the home at `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { path: Arc::new(home.join("protected_topics.json")) }
    }
}

#[async_trait]
impl PolicyRepository for FilePolicy {
    async fn protected_topics(&self) -> Result<Vec<ProtectedTopic>, RepositoryError> {
        let path = Arc::clone(&self.path);
        blocking::run("protected topics", move || match atomic::read(&path, FILE_BYTES_MAX).map_err(unavailable(&path))? {
            Some(bytes) => parse(&path, &bytes),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError> {
        let path = Arc::clone(&self.path);
        blocking::run("protected topics", move || stamp::of(&path).map_err(unavailable(&path))).await
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<ProtectedTopic>, RepositoryError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let members = json::object(path, bytes)?.0;
    // A misspelt key would silently protect nothing.
    if let Some((key, _)) = members.iter().find(|(key, _)| key != "write-protect") {
        return Err(corrupt(path, json::line_of(bytes, key), format!("unknown key {}; expected \"write-protect\"", excerpt(key))));
    }
    let Some((_, list)) = members.into_iter().next() else {
        return Ok(Vec::new());
    };
    let Value::Array(entries) = list else {
        return Err(corrupt(path, json::line_of(bytes, "write-protect"), "\"write-protect\" must be a list"));
    };
    let number = |index: usize| format!("entry {} of \"write-protect\"", index + 1);
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let line = entry.get("topic").and_then(Value::as_str).and_then(|topic| json::line_of(bytes, topic));
            topic(entry).map_err(|problem| corrupt(path, line, format!("{}: {problem}", number(index))))
        })
        .collect()
}

fn topic(entry: &Value) -> Result<ProtectedTopic, &'static str> {
    let topic = entry.get("topic").and_then(Value::as_str).filter(|topic| !topic.is_empty()).ok_or("\"topic\" must be a text")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let capabilities = match entry.get("capabilities") {
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(several)) => several.iter().map(text).collect(),
        _ => None,
    };
    let capabilities = capabilities.filter(|list| !list.is_empty()).ok_or("\"capabilities\" must be a text or a list of texts")?;
    Ok(ProtectedTopic { topic: topic.to_owned(), capabilities })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_volttron_are_read_in_order() {
        let text = br#"{"write-protect": [{"topic": "foo", "capabilities": ["a", "b"]}, {"topic": "/foo/bar.*/", "capabilities": "c"}]}"#;
        let topics = parse(Path::new("p"), text).unwrap();
        assert_eq!(topics[0], ProtectedTopic { topic: "foo".to_owned(), capabilities: vec!["a".to_owned(), "b".to_owned()] });
        assert_eq!(topics[1], ProtectedTopic { topic: "/foo/bar.*/".to_owned(), capabilities: vec!["c".to_owned()] });
        for empty in ["", "\n", "{}", r#"{"write-protect": []}"#] {
            assert!(parse(Path::new("p"), empty.as_bytes()).unwrap().is_empty());
        }
    }

    #[test]
    fn wrong_files_protect_nothing_silently() {
        for (text, expected) in [
            ("{\n\"write_protect\": []}", "p (line 2): unknown key \"write_protect\""),
            (r#"{"write-protect": {}}"#, "must be a list"),
            ("{\"write-protect\": [\n{\"topic\": \"foo\"}]}", "p (line 2): entry 1 of \"write-protect\": \"capabilities\" must be"),
            (r#"{"write-protect": [{"topic": "a", "capabilities": []}]}"#, "\"capabilities\" must be"),
            (r#"{"write-protect": [{"capabilities": "x"}]}"#, "entry 1 of \"write-protect\": \"topic\" must be a text"),
            ("{\"write-protect\": [", "half-written"),
        ] {
            let error = parse(Path::new("p"), text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_protects_nothing() {
        let home = tempfile::tempdir().unwrap();
        let policy = FilePolicy::new(home.path());
        assert!(policy.protected_topics().await.unwrap().is_empty());
        assert_eq!(policy.stamp().await.unwrap(), None);
        std::fs::write(home.path().join("protected_topics.json"), "{").unwrap();
        assert!(matches!(policy.protected_topics().await, Err(RepositoryError::Corrupt { .. })));
        assert!(policy.stamp().await.unwrap().is_some());
    }
}
