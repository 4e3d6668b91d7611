//! The settings of a platform, valid as a whole. Plain data; how they come about is in `load`.

use std::fmt;
use std::path::PathBuf;

use crate::address::{VipAddress, WebAddress};

/// Longest instance name: certificates carry `<instance>.platform_web-server`, and a name in a certificate has at most 64 characters.
pub const INSTANCE_NAME_CHARS_MAX: usize = 44;

/// Everything that the platform is told from outside.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of all the platform's files; absolute. May not exist yet.
    pub home: PathBuf,
    /// The configuration file. May not exist yet.
    pub config_file: PathBuf,
    /// Unique name of this platform: letters, digits, `_`, `-`, `.`.
    pub instance_name: String,
    /// Which bus was asked for. The embedded bus serves in every case.
    pub message_bus: MessageBus,
    /// Where peers over ZeroMQ connect besides the local socket.
    pub vip_addresses: Vec<VipAddress>,
    /// Pages and API.
    pub web: WebSettings,
    /// A central management server above this platform.
    pub volttron_central: VolttronCentral,
    /// Audit log, sessions, alerts.
    pub database: Database,
    /// Logging.
    pub log: LogSettings,
    /// Between two looks for crashed agents, in seconds; 1 to 86400.
    pub agent_monitor_frequency_s: u32,
    /// Agents that are packages in Python.
    pub python: PythonSettings,
    /// Whether peers must be authorised.
    pub allow_auth: bool,
    /// Whether enabled agents start with the platform.
    pub autostart: bool,
    /// Whether the platform was asked to exchange keys with others.
    pub setup_mode: bool,
}

/// Pages and API.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// Where they are served.
    pub bind: WebAddress,
    /// Certificate and key of the user; without, the platform makes its own for https.
    pub certificate: Option<CertificateFiles>,
    /// CA certificates for the platform's own https calls.
    pub ca_bundle: Option<PathBuf>,
    /// Signs tokens; always there when the scheme is http.
    pub secret_key: Option<Secret>,
    /// Opens `/metrics` for a collector on another machine.
    pub metrics_token: Option<Secret>,
    /// Further names for the certificate that the platform makes itself.
    pub host_names: Vec<String>,
    /// Life of an access token, in minutes; 1 to 1440.
    pub access_token_minutes: u32,
    /// Life of a session without use, in minutes; not less than that of an access token.
    pub refresh_token_minutes: u32,
}

/// Agents that are packages in Python; 0 stands for no bound.
#[derive(Debug, Clone, Default)]
pub struct PythonSettings {
    /// Name or path of the interpreter.
    pub interpreter: String,
    /// Folders with wheels.
    pub wheelhouses: Vec<PathBuf>,
    /// The package index to ask; it may hold a password.
    pub index_url: Option<Secret>,
    /// What agents of VOLTTRON 7 to 9 need beside their own package.
    pub volttron: Option<String>,
    /// Memory of each agent, MiB.
    pub memory_mb: u32,
    /// Processor time of each agent, percent of one processor.
    pub cpu_percent: u32,
    /// Open files of each agent.
    pub open_files: u32,
    /// Processes and threads of each agent.
    pub processes: u32,
    /// Whether each agent runs as a Unix user of its own.
    pub is_isolated: bool,
}

/// A certificate of the user; both files could be read when the settings were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Key, PEM.
    pub key: PathBuf,
}

/// A central management server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolttronCentral {
    /// `http(s)://`, `tcp://` or `amqp(s)://`.
    pub address: Option<String>,
    /// `amqp(s)://`.
    pub rmq_address: Option<String>,
    /// Public key, 43 characters.
    pub server_key: Option<String>,
}

/// Which bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageBus {
    /// Agents inside the server.
    Embedded,
    /// Peers over ZeroMQ too.
    Zmq,
    /// Peers over RabbitMQ.
    Rmq,
}

impl MessageBus {
    /// `embedded`, `zmq`, `rmq`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Zmq => "zmq",
            Self::Rmq => "rmq",
        }
    }
}

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// A file; absolute. Made when missing.
    Sqlite(PathBuf),
    /// The whole URL, with its password.
    Postgres(Secret),
}

impl fmt::Display for Database {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let url = url.expose();
                let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
                // The last one: a password may contain an at sign. Parameters may hold a password, too.
                let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place).split('?').next().unwrap_or_default();
                let user = rest.rsplit_once('@').and_then(|(user, _)| user.split(':').next());
                match user {
                    Some(user) => write!(f, "{scheme}://{user}:********@{place}"),
                    None => write!(f, "{scheme}://{place}"),
                }
            }
        }
    }
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Where lines go.
    pub target: LogTarget,
    /// Their form.
    pub format: LogFormat,
    /// The lowest level that is logged.
    pub level: LogLevel,
    /// Other levels for single modules, such as `("vt_bus", Debug)`.
    pub modules: Vec<(String, LogLevel)>,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file; absolute.
    File(PathBuf),
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

/// Levels, from quiet to loud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// 40 and above.
    Error,
    /// 30.
    Warn,
    /// 20.
    Info,
    /// 10.
    Debug,
    /// Below 10.
    Trace,
}

impl LogLevel {
    /// The level of Python's number.
    #[must_use]
    pub fn of_number(number: i64) -> Self {
        match number {
            ..10 => Self::Trace,
            10..20 => Self::Debug,
            20..30 => Self::Info,
            30..40 => Self::Warn,
            40.. => Self::Error,
        }
    }

    /// As filter directives spell it: `error`, `warn`, `info`, `debug`, `trace`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of a word or number: `DEBUG`, `warning`, `20`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse() {
            return Some(Self::of_number(number));
        }
        match text.to_ascii_lowercase().as_str() {
            "critical" | "fatal" | "error" => Some(Self::Error),
            "warning" | "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            "trace" | "notset" => Some(Self::Trace),
            _ => None,
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}
