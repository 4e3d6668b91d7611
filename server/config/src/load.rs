//! Makes [`Settings`] out of all sources, or says everything that is wrong with them. Reads files, writes none.

use std::path::{Path, PathBuf};

use rand::RngExt;

use crate::address::{Scheme, VipAddress, WebAddress, check_remote};
use crate::environment::Environment;
use crate::error::{ConfigError, Warning, excerpt};
use crate::flags::Flags;
use crate::ini;
use crate::settings::{
    CertificateFiles, Database, INSTANCE_NAME_CHARS_MAX, LogFormat, LogLevel, LogSettings, LogTarget, MessageBus, PythonSettings, Secret,
    Settings, VolttronCentral, WebSettings,
};
use crate::values::Values;

/// Settings, and what belongs to them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What a person should know; to be logged once.
    pub warnings: Vec<Warning>,
    /// Keys that the file should have and has not, with their values, for [`crate::add_missing_keys`]: `instance-name`, `message-bus`, and
    /// `web-secret-key` when it was made just now.
    pub missing: Vec<(&'static str, String)>,
}

/// Loads the settings: `flags` over `environment` over the file over defaults. The file is `flags.config` (must exist), else
/// `$VOLTTRON_HOME/config` (may be missing), and is skipped when `SKIP_VOLTTRON_CONFIG` is set.
///
/// # Errors
/// [`ConfigError::Problems`] with everything that is wrong; or the home or the file cannot be used.
pub fn load(flags: &Flags, environment: &Environment) -> Result<Loaded, ConfigError> {
    let home = environment.volttron_home(flags.home.clone())?;
    let config_file = flags.config.clone().map_or_else(|| home.join("config"), |path| environment.expand(path));
    let skip = flags.config.is_none() && environment.contains("SKIP_VOLTTRON_CONFIG");
    let file = if skip { ini::Parsed::default() } else { ini::read(&config_file, flags.config.is_some())? };
    let mut values = Values::collect(flags, environment, &config_file, &file.entries);
    values.warnings.splice(0..0, file.warnings);

    let mut context = Context { environment, home: &home };
    let settings = context.settings(&mut values, flags, config_file);
    let Values { problems, warnings, .. } = values;
    let (Some(mut settings), true) = (settings, problems.is_empty()) else {
        return Err(ConfigError::Problems(problems));
    };
    let mut missing = vec![("instance-name", settings.instance_name.clone()), ("message-bus", settings.message_bus.as_str().to_owned())];
    if settings.web.bind.scheme == Scheme::Http && settings.web.secret_key.is_none() {
        let key = new_secret_key();
        missing.push(("web-secret-key", key.clone()));
        settings.web.secret_key = Some(Secret::new(key));
    }
    missing.retain(|(key, _)| file.entries.iter().all(|entry| entry.key != *key));
    Ok(Loaded { settings, warnings, missing: if skip { Vec::new() } else { missing } })
}

struct Context<'a> {
    environment: &'a Environment,
    home: &'a Path,
}

impl Context<'_> {
    /// `None` only when a problem has been noted.
    fn settings(&mut self, values: &mut Values, flags: &Flags, config_file: PathBuf) -> Option<Settings> {
        let instance_name = match values.text("instance-name") {
            Some(_) => values.parsed("instance-name", instance_name),
            None => Some(default_instance_name(self.environment.host_name())),
        };
        let message_bus = values.parsed("message-bus", message_bus).unwrap_or(MessageBus::Embedded);
        let vip_addresses = values.list("vip-address", VipAddress::parse);
        Self::warn_of_buses(values, message_bus);
        let setup_mode = values.boolean("setup-mode", false);
        if setup_mode {
            values.warn(
                "setup-mode",
                "every unknown key is let in and kept in auth.json; exchanging keys with other platforms is not available yet",
            );
        }
        let allow_auth = values.boolean("allow-auth", true);
        if !allow_auth {
            values.warn("allow-auth", "every peer of the bus may do everything");
        }
        let web = self.web(values);
        let database = self.database(values);
        let volttron_central = volttron_central(values);
        let log = self.log(values, flags);
        let agent_monitor_frequency_s = values.number("agent-monitor-frequency", 600, 1..=86_400);
        let autostart = values.boolean("autostart", true);
        let python = self.python(values);
        // Only now, when every problem has been noted.
        Some(Settings {
            home: self.home.to_owned(),
            config_file,
            instance_name: instance_name?,
            message_bus,
            vip_addresses,
            web: web?,
            volttron_central,
            database: database?,
            log,
            agent_monitor_frequency_s,
            python,
            allow_auth,
            autostart,
            setup_mode,
        })
    }

    fn warn_of_buses(values: &mut Values, bus: MessageBus) {
        if bus == MessageBus::Rmq {
            let text = "RabbitMQ is not available in this version; agents connect over ZeroMQ or live in the platform instead";
            values.warn("message-bus", text);
        }
    }

    fn web(&self, values: &mut Values) -> Option<WebSettings> {
        let bind = match values.text("bind-web-address") {
            Some(_) => values.parsed("bind-web-address", WebAddress::parse),
            None => Some(WebAddress { scheme: Scheme::Https, host: "127.0.0.1".to_owned(), port: 8443 }),
        };
        let certificate = self.readable(values, "web-ssl-cert");
        let key = self.readable(values, "web-ssl-key");
        match (values.text("web-ssl-cert").is_some(), values.text("web-ssl-key").is_some()) {
            (true, false) => values.conflict("web-ssl-cert", "web-ssl-key is missing; give both or neither"),
            (false, true) => values.conflict("web-ssl-key", "web-ssl-cert is missing; give both or neither"),
            _ => {}
        }
        let access_token_minutes = values.number("access-token-minutes", 15, 1..=1440);
        let refresh_token_minutes = values.number("refresh-token-minutes", 240, 1..=43_200);
        if refresh_token_minutes < access_token_minutes {
            values
                .conflict("refresh-token-minutes", &format!("must not be less than access-token-minutes, which is {access_token_minutes}"));
        }
        if bind.as_ref().is_some_and(|bind| bind.scheme == Scheme::Http && !bind.is_loopback()) {
            values.warn("bind-web-address", "passwords and tokens travel readable for everybody on the network; use https");
        }
        Some(WebSettings {
            certificate: certificate.zip(key).map(|(certificate, key)| CertificateFiles { certificate, key }),
            ca_bundle: self.readable(values, "web-ca-cert"),
            secret_key: values.parsed("web-secret-key", secret_key),
            metrics_token: values.parsed("metrics-token", metrics_token),
            host_names: values.list("web-host-name", host_name),
            access_token_minutes,
            refresh_token_minutes,
            bind: bind?,
        })
    }

    fn python(&self, values: &mut Values) -> PythonSettings {
        let folder = |text: &str| {
            let path = self.environment.expand(PathBuf::from(text));
            if path.is_dir() { Ok(path) } else { Err(format!("{} is not a directory", path.display())) }
        };
        let word = |text: &str| {
            let plain = !text.starts_with('-') && !text.contains(char::is_control);
            if plain { Ok(text.to_owned()) } else { Err("must not begin with '-'".to_owned()) }
        };
        PythonSettings {
            interpreter: values.parsed("python-interpreter", word).unwrap_or_else(|| "python3".to_owned()),
            wheelhouses: values.list("python-wheelhouse", folder),
            index_url: values.parsed("python-index-url", |text| word(text).map(Secret::new)),
            volttron: values.parsed("python-volttron", word),
            memory_mb: values.number("agent-memory-mb", 0, 0..=1 << 20),
            cpu_percent: values.number("agent-cpu-percent", 0, 0..=100_000),
            open_files: values.number("agent-open-files", 0, 0..=1 << 20),
            processes: values.number("agent-processes", 0, 0..=1 << 20),
            is_isolated: values.boolean("agent-isolation-mode", false) | values.boolean("secure-agent-users", false),
        }
    }

    fn database(&self, values: &mut Values) -> Option<Database> {
        match values.text("database-url") {
            None => Some(Database::Sqlite(self.home.join("platform.sqlite"))),
            Some(_) => values.parsed("database-url", |text| database(text, self.home)),
        }
    }

    fn log(&self, values: &mut Values, flags: &Flags) -> LogSettings {
        let target = values.parsed("log", |text| match text {
            "-" => Ok(LogTarget::Stdout),
            path => self.absolute(path).map(LogTarget::File),
        });
        let base = i64::from(values.number("verboseness", 30, 0..=100));
        let number = base - 10 * i64::from(flags.verbose) + 10 * i64::from(flags.quiet);
        LogSettings {
            target: target.unwrap_or(LogTarget::Stderr),
            format: values.parsed("log-format", log_format).unwrap_or(LogFormat::Text),
            level: LogLevel::of_number(number.max(1)),
            modules: values.list("log-level", module_level),
        }
    }

    /// A file that can be opened.
    fn readable(&self, values: &mut Values, key: &'static str) -> Option<PathBuf> {
        values.winner(key, |text| {
            let path = self.absolute(text)?;
            let file =
                std::fs::File::open(&path).and_then(|file| file.metadata()).map_err(|error| format!("{}: {error}", path.display()))?;
            if file.is_file() { Ok(path) } else { Err(format!("{} is not a file", path.display())) }
        })
    }

    fn absolute(&self, text: &str) -> Result<PathBuf, String> {
        if text.contains('\0') {
            return Err("a path may not contain NUL".to_owned());
        }
        std::path::absolute(self.environment.expand(PathBuf::from(text))).map_err(|error| format!("{}: {error}", excerpt(text)))
    }
}

/// Whether `name` can be an instance name.
///
/// # Errors
/// What is wrong, and what to write.
pub fn check_instance_name(name: &str) -> Result<(), String> {
    instance_name(name).map(drop)
}

fn instance_name(text: &str) -> Result<String, String> {
    let advice = "use letters A-Z, digits, '_', '-' and '.', such as volttron1";
    let length = text.chars().count();
    if length > INSTANCE_NAME_CHARS_MAX {
        return Err(format!("a name has at most {INSTANCE_NAME_CHARS_MAX} characters, this one has {length}"));
    }
    match text.chars().find(|c| !is_name_character(*c)) {
        Some(c) => Err(format!("{} contains {c:?}; {advice}", excerpt(text))),
        None if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) => Err(format!("a name begins with a letter or digit; {advice}")),
        None => Ok(text.to_owned()),
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The machine's name as far as it can be an instance name.
fn default_instance_name(host_name: Option<&str>) -> String {
    let name: String = host_name.unwrap_or_default().chars().filter(|c| is_name_character(*c)).take(INSTANCE_NAME_CHARS_MAX).collect();
    instance_name(&name).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "volttron1".to_owned())
}

fn message_bus(text: &str) -> Result<MessageBus, String> {
    [MessageBus::Embedded, MessageBus::Zmq, MessageBus::Rmq]
        .into_iter()
        .find(|bus| bus.as_str() == text)
        .ok_or_else(|| format!("{} is unknown; write embedded, zmq or rmq", excerpt(text)))
}

/// Ours has 130 hexadecimal digits; a person's own must be as strong as the hash that it keys.
fn secret_key(text: &str) -> Result<Secret, String> {
    const CHARS_MIN: usize = 32;
    let length = text.chars().count();
    if length < CHARS_MIN {
        return Err(format!(
            "the key has {length} characters and could be guessed; use at least {CHARS_MIN}, or remove the key and a new one is made"
        ));
    }
    Ok(Secret::new(text.to_owned()))
}

fn metrics_token(text: &str) -> Result<Secret, String> {
    const CHARS_MIN: usize = 16;
    let usable = text.len() >= CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then(|| Secret::new(text.to_owned())).ok_or_else(|| {
        format!("the token must have at least {CHARS_MIN} letters, digits or signs without blanks; any other could be guessed")
    })
}

fn new_secret_key() -> String {
    const BYTES: usize = 65;
    let mut bytes = [0_u8; BYTES];
    rand::rng().fill(&mut bytes[..]);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn host_name(text: &str) -> Result<String, String> {
    let valid = !text.is_empty()
        && text.len() <= 253
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | ':'));
    if valid { Ok(text.to_owned()) } else { Err(format!("{} is neither a host name nor an IP address", excerpt(text))) }
}

fn database(text: &str, home: &Path) -> Result<Database, String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        let plain = !path.is_empty() && !path.contains(['?', '\0']) && path != ":memory:";
        // A relative path lies in the home, not where somebody happened to start the server.
        return if plain { Ok(Database::Sqlite(home.join(path))) } else { Err("write sqlite:PATH, the path of a file".to_owned()) };
    }
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(Database::Postgres(Secret::new(text.to_owned()))),
        // Not repeated in the message: it may hold a password.
        _ => Err("the URL must be sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE".to_owned()),
    }
}

fn volttron_central(values: &mut Values) -> VolttronCentral {
    let remote =
        |schemes: &'static [&'static str], allowed| move |text: &str| check_remote(text, schemes, allowed).map(|()| text.to_owned());
    VolttronCentral {
        address: values.parsed(
            "volttron-central-address",
            remote(&["http", "https", "tcp", "amqp", "amqps"], "http://, https://, tcp://, amqp:// or amqps://"),
        ),
        rmq_address: values.parsed("volttron-central-rmq-address", remote(&["amqp", "amqps"], "amqp:// or amqps://")),
        server_key: values.parsed("volttron-central-serverkey", server_key),
    }
}

fn server_key(text: &str) -> Result<String, String> {
    let valid = text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if valid { Ok(text.to_owned()) } else { Err("a server key has 43 characters out of A-Z, a-z, 0-9, '-' and '_'".to_owned()) }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("{} is unknown; write text or json", excerpt(other))),
    }
}

fn module_level(text: &str) -> Result<(String, LogLevel), String> {
    let module =
        |module: &str| !module.is_empty() && module.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-'));
    text.rsplit_once(':')
        .filter(|(name, _)| module(name))
        .and_then(|(name, level)| Some((name.to_owned(), LogLevel::parse(level)?)))
        .ok_or_else(|| format!("{} is not LOGGER:LEVEL, such as vt_bus:DEBUG", excerpt(text)))
}

#[cfg(test)]
mod tests;
