//! `vpkg init`: the sources of a new agent. They run on VOLTTRON 9 and on the modular one.

use std::fs;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::output::{line, print};

/// Where and what.
#[derive(Debug, Args)]
pub struct Init {
    /// Directory to make; it must not exist
    directory: PathBuf,
    /// The module's name; the class is named after it
    #[arg(value_parser = module)]
    module_name: String,
    /// Kind of agent
    #[arg(long, value_enum, default_value_t = Template::Common)]
    template: Template,
    /// Identity that the agent asks for
    #[arg(long)]
    identity: Option<String>,
    /// Do not ask for version, author and description
    #[arg(long)]
    silent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    /// Subscribes to something and offers a method
    Common,
    /// Stores what is published
    Historian,
}

pub fn run(init: &Init) -> Result<(), String> {
    if init.directory.exists() {
        return Err("Must specify a new directory name to create agent.".to_owned());
    }
    let about = About::ask(init.silent)?;
    let module = init.directory.join(&init.module_name);
    let made = fs::create_dir_all(&module);
    made.map_err(|error| format!("Unable to create target directory: {error}"))?;
    let (agent, config) = match init.template {
        Template::Common => (COMMON, "{\"setting1\": 1, \"setting2\": \"some/topic/to/follow\"}\n"),
        Template::Historian => (HISTORIAN, "{}\n"),
    };
    let identity = init.identity.as_deref().map_or_else(String::new, |identity| format!("identity={}, ", python_text(identity)));
    let agent = agent
        .replace("ClassName", &class_of(&init.module_name))
        .replace("\"VERSION\"", &python_text(&about.version))
        .replace("IDENTITY", &identity);
    let mut files = vec![
        (init.directory.join("setup.py"), about.setup_py(&init.module_name)),
        (init.directory.join("config"), config.to_owned()),
        (module.join("__init__.py"), String::new()),
        (module.join("agent.py"), agent),
    ];
    files.extend(init.identity.clone().map(|identity| (init.directory.join("IDENTITY"), identity)));
    files.iter().try_for_each(|(path, text)| write(path, text))
}

/// JSON's texts are Python's.
fn python_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("Unable to create agent file: {}: {error}", path.display()))
}

/// `my_agent` as `MyAgent`.
fn class_of(module: &str) -> String {
    let word = |part: &str| {
        let mut letters = part.chars();
        letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), letters.as_str()))
    };
    module.split('_').map(word).collect()
}

fn module(text: &str) -> Result<String, String> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(text.to_owned())
    } else {
        Err("a module's name has letters, digits and underscores, and starts with no digit".to_owned())
    }
}

/// What stands in `setup.py`.
struct About {
    version: String,
    /// Name in `setup.py` and text.
    others: Vec<(&'static str, String)>,
}

impl About {
    fn ask(silent: bool) -> Result<Self, String> {
        let ask = |question: &str, default: &str| if silent { Ok(default.to_owned()) } else { answer(question, default) };
        let version = ask("Agent version number:", "0.1")?;
        let questions = [
            ("author", "Agent author:"),
            ("author_email", "Author's email address:"),
            ("url", "Agent homepage:"),
            ("description", "Short description of the agent:"),
        ];
        let mut others = Vec::new();
        for (name, question) in questions {
            others.push((name, ask(question, "")?));
        }
        Ok(Self { version, others })
    }

    fn setup_py(&self, module: &str) -> String {
        let given = self.others.iter().filter(|(_, text)| !text.is_empty());
        let more: String = given.map(|(name, text)| format!("    {name}={},\n", python_text(text))).collect();
        SETUP.replace("MODULE", module).replace("VERSION", &python_text(&self.version)).replace("MORE", &more)
    }
}

/// As VOLTTRON asks; an empty answer and the end of the input mean the default.
fn answer(question: &str, default: &str) -> Result<String, String> {
    print(&format!("{question} [{default}]: "));
    let mut text = String::new();
    let input = std::io::stdin();
    input.lock().read_line(&mut text).map_err(|error| format!("standard input cannot be read: {error}"))?;
    if !input.is_terminal() {
        line("");
    }
    let text = text.trim();
    Ok(if text.is_empty() { default.to_owned() } else { text.to_owned() })
}

const SETUP: &str = r#"from setuptools import find_packages, setup

setup(
    name="MODULE",
    version=VERSION,
MORE    packages=find_packages("."),
    entry_points={
        "setuptools.installation": ["eggsecutable = MODULE.agent:main"],
        "console_scripts": ["MODULE = MODULE.agent:main"],
    },
)
"#;

const COMMON: &str = r#"import logging
import sys

try:
    from volttron.platform.agent import utils
    from volttron.platform.vip.agent import RPC, Agent, Core
except ImportError:
    from volttron import utils
    from volttron.client import Agent, Core
    from volttron.client.vip.agent import RPC

utils.setup_logging()
_log = logging.getLogger(__name__)
__version__ = "VERSION"


class ClassName(Agent):
    """Follows the topic in its configuration and tells what it last saw."""

    def __init__(self, config_path=None, **kwargs):
        super().__init__(**kwargs)
        defaults = {"setting1": 1, "setting2": "some/topic/to/follow"}
        if config_path:
            defaults.update(utils.load_config(config_path) or {})
        self.topic = None
        self.last = None
        self.vip.config.set_default("config", defaults)
        self.vip.config.subscribe(self.configure, actions=["NEW", "UPDATE"], pattern="config")

    def configure(self, config_name, action, contents):
        """Takes a configuration, at the start and whenever it is changed."""
        if self.topic:
            self.vip.pubsub.unsubscribe("pubsub", None, None)
        self.topic = str(contents["setting2"])
        self.vip.pubsub.subscribe(peer="pubsub", prefix=self.topic, callback=self.on_message)

    def on_message(self, peer, sender, bus, topic, headers, message):
        _log.debug("%s says %s", topic, message)
        self.last = message

    @Core.receiver("onstart")
    def on_start(self, sender, **kwargs):
        _log.info("started")

    @RPC.export
    def last_message(self):
        """What was last published."""
        return self.last


def main():
    utils.vip_main(ClassName, IDENTITYversion=__version__)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        pass
"#;

const HISTORIAN: &str = r#"import logging
import sys

try:
    from volttron.platform.agent import utils
    from volttron.platform.agent.base_historian import BaseHistorian
except ImportError:
    from volttron import utils
    from historian.base import BaseHistorian

utils.setup_logging()
_log = logging.getLogger(__name__)
__version__ = "VERSION"


class ClassName(BaseHistorian):
    """Stores what is published; says where in publish_to_historian."""

    def __init__(self, config_path=None, **kwargs):
        settings = utils.load_config(config_path) if config_path else {}
        super().__init__(**kwargs)
        self._settings = settings or {}
        self.start_process_thread()

    def historian_setup(self):
        _log.info("connecting with %s", sorted(self._settings))

    def publish_to_historian(self, to_publish_list):
        for record in to_publish_list:
            _log.info("%(timestamp)s %(topic)s = %(value)s", record)
        self.report_all_handled()

    def historian_teardown(self):
        _log.info("disconnecting")


def main():
    utils.vip_main(ClassName, IDENTITYversion=__version__)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        pass
"#;
