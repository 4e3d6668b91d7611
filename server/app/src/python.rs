//! Settings of agents in Python, from the platform's own and from the environment that it runs in.

use std::path::PathBuf;
use std::time::Duration;

use vt_config::{Environment, Scheme, Settings};
use vt_host::{Limits, PackagesConfig, ProcessConfig};

/// Variables of the platform's environment that agents get as well.
const HANDED_ON: &[&str] =
    &["HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "VOLTTRON_VIP_ADDR", "SSL_CERT_DIR", "SSL_CERT_FILE"];
/// Beginnings of the names of further ones.
const HANDED_ON_PREFIXES: &[&str] = &["LC_"];
/// What the tools that fetch packages get beside these. Their configuration may hold passwords of an index.
const FOR_TOOLS_PREFIXES: &[&str] = &["PIP_", "UV_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// How child processes are run.
pub fn process_config(settings: &Settings, environment: &Environment) -> ProcessConfig {
    let mut variables = environment.chosen(is_for_agents);
    let python = |value: bool| if value { "True" } else { "False" }.to_owned();
    let bus = if settings.message_bus.as_str() == "rmq" { "rmq" } else { "zmq" };
    variables.extend([
        ("AGENT_ISOLATION_MODE".to_owned(), python(settings.python.is_isolated)),
        ("AUTH_ENABLED".to_owned(), python(settings.allow_auth)),
        ("BIND_WEB_ADDRESS".to_owned(), settings.web.bind.to_string()),
        ("MESSAGEBUS".to_owned(), bus.to_owned()),
    ]);
    if let Some(bundle) = settings.web.ca_bundle.as_ref().filter(|_| settings.web.bind.scheme == Scheme::Https) {
        variables.push(("REQUESTS_CA_BUNDLE".to_owned(), bundle.to_string_lossy().into_owned()));
    }
    let some = |value: u32| (value > 0).then_some(u64::from(value));
    let python = &settings.python;
    ProcessConfig {
        environment: variables,
        interpreter: python.interpreter.clone(),
        reset_after: Duration::from_secs(settings.agent_monitor_frequency_s.into()),
        limits: Limits {
            memory_bytes: some(python.memory_mb).map(|mib| mib << 20),
            cpu_percent: some(python.cpu_percent),
            open_files: some(python.open_files),
            processes: some(python.processes),
        },
        isolate_as: python.is_isolated.then(|| settings.instance_name.clone()),
        ..ProcessConfig::new(settings.home.clone())
    }
}

/// How packages are made ready.
pub fn packages_config(settings: &Settings, environment: &Environment) -> PackagesConfig {
    let variables = environment.chosen(|name| is_for_agents(name) || FOR_TOOLS_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let path = variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str()).unwrap_or_default();
    let uv: Option<PathBuf> = PackagesConfig::find_uv(path);
    let python = &settings.python;
    PackagesConfig {
        uv,
        environment: variables,
        interpreter: python.interpreter.clone(),
        wheelhouses: python.wheelhouses.clone(),
        index_url: python.index_url.as_ref().map(|url| url.expose().to_owned()),
        monolithic: python.volttron.clone(),
        ..PackagesConfig::new(settings.home.clone())
    }
}

fn is_for_agents(name: &str) -> bool {
    HANDED_ON.contains(&name) || HANDED_ON_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use vt_config::Flags;

    use super::*;

    #[test]
    fn agents_get_no_secret_of_the_platform_and_tools_their_own_configuration() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_string_lossy().into_owned();
        let environment = Environment::of(
            &[
                ("HOME", &path),
                ("PATH", "/usr/bin"),
                ("LC_ALL", "C"),
                ("VOLTTRON_WEB_SECRET_KEY", "0123456789012345678901234567890123456789"),
                ("PIP_INDEX_URL", "https://me:hush@index"),
                ("VOLTTRON_AGENT_MEMORY_MB", "100"),
                ("VOLTTRON_PYTHON_VOLTTRON", "volttron==9.0.4"),
            ],
            Some("host"),
        );
        let settings = vt_config::load(&Flags::default(), &environment).unwrap().settings;
        let processes = process_config(&settings, &environment);
        let mut names: Vec<_> = processes.environment.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["AGENT_ISOLATION_MODE", "AUTH_ENABLED", "BIND_WEB_ADDRESS", "HOME", "LC_ALL", "MESSAGEBUS", "PATH"]);
        assert_eq!(processes.limits, Limits { memory_bytes: Some(100 << 20), ..Limits::default() });
        assert!(processes.home.is_absolute());
        let packages = packages_config(&settings, &environment);
        assert!(packages.environment.contains(&("PIP_INDEX_URL".to_owned(), "https://me:hush@index".to_owned())));
        assert!(!packages.environment.iter().any(|(name, _)| name == "VOLTTRON_WEB_SECRET_KEY"));
        assert_eq!(packages.monolithic.as_deref(), Some("volttron==9.0.4"));
    }
}
