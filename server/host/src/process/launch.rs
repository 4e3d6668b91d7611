//! How an agent in Python is called: program, arguments, directory and environment, by generation. Starts nothing. Source: agents.md §1.7,
//! vip-zmq.md §10.2, VOLTTRON `volttron/platform/aip.py`, modular `volttron/server/aip.py`.
//!
//! Differs from VOLTTRON: an agent gets a chosen environment instead of a copy of the platform's, so that secrets of the server stay there;
//! a modular agent gets the path of its credentials instead of their text, for environments can be read by others more easily than files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vt_backends::{Generation, InstalledAgent, PythonSource};
use vt_types::Tag;

use super::config::ProcessConfig;
use super::isolation::AgentUser;

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub directory: PathBuf,
    pub environment: BTreeMap<String, String>,
}

impl Launch {
    /// The call of `agent`, which is a package in Python; `user` is its own user, if it has one.
    pub fn new(agent: &InstalledAgent, python: &PythonSource, config: &ProcessConfig, user: Option<&AgentUser>) -> Self {
        let binaries = python.environment().join("bin");
        let own = binaries.join("python");
        let program = if own.exists() { own } else { PathBuf::from(&config.interpreter) };
        let directory = match python.generation {
            Generation::Monolithic6 => agent.data_dir.clone(),
            Generation::Monolithic9 => python.directory.join(&agent.name),
            Generation::Modular => python.directory.clone(),
        };
        let mut environment: BTreeMap<_, _> = config.environment.iter().cloned().collect();
        let path = environment.get("PATH").cloned().unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
        set("PATH", format!("{}:{path}", binaries.display()));
        let home = user.map_or(&config.home, |user| &user.home);
        set("VOLTTRON_HOME", text(home));
        if let Some(user) = user {
            // What agents of VOLTTRON 7 to 9 look at before they look for the socket below their home.
            set("VOLTTRON_VIP_ADDR", format!("ipc://@{}/run/vip.socket", config.home.display()));
            set("HOME", text(&agent.data_dir));
            set("USER", user.name.clone());
            set("LOGNAME", user.name.clone());
        }
        set("AGENT_UUID", agent.uuid.to_string());
        set("AGENT_VIP_IDENTITY", agent.identity.to_string());
        set("_LAUNCHED_BY_PLATFORM", "1".to_owned());
        if let Some(tag) = agent.tag.as_ref().map(Tag::as_str) {
            set("AGENT_TAG", tag.to_owned());
        }
        let file = python.config_file(&agent.name);
        if file.exists() {
            set("AGENT_CONFIG", text(&file));
        }
        match python.generation {
            Generation::Monolithic6 | Generation::Monolithic9 => {
                set("PYTHONPATH", text(&python.directory.join(&agent.name)));
                set("AGENT_SUB_ADDR", format!("ipc://@{}/run/subscribe", config.home.display()));
                set("AGENT_PUB_ADDR", format!("ipc://@{}/run/publish", config.home.display()));
            }
            Generation::Modular => {
                let credentials = home.join("credentials_store").join(format!("{}.json", agent.identity));
                set("AGENT_CREDENTIALS", text(&credentials));
            }
        }
        Self { program, arguments: arguments(python), directory, environment }
    }
}

fn arguments(python: &PythonSource) -> Vec<String> {
    let module = &python.entry.module;
    match (python.generation, &python.entry.function) {
        (Generation::Monolithic9, _) | (_, None) => vec!["-m".to_owned(), module.clone()],
        (Generation::Monolithic6, Some(function)) => {
            vec!["-c".to_owned(), format!("__import__('{module}', fromlist=['{function}']).{function}()")]
        }
        (Generation::Modular, Some(function)) => {
            // A function may be an attribute of something that can be imported.
            let first = function.split('.').next().unwrap_or(function);
            vec!["-c".to_owned(), format!("from {module} import {first}; {function}()")]
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use vt_backends::{AgentSource, EntryPoint};
    use vt_types::{AgentUuid, Identity};

    use super::*;

    fn launch(generation: Generation, tag: Option<&str>) -> Launch {
        launch_as(generation, tag, None)
    }

    fn launch_as(generation: Generation, tag: Option<&str>, user: Option<&AgentUser>) -> Launch {
        let entry = EntryPoint::parse("listener.agent:main").unwrap();
        let python = PythonSource { directory: PathBuf::from("/vh/agents/u"), generation, entry };
        let agent = InstalledAgent {
            uuid: AgentUuid::parse("00000000-0000-4000-8000-000000000001").unwrap(),
            identity: Identity::known("listener"),
            name: "listeneragent-3.3".to_owned(),
            tag: tag.map(|tag| Tag::parse(tag).unwrap()),
            priority: None,
            source: AgentSource::Python(python.clone()),
            config: None,
            data_dir: python.data_dir("listeneragent-3.3"),
        };
        let environment = vec![("PATH".to_owned(), "/bin".to_owned()), ("MESSAGEBUS".to_owned(), "zmq".to_owned())];
        Launch::new(&agent, &python, &ProcessConfig { environment, ..ProcessConfig::new(PathBuf::from("/vh")) }, user)
    }

    #[test]
    fn checklist_10_each_generation_finds_its_keystore_from_its_directory() {
        let nine = launch(Generation::Monolithic9, None);
        let base = nine.directory.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            nine.directory.join(format!("{base}.dist-info")),
            Path::new("/vh/agents/u/listeneragent-3.3/listeneragent-3.3.dist-info")
        );
        let six = launch(Generation::Monolithic6, None);
        assert_eq!(six.directory, Path::new("/vh/agents/u/listeneragent-3.3/listeneragent-3.3.agent-data"));
        assert_eq!(launch(Generation::Modular, None).directory, Path::new("/vh/agents/u"));
    }

    #[test]
    fn each_generation_is_called_its_own_way() {
        assert_eq!(launch(Generation::Monolithic9, None).arguments, ["-m", "listener.agent"]);
        let six = launch(Generation::Monolithic6, None).arguments;
        assert_eq!(six, ["-c", "__import__('listener.agent', fromlist=['main']).main()"]);
        assert_eq!(launch(Generation::Modular, None).arguments, ["-c", "from listener.agent import main; main()"]);
    }

    #[test]
    fn the_environment_holds_what_the_generation_needs_and_nothing_else() {
        let nine = launch(Generation::Monolithic9, Some("mine")).environment;
        let expected = [
            ("AGENT_PUB_ADDR", "ipc://@/vh/run/publish"),
            ("AGENT_SUB_ADDR", "ipc://@/vh/run/subscribe"),
            ("AGENT_TAG", "mine"),
            ("AGENT_UUID", "00000000-0000-4000-8000-000000000001"),
            ("AGENT_VIP_IDENTITY", "listener"),
            ("MESSAGEBUS", "zmq"),
            ("PATH", "/vh/agents/u/env/bin:/bin"),
            ("PYTHONPATH", "/vh/agents/u/listeneragent-3.3"),
            ("VOLTTRON_HOME", "/vh"),
            ("_LAUNCHED_BY_PLATFORM", "1"),
        ];
        assert_eq!(nine.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
        let modular = launch(Generation::Modular, None).environment;
        assert_eq!(modular["AGENT_CREDENTIALS"], "/vh/credentials_store/listener.json");
        assert!(!modular.contains_key("PYTHONPATH") && !modular.contains_key("AGENT_TAG"));
    }

    #[test]
    fn an_agent_with_a_user_of_its_own_sees_a_home_of_its_own_and_finds_the_socket() {
        let user = AgentUser {
            name: "volttron_1".to_owned(),
            uid: 1.into(),
            gid: 2.into(),
            shared: 3.into(),
            home: PathBuf::from("/vh/agents/u/home"),
        };
        let modular = launch_as(Generation::Modular, None, Some(&user)).environment;
        let of = |name: &str| modular[name].as_str();
        assert_eq!((of("VOLTTRON_HOME"), of("VOLTTRON_VIP_ADDR")), ("/vh/agents/u/home", "ipc://@/vh/run/vip.socket"));
        assert_eq!(of("AGENT_CREDENTIALS"), "/vh/agents/u/home/credentials_store/listener.json");
        assert_eq!((of("USER"), of("LOGNAME"), of("HOME")), ("volttron_1", "volttron_1", "/vh/agents/u/data"));
    }
}
