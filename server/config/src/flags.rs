//! What the command line gave, not yet judged: values stay text, so that a wrong one reads the same from every source. Option names and
//! help belong to the cli crate.

use std::path::PathBuf;

/// Options of the command line; what was not given is `None` or empty.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The platform's home, before `VOLTTRON_HOME`.
    pub home: Option<PathBuf>,
    /// `-c`: another configuration file; must exist.
    pub config: Option<PathBuf>,
    /// `-v`, counted.
    pub verbose: u8,
    /// `-q`, counted.
    pub quiet: u8,
    /// `--agent-monitor-frequency`.
    pub agent_monitor_frequency: Option<String>,
    /// `--access-token-minutes`.
    pub access_token_minutes: Option<String>,
    /// `--allow-auth`.
    pub allow_auth: Option<String>,
    /// `--autostart` is true, `--no-autostart` false.
    pub autostart: Option<bool>,
    /// `--bind-web-address`.
    pub bind_web_address: Option<String>,
    /// `--database-url`.
    pub database_url: Option<String>,
    /// `--instance-name`.
    pub instance_name: Option<String>,
    /// `-l`, `--log`.
    pub log: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--log-level`, repeatable.
    pub log_level: Vec<String>,
    /// `--message-bus`.
    pub message_bus: Option<String>,
    /// `--metrics-token`.
    pub metrics_token: Option<String>,
    /// `--refresh-token-minutes`.
    pub refresh_token_minutes: Option<String>,
    /// `--setup-mode`.
    pub setup_mode: Option<bool>,
    /// `--verboseness`.
    pub verboseness: Option<String>,
    /// `--vip-address`, repeatable.
    pub vip_address: Vec<String>,
    /// `--volttron-central-address`.
    pub volttron_central_address: Option<String>,
    /// `--volttron-central-rmq-address`.
    pub volttron_central_rmq_address: Option<String>,
    /// `--volttron-central-serverkey`.
    pub volttron_central_serverkey: Option<String>,
    /// `--web-ca-cert`.
    pub web_ca_cert: Option<String>,
    /// `--web-host-name`, repeatable.
    pub web_host_name: Vec<String>,
    /// `--web-secret-key`.
    pub web_secret_key: Option<String>,
    /// `--web-ssl-cert`.
    pub web_ssl_cert: Option<String>,
    /// `--web-ssl-key`.
    pub web_ssl_key: Option<String>,
    /// Key and text of every option with a value that was given; those that have a field above are not taken from here.
    pub others: Vec<(&'static str, String)>,
    /// Options of VOLTTRON without effect here that were given nevertheless, by key; each becomes a warning.
    pub unused: Vec<String>,
}

impl Flags {
    /// Key and text of everything given.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let bool_text = |value: bool| if value { "True" } else { "False" }.to_owned();
        let single = [
            ("access-token-minutes", self.access_token_minutes.clone()),
            ("agent-monitor-frequency", self.agent_monitor_frequency.clone()),
            ("allow-auth", self.allow_auth.clone()),
            ("autostart", self.autostart.map(bool_text)),
            ("bind-web-address", self.bind_web_address.clone()),
            ("database-url", self.database_url.clone()),
            ("instance-name", self.instance_name.clone()),
            ("log", self.log.clone()),
            ("log-format", self.log_format.clone()),
            ("message-bus", self.message_bus.clone()),
            ("metrics-token", self.metrics_token.clone()),
            ("refresh-token-minutes", self.refresh_token_minutes.clone()),
            ("setup-mode", self.setup_mode.map(bool_text)),
            ("verboseness", self.verboseness.clone()),
            ("volttron-central-address", self.volttron_central_address.clone()),
            ("volttron-central-rmq-address", self.volttron_central_rmq_address.clone()),
            ("volttron-central-serverkey", self.volttron_central_serverkey.clone()),
            ("web-ca-cert", self.web_ca_cert.clone()),
            ("web-secret-key", self.web_secret_key.clone()),
            ("web-ssl-cert", self.web_ssl_cert.clone()),
            ("web-ssl-key", self.web_ssl_key.clone()),
        ];
        let lists = [("log-level", &self.log_level), ("vip-address", &self.vip_address), ("web-host-name", &self.web_host_name)];
        let single = single.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let mut entries: Vec<_> =
            single.chain(lists.into_iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value.clone())))).collect();
        let others: Vec<_> = self.others.iter().filter(|(key, _)| !entries.iter().any(|(known, _)| known == key)).cloned().collect();
        entries.extend(others);
        entries
    }
}
