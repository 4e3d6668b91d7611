//! Sources, precedence, refusals and warnings, each through `load` as a caller sees it.

use std::fs;

use super::*;
use crate::address::VipAddress;
use crate::ini::add_missing_keys;

/// A home whose file has `text` below `[volttron]`.
fn home(text: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("config"), format!("[volttron]\n{text}\n")).unwrap();
    home
}

fn load_with(home: &tempfile::TempDir, variables: &[(&str, &str)], flags: &Flags) -> Result<Loaded, ConfigError> {
    let path = home.path().to_str().unwrap();
    let all: Vec<_> = variables.iter().copied().chain([("VOLTTRON_HOME", path), ("HOME", path)]).collect();
    load(flags, &Environment::of(&all, Some("m1.example.org")))
}

fn load_file(text: &str) -> Result<Loaded, ConfigError> {
    load_with(&home(text), &[], &Flags::default())
}

#[test]
fn a_fresh_home_gets_the_defaults() {
    let home = tempfile::tempdir().unwrap();
    let loaded = load_with(&home, &[], &Flags::default()).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.web.bind.to_string(), "https://127.0.0.1:8443");
    assert_eq!(settings.instance_name, "m1");
    assert_eq!(settings.message_bus, MessageBus::Embedded);
    assert_eq!(settings.database, Database::Sqlite(home.path().join("platform.sqlite")));
    assert_eq!((settings.web.access_token_minutes, settings.web.refresh_token_minutes), (15, 240));
    assert!(settings.autostart && settings.allow_auth && !settings.setup_mode);
    assert_eq!(settings.log.level, LogLevel::Warn);
    assert_eq!(settings.agent_monitor_frequency_s, 600);
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.missing, [("instance-name", "m1".to_owned()), ("message-bus", "embedded".to_owned())]);
    assert!(!home.path().join("config").exists(), "reading writes nothing");
    add_missing_keys(&settings.config_file, &loaded.missing).unwrap();
    assert!(load_with(&home, &[], &Flags::default()).unwrap().missing.is_empty());
}

#[test]
fn command_line_over_environment_over_file() {
    let home = home("instance-name = file\nvip-address = tcp://file:1\nautostart = False");
    let variables = [("VOLTTRON_INSTANCE_NAME", "env"), ("VOLTTRON_VIP_ADDRESS", "tcp://env:1, tcp://env:2"), ("VOLTTRON_AUTOSTART", "")];
    let flags = Flags { instance_name: Some("flag".to_owned()), ..Flags::default() };
    assert_eq!(load_with(&home, &[], &Flags::default()).unwrap().settings.instance_name, "file");
    let of_environment = load_with(&home, &variables, &Flags::default()).unwrap().settings;
    assert_eq!(of_environment.instance_name, "env");
    assert_eq!(of_environment.vip_addresses.len(), 2, "the list of the file is replaced, not extended");
    assert!(!of_environment.autostart, "an empty variable counts as not set");
    assert_eq!(load_with(&home, &variables, &flags).unwrap().settings.instance_name, "flag");
    let skipped = load_with(&home, &[("SKIP_VOLTTRON_CONFIG", "")], &Flags::default()).unwrap();
    assert_eq!(skipped.settings.instance_name, "m1");
    assert!(skipped.missing.is_empty(), "a file that is skipped is not written either");
}

#[test]
fn another_file_must_exist() {
    let home = home("instance-name = file");
    let other = home.path().join("other");
    let flags = Flags { config: Some(other.clone()), ..Flags::default() };
    let error = load_with(&home, &[], &flags).unwrap_err();
    assert!(matches!(&error, ConfigError::Read { .. }) && error.to_string().contains("other"));
    fs::write(&other, "[volttron]\ninstance-name = other\n").unwrap();
    assert_eq!(load_with(&home, &[], &flags).unwrap().settings.instance_name, "other");
}

#[test]
fn wrong_values_are_refused_with_their_line_and_advice() {
    let long = format!("instance-name = {}", "x".repeat(1000));
    for (text, expected) in [
        ("bind-web-address = 127.0.0.1:8443", "bind-web-address: \"127.0.0.1:8443\" has no scheme; write https://127.0.0.1:8443"),
        ("message-bus = kafka", "message-bus: \"kafka\" is unknown; write embedded, zmq or rmq"),
        ("vip-address = 127.0.0.1:22916", "vip-address: \"127.0.0.1:22916\" must start with tcp:// or ipc://"),
        ("instance-name = a/../b", "instance-name: \"a/../b\" contains '/'"),
        ("instance-name = <img onerror=1>", "contains '<'"),
        ("instance-name = .hidden", "begins with a letter or digit"),
        (&long, "at most 44 characters, this one has 1000"),
        ("autostart = maybe", "autostart: \"maybe\" is neither True nor False"),
        ("agent-monitor-frequency = 0", "is not a whole number from 1 to 86400"),
        ("agent-monitor-frequency = 1.5", "is not a whole number from 1 to 86400"),
        ("access-token-minutes = 99999999999999999999", "is not a whole number"),
        ("access-token-minutes = 60\nrefresh-token-minutes = 30", "must not be less than access-token-minutes, which is 60"),
        ("web-ssl-cert = /nowhere.crt\nweb-ssl-key = /nowhere.pem", "web-ssl-cert: /nowhere.crt: No such file"),
        ("web-ssl-key = /dev/null", "web-ssl-cert is missing; give both or neither"),
        ("web-ssl-cert = /", "/ is not a file"),
        ("web-secret-key = short", "could be guessed"),
        ("metrics-token = short", "at least 16"),
        ("metrics-token = sixteen letters or more", "without blanks"),
        ("web-host-name = a b", "neither a host name nor an IP address"),
        ("database-url = mysql://x", "the URL must be sqlite:PATH or postgres://"),
        ("database-url = sqlite:", "write sqlite:PATH"),
        ("volttron-central-address = central", "must start with http://"),
        ("volttron-central-address = https://", "host name"),
        ("volttron-central-serverkey = abc", "43 characters"),
        ("log-level = vt_bus", "is not LOGGER:LEVEL"),
        ("log-format = xml", "write text or json"),
        ("verboseness = loud", "is not a whole number from 0 to 100"),
    ] {
        let error = load_file(text).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected), "{text:.80}: {message}");
        assert!(message.contains("config (line ") && message.len() < 400, "{message}");
    }
}

#[test]
fn a_wrong_value_is_refused_even_when_another_source_overrides_it() {
    let wrong = home("bind-web-address = ftp://127.0.0.1\nweb-ssl-cert = /nowhere.crt\nvip-address = x");
    let flags = Flags {
        bind_web_address: Some("https://127.0.0.1:0".to_owned()),
        vip_address: vec!["tcp://127.0.0.1:1".to_owned()],
        web_ssl_cert: Some("/proc/self/status".to_owned()),
        web_ssl_key: Some("/proc/self/status".to_owned()),
        ..Flags::default()
    };
    let message = load_with(&wrong, &[("VOLTTRON_BIND_WEB_ADDRESS", "y")], &flags).unwrap_err().to_string();
    for part in ["config (line 2): bind-web-address", "VOLTTRON_BIND_WEB_ADDRESS: bind-web-address", "config (line 4): vip-address"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("nowhere"), "files that are not used need not exist: {message}");
}

#[test]
fn a_password_in_a_wrong_url_is_not_repeated() {
    let message = load_file("database-url = mysql://vt:hush@x").unwrap_err().to_string();
    assert!(!message.contains("hush"), "{message}");
}

#[test]
fn every_problem_is_told_and_each_names_its_source() {
    let home = home("autostart = maybe");
    let flags = Flags { bind_web_address: Some("x".to_owned()), ..Flags::default() };
    let message = load_with(&home, &[("VOLTTRON_MESSAGE_BUS", "kafka")], &flags).unwrap_err().to_string();
    for part in ["command line: bind-web-address", "environment variable VOLTTRON_MESSAGE_BUS: message-bus", "config (line 2): autostart"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn what_works_with_a_reservation_is_a_warning() {
    for (text, expected) in [
        ("message-bus = rmq", "RabbitMQ is not available in this version"),
        ("setup-mode = True", "not available yet"),
        ("allow-auth = False", "every peer of the bus may do everything"),
        ("bind-web-address = http://0.0.0.0:8080", "use https"),
        ("msgdebug = True", "msgdebug has no effect"),
        ("instance-name = a\ninstance-name = b", "the last one holds"),
    ] {
        let loaded = load_file(text).unwrap();
        assert_eq!(loaded.warnings.len(), 1, "{text}: {:?}", loaded.warnings);
        assert!(loaded.warnings[0].0.contains(expected), "{text}: {}", loaded.warnings[0]);
    }
    assert!(load_file("msgdebug = False\nbind-web-address = http://127.0.0.1:8080").unwrap().warnings.is_empty());
}

#[test]
fn a_key_for_plain_http_is_made_once() {
    let home = home("bind-web-address = http://127.0.0.1:8080");
    let first = load_with(&home, &[], &Flags::default()).unwrap();
    let key = first.settings.web.secret_key.clone().unwrap();
    assert_eq!(key.expose().len(), 130);
    assert!(!format!("{:?}", first.settings).contains(key.expose()));
    add_missing_keys(&first.settings.config_file, &first.missing).unwrap();
    let second = load_with(&home, &[], &Flags::default()).unwrap();
    assert_eq!(second.settings.web.secret_key.unwrap(), key);
    assert!(second.missing.is_empty());
}

#[test]
fn the_seeds_file_is_understood() {
    let text =
        "message-bus = rmq\nvip-address = tcp://127.0.0.1:22916\ninstance-name = volttron_rmq\nbind-web-address = http://127.0.0.1:8080";
    let settings = load_file(text).unwrap().settings;
    assert_eq!(settings.instance_name, "volttron_rmq");
    assert_eq!(settings.message_bus, MessageBus::Rmq);
    assert_eq!(settings.vip_addresses, [VipAddress::parse("tcp://127.0.0.1:22916").unwrap()]);
}

#[test]
fn certificates_of_the_user_are_taken() {
    let home = home("web-ssl-cert = ~/a.crt\nweb-ssl-key = ~/a.pem\nweb-ca-cert = ~/a.crt");
    for name in ["a.crt", "a.pem"] {
        fs::write(home.path().join(name), "x").unwrap();
    }
    let web = load_with(&home, &[], &Flags::default()).unwrap().settings.web;
    assert_eq!(web.certificate.unwrap().key, home.path().join("a.pem"));
    assert_eq!(web.ca_bundle.unwrap(), home.path().join("a.crt"));
}

#[test]
fn databases_are_told_apart() {
    for (text, shown) in [
        ("sqlite:x.sqlite", "sqlite:/vh/x.sqlite"),
        ("sqlite:///a/b.sqlite", "sqlite:/a/b.sqlite"),
        ("postgres://localhost/vt", "postgres://localhost/vt"),
        ("postgresql://u:p@w@localhost:5432/vt", "postgresql://u:********@localhost:5432/vt"),
    ] {
        assert_eq!(database(text, Path::new("/vh")).unwrap().to_string(), shown);
    }
}

#[test]
fn log_levels_add_up() {
    for (verbose, quiet, text, level) in [
        (0, 0, "", LogLevel::Warn),
        (1, 0, "", LogLevel::Info),
        (2, 0, "", LogLevel::Debug),
        (9, 0, "", LogLevel::Trace),
        (0, 1, "", LogLevel::Error),
        (1, 0, "verboseness = 20", LogLevel::Debug),
    ] {
        let flags = Flags { verbose, quiet, ..Flags::default() };
        assert_eq!(load_with(&home(text), &[], &flags).unwrap().settings.log.level, level);
    }
    let log = load_file("log-level = vt_bus::router:DEBUG\nlog-level = volttron.platform:10\nlog = -").unwrap().settings.log;
    assert_eq!(log.modules, [("vt_bus::router".to_owned(), LogLevel::Debug), ("volttron.platform".to_owned(), LogLevel::Debug)]);
    assert_eq!(log.target, LogTarget::Stdout);
}

#[test]
fn a_machine_without_a_usable_name_gets_one() {
    for (host, name) in
        [(None, "volttron1"), (Some(""), "volttron1"), (Some("-"), "volttron1"), (Some("höst"), "hst"), (Some("a_b-1"), "a_b-1")]
    {
        assert_eq!(default_instance_name(host), name);
    }
    assert_eq!(default_instance_name(Some(&"x".repeat(64))).len(), INSTANCE_NAME_CHARS_MAX);
}

#[test]
fn unused_options_of_the_command_line_are_warned_about() {
    let flags = Flags { unused: vec!["monitor".to_owned()], ..Flags::default() };
    assert!(load_with(&home(""), &[], &flags).unwrap().warnings[0].0.contains("command line: monitor has no effect: use the metrics"));
}
