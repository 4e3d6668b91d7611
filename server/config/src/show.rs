//! The text of `--show-config`: `name repr(value)` lines in Python's spelling, sorted, secrets masked. Source: VOLTTRON
//! `volttron/platform/config.py`.

use crate::settings::{LogFormat, LogTarget, Settings};

impl Settings {
    /// One line per option, such as `agent_monitor_frequency 600`, each ended by a line end.
    #[must_use]
    pub fn show(&self) -> String {
        let mut lines: Vec<String> = self.pairs().into_iter().map(|(key, value)| format!("{} {value}\n", key.replace('-', "_"))).collect();
        lines.sort();
        lines.concat()
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let certificate = self.web.certificate.as_ref();
        let central = &self.volttron_central;
        vec![
            ("access-token-minutes", self.web.access_token_minutes.to_string()),
            ("agent-cpu-percent", self.python.cpu_percent.to_string()),
            ("agent-isolation-mode", boolean(self.python.is_isolated)),
            ("agent-memory-mb", self.python.memory_mb.to_string()),
            ("agent-monitor-frequency", self.agent_monitor_frequency_s.to_string()),
            ("agent-open-files", self.python.open_files.to_string()),
            ("agent-processes", self.python.processes.to_string()),
            ("allow-auth", boolean(self.allow_auth)),
            ("autostart", boolean(self.autostart)),
            ("bind-web-address", text(&self.web.bind.to_string())),
            ("config", text(&self.config_file.to_string_lossy())),
            ("database-url", text(&self.database.to_string())),
            ("instance-name", text(&self.instance_name)),
            ("log", log_target(&self.log.target)),
            ("log-format", text(if self.log.format == LogFormat::Json { "json" } else { "text" })),
            ("log-level", list(self.log.modules.iter().map(|(module, level)| format!("{module}:{}", level.as_str().to_uppercase())))),
            ("message-bus", text(self.message_bus.as_str())),
            ("metrics-token", optional(self.web.metrics_token.as_ref().map(|_| "********"))),
            ("python-index-url", optional(self.python.index_url.as_ref().map(|_| "********"))),
            ("python-interpreter", text(&self.python.interpreter)),
            ("python-volttron", optional(self.python.volttron.as_deref())),
            ("python-wheelhouse", list(self.python.wheelhouses.iter().map(|path| path.to_string_lossy().into_owned()))),
            ("refresh-token-minutes", self.web.refresh_token_minutes.to_string()),
            ("secure-agent-users", boolean(self.python.is_isolated)),
            ("setup-mode", boolean(self.setup_mode)),
            ("verboseness", text(self.log.level.as_str())),
            ("vip-address", list(self.vip_addresses.iter().map(ToString::to_string))),
            ("volttron-central-address", optional(central.address.as_deref())),
            ("volttron-central-rmq-address", optional(central.rmq_address.as_deref())),
            ("volttron-central-serverkey", optional(central.server_key.as_deref())),
            ("volttron-home", text(&self.home.to_string_lossy())),
            ("web-ca-cert", optional(self.web.ca_bundle.as_ref().map(|path| path.to_string_lossy()).as_deref())),
            ("web-host-name", list(self.web.host_names.iter().cloned())),
            ("web-secret-key", optional(self.web.secret_key.as_ref().map(|_| "********"))),
            ("web-ssl-cert", optional(certificate.map(|files| files.certificate.to_string_lossy()).as_deref())),
            ("web-ssl-key", optional(certificate.map(|files| files.key.to_string_lossy()).as_deref())),
        ]
    }
}

fn log_target(target: &LogTarget) -> String {
    match target {
        LogTarget::Stderr => "None".to_owned(),
        LogTarget::Stdout => text("-"),
        LogTarget::File(path) => text(&path.to_string_lossy()),
    }
}

fn boolean(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

fn optional(value: Option<&str>) -> String {
    value.map_or_else(|| "None".to_owned(), text)
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.map(|value| text(&value)).collect::<Vec<_>>().join(", "))
}

/// Python's `repr` of a text.
fn text(value: &str) -> String {
    let quote = if value.contains('\'') && !value.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if vt_types::topic::is_control(c) && u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if vt_types::topic::is_control(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, Flags, OPTIONS, OptionKind, load};

    fn shown(flags: &Flags) -> String {
        let environment = Environment::of(&[("HOME", "/nowhere"), ("VOLTTRON_HOME", "/nowhere/vh")], Some("m1"));
        load(flags, &environment).unwrap().settings.show()
    }

    #[test]
    fn every_option_is_shown_sorted_and_in_python_spelling() {
        let text = shown(&Flags { vip_address: vec!["tcp://127.0.0.1:22916".to_owned()], ..Flags::default() });
        let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.is_sorted());
        for option in OPTIONS.iter().filter(|option| option.kind != OptionKind::Unused) {
            assert!(names.contains(&option.key.replace('-', "_").as_str()), "{}", option.key);
        }
        for line in
            ["autostart True\n", "vip_address ['tcp://127.0.0.1:22916']\n", "log None\n", "bind_web_address 'https://127.0.0.1:8443'\n"]
        {
            assert!(text.contains(line), "{line}");
        }
    }

    #[test]
    fn secrets_are_masked() {
        let flags = Flags {
            web_secret_key: Some("hush".repeat(10)),
            metrics_token: Some("hush".repeat(10)),
            database_url: Some("postgres://vt:hush@db.example.org/vt?password=hush".to_owned()),
            ..Flags::default()
        };
        let text = shown(&flags);
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("database_url 'postgres://vt:********@db.example.org/vt'\n"), "{text}");
    }

    #[test]
    fn texts_are_written_as_python_does() {
        for (value, repr) in [("a", "'a'"), ("it's", "\"it's\""), ("'\"", "'\\'\"'"), ("\\\n\u{1b}\u{202e}", "'\\\\\\n\\x1b\\u202e'")] {
            assert_eq!(text(value), repr);
        }
    }
}
