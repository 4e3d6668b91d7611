//! Every option of the server in one alphabetical list: the key in `[volttron]`, the long option on the command line, and, with
//! `VOLTTRON_` in front and in capitals, the environment variable. Source: VOLTTRON `volttron/platform/main.py`; options that VOLTTRON does
//! not have are marked as ours.

/// What shape a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// `True` or `False` (also yes/no, on/off, 1/0).
    Bool,
    /// May be given several times; in an environment variable separated by commas.
    List,
    /// A whole number.
    Number,
    /// Never shown.
    Secret,
    /// Any text; what it must look like stands in the help.
    Text,
    /// Known to VOLTTRON, accepted, without effect here; `help` says why.
    Unused,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Key in the file and long option.
    pub key: &'static str,
    /// Shape of the value.
    pub kind: OptionKind,
    /// What holds when nobody sets it, for people to read; empty for "not set".
    pub default: &'static str,
    /// One sentence or two.
    pub help: &'static str,
    /// Whether VOLTTRON does not know it.
    pub ours: bool,
}

const fn theirs(key: &'static str, kind: OptionKind, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { key, kind, default, help, ours: false }
}

const fn ours(key: &'static str, kind: OptionKind, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { key, kind, default, help, ours: true }
}

const PACKAGE: &str = "VOLTTRON's restricted package is not part of this platform";
const LEGACY: &str = "a socket of old VOLTTRON versions that nothing uses any more";

/// All options, sorted by key.
pub const OPTIONS: &[OptionSpec] = &[
    ours("access-token-minutes", OptionKind::Number, "15", "Life of an access token, 1 to 1440 minutes."),
    ours(
        "agent-cpu-percent",
        OptionKind::Number,
        "0",
        "Processor time of each package in Python, percent of one processor; 0 for no bound.",
    ),
    theirs(
        "agent-isolation-mode",
        OptionKind::Bool,
        "False",
        "Each agent in Python runs as a Unix user of its own; the platform has to run as root then.",
    ),
    ours("agent-memory-mb", OptionKind::Number, "0", "Memory of each package in Python, MiB; 0 for no bound."),
    theirs("agent-monitor-frequency", OptionKind::Number, "600", "Seconds between two looks for crashed agents, 1 to 86400."),
    ours("agent-open-files", OptionKind::Number, "0", "Open files of each package in Python; 0 for no bound."),
    ours(
        "agent-processes",
        OptionKind::Number,
        "0",
        "Processes and threads of each package in Python, where the platform has a control group; 0 for no bound.",
    ),
    theirs("allow-auth", OptionKind::Bool, "True", "False lets every peer of the bus do everything."),
    theirs("autostart", OptionKind::Bool, "True", "Start enabled agents with the platform."),
    theirs(
        "bind-web-address",
        OptionKind::Text,
        "https://127.0.0.1:8443",
        "Where pages and API are served: http:// or https://, host and port.",
    ),
    ours(
        "database-url",
        OptionKind::Secret,
        "sqlite:$VOLTTRON_HOME/platform.sqlite",
        "Where audit log, sessions and alerts are kept: sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE.",
    ),
    theirs(
        "instance-name",
        OptionKind::Text,
        "the machine's name",
        "Unique name of this platform: letters, digits, '_', '-' and '.', at most 44.",
    ),
    theirs("log", OptionKind::Text, "standard error", "Log file, opened anew when it is moved away; '-' is standard output."),
    theirs("log-config", OptionKind::Unused, "", "Python logging set-ups have no meaning here; use log, log-level and log-format"),
    ours("log-format", OptionKind::Text, "text", "text, or json for one object per line."),
    theirs("log-level", OptionKind::List, "", "LOGGER:LEVEL, such as vt_bus:DEBUG."),
    theirs(
        "message-bus",
        OptionKind::Text,
        "embedded",
        "embedded: agents inside the server. zmq and rmq are accepted and served by the embedded bus for now.",
    ),
    ours(
        "metrics-token",
        OptionKind::Secret,
        "",
        "A collector on another machine reads /metrics with this text as its bearer token; at least 16 characters.",
    ),
    theirs("monitor", OptionKind::Unused, "", "use the metrics at /metrics"),
    theirs("msgdebug", OptionKind::Unused, "", "the message debugger is not available; use the live log of agents"),
    theirs("publish-address", OptionKind::Unused, "", LEGACY),
    ours("python-index-url", OptionKind::Secret, "", "Package index for agents in Python; otherwise pip's own configuration holds."),
    ours("python-interpreter", OptionKind::Text, "python3", "Interpreter for agents in Python, a name or a path."),
    ours(
        "python-volttron",
        OptionKind::Text,
        "",
        "What agents of VOLTTRON 7 to 9 need beside their own package, such as volttron==9.0.4, or the path of its wheel.",
    ),
    ours(
        "python-wheelhouse",
        OptionKind::List,
        "",
        "Folder with wheels for agents in Python; without python-index-url nothing is asked of the network then.",
    ),
    ours(
        "refresh-token-minutes",
        OptionKind::Number,
        "240",
        "Life of a session without use, 1 to 43200 minutes, not less than access-token-minutes.",
    ),
    theirs("resource-monitor", OptionKind::Unused, "", PACKAGE),
    theirs("restricted", OptionKind::Unused, "", PACKAGE),
    theirs("secure-agent-users", OptionKind::Bool, "False", "agent-isolation-mode as VOLTTRON 7 and 8 call it."),
    theirs(
        "setup-mode",
        OptionKind::Bool,
        "False",
        "Let unknown keys in and add them to auth.json; exchanging keys with other platforms is not available yet.",
    ),
    theirs("subscribe-address", OptionKind::Unused, "", LEGACY),
    theirs("verboseness", OptionKind::Number, "30", "Lowest level logged: 10 debug, 20 info, 30 warning, 40 error."),
    theirs("verify", OptionKind::Unused, "", PACKAGE),
    theirs(
        "vip-address",
        OptionKind::List,
        "",
        "Where peers over ZeroMQ connect besides the local socket: tcp://HOST:PORT or ipc://PATH. May be given several times.",
    ),
    theirs("vip-local-address", OptionKind::Unused, "", "the local socket is always run/vip.socket of the home"),
    theirs("volttron-central-address", OptionKind::Text, "", "A central management server: http(s)://, tcp:// or amqp(s)://."),
    theirs("volttron-central-rmq-address", OptionKind::Text, "", "The same for RabbitMQ: amqp(s)://."),
    theirs("volttron-central-serverkey", OptionKind::Text, "", "Public key of that server, 43 characters, when its address is tcp://."),
    theirs("web-ca-cert", OptionKind::Text, "", "File with CA certificates (PEM) for the platform's own https calls."),
    ours(
        "web-host-name",
        OptionKind::List,
        "",
        "Further host names and IP addresses for the server certificate that the platform makes itself.",
    ),
    theirs("web-secret-key", OptionKind::Secret, "", "Signs tokens when the web address is http; made at first start."),
    theirs("web-ssl-cert", OptionKind::Text, "", "Server certificate with its chain (PEM); needs web-ssl-key."),
    theirs("web-ssl-key", OptionKind::Text, "", "Key of web-ssl-cert (PEM)."),
];

/// The option of `key`.
pub(crate) fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.key == key)
}

/// Keys that mean "not" another key, as VOLTTRON's long options do.
pub(crate) fn negated(key: &str) -> Option<&'static OptionSpec> {
    let option = find(key.strip_prefix("no-")?)?;
    matches!(option.key, "autostart" | "resource-monitor" | "restricted" | "verify").then_some(option)
}

/// The environment variable of an option: `VOLTTRON_BIND_WEB_ADDRESS` for `bind-web-address`.
#[must_use]
pub fn environment_name(key: &str) -> String {
    format!("VOLTTRON_{}", key.replace('-', "_").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_every_option_is_explained() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].key < pair[1].key));
        for option in OPTIONS {
            assert!(option.help.len() > 10, "{}", option.key);
        }
    }

    #[test]
    fn environment_names_never_meet_those_that_agents_read() {
        // VOLTTRON gives these to agents; a server started from an agent's shell must not take them for its own.
        for taken in ["VOLTTRON_HOME", "VOLTTRON_VIP_ADDR", "VOLTTRON_SERVERKEY", "VOLTTRON_ROOT"] {
            assert!(OPTIONS.iter().all(|option| environment_name(option.key) != taken));
        }
        assert_eq!(environment_name("bind-web-address"), "VOLTTRON_BIND_WEB_ADDRESS");
    }
}
