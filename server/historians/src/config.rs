//! A historian's settings, with VOLTTRON's names and defaults; `-` in a name is read as `_`. Unknown names are left alone, as VOLTTRON does.
//! Source: VOLTTRON `volttron/platform/agent/base_historian.py`, SQLHistorian README.

use std::{collections::BTreeMap, time::Duration};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use crate::store::Retention;

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("historian setting {field}: {reason}")]
pub struct ConfigError {
    /// Its name, with the names of the objects around it: `connection.params.port`.
    pub field: String,
    /// What it should be.
    pub reason: String,
}

impl ConfigError {
    fn new(field: &str, reason: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason: reason.into() }
    }
}

/// One replacement of `topic_replace_list`: every occurrence of `from`, without regard to case.
#[derive(Debug, Clone)]
pub struct TopicReplacement {
    from: Regex,
    to: String,
}

impl TopicReplacement {
    /// `topic` after this replacement.
    #[must_use]
    pub fn apply(&self, topic: &str) -> String {
        self.from.replace_all(topic, regex::NoExpand(&self.to)).into_owned()
    }
}

/// The four kinds of subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CaptureKind {
    /// `capture_device_data`: `devices`.
    Device,
    /// `capture_analysis_data`: `analysis`.
    Analysis,
    /// `capture_log_data`: `datalogger`.
    Log,
    /// `capture_record_data`: `record`.
    Record,
}

impl CaptureKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Device, Self::Analysis, Self::Log, Self::Record];

    /// Its setting's name.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Device => "capture_device_data",
            Self::Analysis => "capture_analysis_data",
            Self::Log => "capture_log_data",
            Self::Record => "capture_record_data",
        }
    }

    /// The topic prefix it subscribes to.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Device => "devices",
            Self::Analysis => "analysis",
            Self::Log => "datalogger",
            Self::Record => "record",
        }
    }
}

/// Which store, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// `{"type": "sqlite", "params": {"database": ...}}`.
    Sqlite {
        /// A file; a relative name lies in the historian's data directory.
        database: String,
    },
    /// `{"type": "postgresql", "params": {"dbname", "host", "port", "user", "password"}}`.
    Postgres(PostgresParams),
}

/// How to reach a PostgreSQL server. `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresParams {
    /// Database; `database` is read as well.
    pub dbname: String,
    /// Host name, address or the directory of a socket.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User; default: the server's own rule.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
}

impl std::fmt::Debug for PostgresParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresParams")
            .field("dbname", &self.dbname)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Names of the tables, checked to be plain identifiers since they become part of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames {
    /// Readings.
    pub data: String,
    /// Topics.
    pub topics: String,
    /// Metadata, in VOLTTRON 6 alone.
    pub meta: String,
    /// Aggregates.
    pub aggregate_topics: String,
    /// Metadata of aggregates.
    pub aggregate_meta: String,
    /// What stands before the name of `<type>_<period>` tables.
    pub prefix: String,
}

/// Everything a historian is told.
#[derive(Debug, Clone)]
pub struct HistorianConfig {
    /// Which store.
    pub connection: Connection,
    /// `tables_def`.
    pub tables: TableNames,
    /// Wait for new data or after a failure.
    pub retry_period: Duration,
    /// Most records per batch to the store out of the cache.
    pub submit_size_limit: usize,
    /// Longest time that one batch to a remote store may take before it counts as failed: a database that fell silent is noticed.
    pub max_time_publishing: Duration,
    /// Most bytes in the cache.
    pub backup_storage_limit_bytes: Option<u64>,
    /// Fraction of it at which the cache counts as full.
    pub backup_storage_report: f64,
    /// `topic_replace_list`.
    pub topic_replace_list: Vec<TopicReplacement>,
    /// Queries only.
    pub readonly: bool,
    /// Which kinds are captured.
    pub capture: Vec<CaptureKind>,
    /// Extra prefixes per kind.
    pub custom_topics: BTreeMap<CaptureKind, Vec<String>>,
    /// Log a line each so many records; 0 is never.
    pub message_publish_count: u64,
    /// `history_limit_days`, `storage_limit_gb`.
    pub retention: Retention,
    /// Use SynchronizedTimeStamp for devices.
    pub sync_timestamp: bool,
    /// Device substring to the points that are kept.
    pub device_data_filter: Vec<(String, Vec<String>)>,
    /// Records further than this from now go to time_error.
    pub time_tolerance: Option<Duration>,
    /// Topic prefixes to which the tolerance applies.
    pub time_tolerance_topics: Vec<String>,
    /// Cache, do not publish.
    pub cache_only_enabled: bool,
    /// Names that were given and have no effect any more, for a warning.
    pub deprecated: Vec<&'static str>,
}

impl HistorianConfig {
    /// Bytes at which the cache counts as full.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a fraction of a number of bytes"
    )]
    pub fn report_bytes(&self) -> Option<u64> {
        self.backup_storage_limit_bytes.map(|limit| (limit as f64 * self.backup_storage_report) as u64)
    }

    /// The settings in `raw`; what is absent or null has VOLTTRON's default.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that cannot be used.
    pub fn parse(raw: &Map<String, Value>) -> Result<Self, ConfigError> {
        let settings = Settings::new(raw);
        let readonly = settings.boolean("readonly", false)?;
        let mut capture = Vec::new();
        for kind in CaptureKind::ALL {
            if settings.boolean(kind.setting(), true)? {
                capture.push(kind);
            }
        }
        Ok(Self {
            connection: connection(&settings)?,
            tables: tables(&settings)?,
            retry_period: settings.seconds("retry_period", 300.0)?,
            submit_size_limit: settings.count("submit_size_limit", 1000)?,
            max_time_publishing: settings.seconds("max_time_publishing", 30.0)?,
            backup_storage_limit_bytes: settings.gigabytes("backup_storage_limit_gb")?,
            backup_storage_report: settings.number("backup_storage_report")?.unwrap_or(0.9).clamp(0.0001, 1.0),
            topic_replace_list: replacements(&settings)?,
            readonly,
            capture,
            custom_topics: custom_topics(&settings)?,
            message_publish_count: settings.whole("message_publish_count")?.unwrap_or(10_000),
            retention: Retention {
                history_limit_days: settings.positive("history_limit_days")?,
                storage_limit_bytes: settings.gigabytes("storage_limit_gb")?,
            },
            sync_timestamp: settings.boolean("sync_timestamp", false)?,
            device_data_filter: lists(&settings, "device_data_filter")?,
            time_tolerance: settings.positive("time_tolerance")?.map(|minutes| duration("time_tolerance", minutes * 60.0)).transpose()?,
            time_tolerance_topics: match settings.get("time_tolerance_topics") {
                Some(value) => texts("time_tolerance_topics", value)?,
                None => vec!["devices".to_owned()],
            },
            cache_only_enabled: settings.boolean("cache_only_enabled", false)?,
            deprecated: ["agentid", "identity"].into_iter().filter(|name| settings.get(name).is_some()).collect(),
        })
    }
}

struct Settings<'a>(BTreeMap<String, &'a Value>);

impl<'a> Settings<'a> {
    fn new(raw: &'a Map<String, Value>) -> Self {
        Self(raw.iter().map(|(name, value)| (name.replace('-', "_"), value)).collect())
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).copied().filter(|value| !value.is_null())
    }

    fn boolean(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| ConfigError::new(name, format!("must be true or false, not {value}"))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        number.filter(|number| number.is_finite()).map(Some).ok_or_else(|| ConfigError::new(name, format!("must be a number, not {value}")))
    }

    fn positive(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        match self.number(name)? {
            Some(number) if number <= 0.0 => Err(ConfigError::new(name, format!("must be greater than 0, not {number}"))),
            number => Ok(number),
        }
    }

    fn whole(&self, name: &str) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        number.map(Some).ok_or_else(|| ConfigError::new(name, format!("must be a whole number, 0 or more, not {value}")))
    }

    fn count(&self, name: &str, default: usize) -> Result<usize, ConfigError> {
        match self.whole(name)? {
            None => Ok(default),
            Some(0) => Err(ConfigError::new(name, "must be 1 or more")),
            Some(number) => usize::try_from(number).map_err(|_| ConfigError::new(name, "is too large")),
        }
    }

    fn seconds(&self, name: &str, default: f64) -> Result<Duration, ConfigError> {
        duration(name, self.positive(name)?.unwrap_or(default))
    }

    fn gigabytes(&self, name: &str) -> Result<Option<u64>, ConfigError> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and a float to integer cast saturates")]
        Ok(self.positive(name)?.map(|gigabytes| (gigabytes * 1024.0 * 1024.0 * 1024.0) as u64))
    }
}

fn duration(name: &str, seconds: f64) -> Result<Duration, ConfigError> {
    Duration::try_from_secs_f64(seconds).map_err(|_| ConfigError::new(name, format!("{seconds} s is too long")))
}

fn connection(settings: &Settings<'_>) -> Result<Connection, ConfigError> {
    let Some(connection) = settings.get("connection") else {
        return Ok(Connection::Sqlite { database: "platform.historian.sqlite".to_owned() });
    };
    let connection = connection.as_object().ok_or_else(|| ConfigError::new("connection", "must be an object with type and params"))?;
    let kind = connection
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| ConfigError::new("connection.type", "must be sqlite or postgresql"))?;
    let empty = Map::new();
    let params = match connection.get("params") {
        None | Some(Value::Null) => &empty,
        Some(params) => params.as_object().ok_or_else(|| ConfigError::new("connection.params", "must be an object"))?,
    };
    match kind.to_ascii_lowercase().as_str() {
        "sqlite" => {
            let database = optional_text(params, "database")?.unwrap_or("platform.historian.sqlite");
            Ok(Connection::Sqlite { database: database.to_owned() })
        }
        "postgresql" | "postgres" => postgres(params).map(Connection::Postgres),
        other => Err(ConfigError::new("connection.type", format!("{other:?} is not known; use sqlite or postgresql"))),
    }
}

fn postgres(params: &Map<String, Value>) -> Result<PostgresParams, ConfigError> {
    let dbname = match optional_text(params, "dbname")? {
        Some(name) => name,
        None => optional_text(params, "database")?.ok_or_else(|| ConfigError::new("connection.params.dbname", "is missing"))?,
    };
    let port = match params.get("port") {
        None | Some(Value::Null) => 5432,
        Some(value) => value
            .as_u64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .ok_or_else(|| ConfigError::new("connection.params.port", format!("must be a port, 1 to 65535, not {value}")))?,
    };
    Ok(PostgresParams {
        dbname: dbname.to_owned(),
        host: optional_text(params, "host")?.unwrap_or("localhost").to_owned(),
        port,
        user: optional_text(params, "user")?.map(str::to_owned),
        password: optional_text(params, "password")?.map(str::to_owned),
    })
}

fn optional_text<'a>(params: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ConfigError> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && !text.contains('\0') => Ok(Some(text)),
        Some(_) => Err(ConfigError::new(&format!("connection.params.{name}"), "must be text that is not empty")),
    }
}

fn tables(settings: &Settings<'_>) -> Result<TableNames, ConfigError> {
    let empty = Map::new();
    let definitions = match settings.get("tables_def") {
        None => &empty,
        Some(value) => value.as_object().ok_or_else(|| ConfigError::new("tables_def", "must be an object"))?,
    };
    let name = |key: &str, default: &str| -> Result<String, ConfigError> {
        let field = format!("tables_def.{key}");
        match definitions.get(key) {
            None | Some(Value::Null) => Ok(default.to_owned()),
            Some(Value::String(text)) if text.is_empty() && default.is_empty() => Ok(String::new()),
            Some(Value::String(text)) if is_identifier(text) => Ok(text.clone()),
            Some(value) => Err(ConfigError::new(&field, format!("{value} is not a table name; use letters, digits and _, at most 40"))),
        }
    };
    let prefix = name("table_prefix", "")?;
    let prefix = if prefix.is_empty() { prefix } else { format!("{prefix}_") };
    let (data, topics, meta) = (name("data_table", "data")?, name("topics_table", "topics")?, name("meta_table", "meta")?);
    Ok(TableNames {
        data: format!("{prefix}{data}"),
        aggregate_topics: format!("{prefix}aggregate_{topics}"),
        aggregate_meta: format!("{prefix}aggregate_{meta}"),
        topics: format!("{prefix}{topics}"),
        meta: format!("{prefix}{meta}"),
        prefix,
    })
}

/// Whether `text` may stand in SQL as a table's name: a letter or `_`, then letters, digits or `_`, at most 40; no name of SQLite's own.
fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text.len() <= 40
        && !text.to_ascii_lowercase().starts_with("sqlite_")
}

fn replacements(settings: &Settings<'_>) -> Result<Vec<TopicReplacement>, ConfigError> {
    const FIELD: &str = "topic_replace_list";
    let Some(value) = settings.get(FIELD) else { return Ok(Vec::new()) };
    let list = value.as_array().ok_or_else(|| ConfigError::new(FIELD, "must be a list of {\"from\", \"to\"}"))?;
    list.iter()
        .enumerate()
        .map(|(index, entry)| {
            let field = format!("{FIELD}[{index}]");
            let from = entry.get("from").and_then(Value::as_str).filter(|from| !from.is_empty());
            let from = from.ok_or_else(|| ConfigError::new(&field, "needs \"from\", text that is not empty"))?;
            let to = entry.get("to").and_then(Value::as_str).ok_or_else(|| ConfigError::new(&field, "needs \"to\", text"))?;
            let from = RegexBuilder::new(&regex::escape(from)).case_insensitive(true).build();
            let from = from.map_err(|_| ConfigError::new(&field, "\"from\" is too long"))?;
            Ok(TopicReplacement { from, to: to.to_owned() })
        })
        .collect()
}

fn custom_topics(settings: &Settings<'_>) -> Result<BTreeMap<CaptureKind, Vec<String>>, ConfigError> {
    let mut topics = BTreeMap::new();
    for (name, prefixes) in lists(settings, "custom_topics")? {
        let kind = CaptureKind::ALL.into_iter().find(|kind| kind.setting() == name.replace('-', "_"));
        let kind = kind.ok_or_else(|| {
            let known = CaptureKind::ALL.map(CaptureKind::setting).join(", ");
            ConfigError::new("custom_topics", format!("{name:?} is not one of {known}"))
        })?;
        topics.insert(kind, prefixes);
    }
    Ok(topics)
}

fn lists(settings: &Settings<'_>, field: &str) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
    let Some(value) = settings.get(field) else { return Ok(Vec::new()) };
    let object = value.as_object().ok_or_else(|| ConfigError::new(field, "must be an object whose values are lists of texts"))?;
    object.iter().map(|(name, list)| Ok((name.clone(), texts(&format!("{field}.{name}"), list)?))).collect()
}

fn texts(field: &str, value: &Value) -> Result<Vec<String>, ConfigError> {
    let bad = || ConfigError::new(field, "must be a list of texts");
    value.as_array().ok_or_else(bad)?.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(bad)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(raw: &Value) -> Result<HistorianConfig, ConfigError> {
        HistorianConfig::parse(raw.as_object().unwrap())
    }

    #[test]
    fn defaults_are_volttrons() {
        let config = parsed(&json!({})).unwrap();
        assert_eq!(config.connection, Connection::Sqlite { database: "platform.historian.sqlite".into() });
        assert_eq!((config.retry_period, config.submit_size_limit), (Duration::from_secs(300), 1000));
        assert_eq!(config.capture, CaptureKind::ALL);
        assert_eq!(config.tables.data, "data");
        assert_eq!(config.time_tolerance_topics, ["devices"]);
        assert_eq!(config.retention, Retention::default());
    }

    #[test]
    fn dashes_are_read_as_underscores() {
        assert!(!parsed(&json!({"capture-device-data": false})).unwrap().capture.contains(&CaptureKind::Device));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (field, raw) in [
            ("retry_period", json!({"retry_period": "soon"})),
            ("retry_period", json!({"retry_period": 0})),
            ("submit_size_limit", json!({"submit_size_limit": 0})),
            ("readonly", json!({"readonly": "yes"})),
            ("connection.type", json!({"connection": {"type": "mongodb"}})),
            ("connection.params.port", json!({"connection": {"type": "postgresql", "params": {"dbname": "x", "port": 70000}}})),
            ("connection.params.dbname", json!({"connection": {"type": "postgresql"}})),
            ("tables_def.data_table", json!({"tables_def": {"data_table": "data; drop table topics"}})),
            ("tables_def.table_prefix", json!({"tables_def": {"table_prefix": "a\"b"}})),
            ("topic_replace_list[0]", json!({"topic_replace_list": [{"from": ""}]})),
            ("custom_topics", json!({"custom_topics": {"capture_all": ["x"]}})),
            ("device_data_filter.a", json!({"device_data_filter": {"a": "b"}})),
            ("history_limit_days", json!({"history_limit_days": -1})),
        ] {
            assert_eq!(parsed(&raw).unwrap_err().field, field);
        }
    }

    #[test]
    fn table_prefix_goes_before_every_name() {
        let tables = parsed(&json!({"tables_def": {"table_prefix": "site1", "data_table": "values1"}})).unwrap().tables;
        assert_eq!((tables.data.as_str(), tables.topics.as_str()), ("site1_values1", "site1_topics"));
        assert_eq!(tables.aggregate_topics, "site1_aggregate_topics");
    }

    #[test]
    fn replacements_ignore_case_and_take_regex_signs_as_text() {
        let config = parsed(&json!({"topic_replace_list": [{"from": "Campus.1", "to": "$0"}]})).unwrap();
        assert_eq!(config.topic_replace_list[0].apply("campus.1/CAMPUS.1/campusx1"), "$0/$0/campusx1");
    }

    #[test]
    fn the_password_is_not_in_debug_text() {
        let raw = json!({"connection": {"type": "postgresql", "params": {"dbname": "x", "password": "secret"}}});
        assert!(!format!("{:?}", parsed(&raw).unwrap()).contains("secret"));
    }
}
