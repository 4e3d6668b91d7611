//! `vctl install-lib`, `remove-lib` and `list-libs`: libraries for the environments of all agents in Python. Texts: modular
//! `volttron/client/commands/{install_parser,control}.py`, with a blank at the end of the line as there.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::failure::{Failure, Outcome};
use super::global::Context;
use super::installation;
use crate::output::{complain, line, printable};

/// Longest wait unless something else is asked for; the server goes on after it.
const LIMIT: Duration = Duration::from_secs(600);

/// Which library.
#[derive(Debug, Args)]
pub struct InstallLib {
    /// Wheel, directory of sources, or name of a package
    install_path: String,
    /// Install it anew where it is installed
    #[arg(short, long)]
    force: bool,
    /// Take versions that are not final as well
    #[arg(long, visible_alias = "pre-release")]
    allow_prerelease: bool,
    /// Accepted for VOLTTRON's scripts
    #[arg(long, value_name = "VALUE", hide = true)]
    skip_requirements: Option<String>,
}

/// Which library.
#[derive(Debug, Args)]
pub struct RemoveLib {
    /// Its name
    library: String,
}

pub fn install(context: &Context, install: &InstallLib) -> Outcome {
    // Asked first: without a platform nothing else is worth saying.
    context.control("peerlist", vec![])?;
    let path = Path::new(&install.install_path);
    let source = if path.extension().is_some_and(|extension| extension == "whl") || path.is_dir() || install.install_path.contains('/') {
        installation::file_or_directory(&install.install_path)?.to_string_lossy().into_owned()
    } else {
        install.install_path.clone()
    };
    let kwargs = Map::from_iter([
        ("source".to_owned(), json!(source)),
        ("force".to_owned(), json!(install.force)),
        ("allow_prerelease".to_owned(), json!(install.allow_prerelease)),
    ]);
    let name = call(context, "install_library", kwargs)?;
    if context.json {
        return Context::print_json(&json!({"library": name}));
    }
    line(&format!("Installed {} ", printable(name.as_str().unwrap_or_default())));
    complain("Agents that run use it after their next start.");
    Ok(())
}

pub fn remove(context: &Context, remove: &RemoveLib) -> Outcome {
    call(context, "remove_library", Map::from_iter([("library".to_owned(), json!(remove.library))]))?;
    if context.json {
        return Context::print_json(&json!({"removed": remove.library}));
    }
    line(&format!("Removed {} ", printable(&remove.library)));
    Ok(())
}

pub fn list(context: &Context) -> Outcome {
    let libraries = context.control("list_libraries", vec![])?;
    if context.json {
        return Context::print_json(&libraries);
    }
    for library in libraries.as_array().into_iter().flatten() {
        let text = |key: &str| printable(library[key].as_str().unwrap_or_default());
        line(&format!("{} {}", text("name"), text("version")));
    }
    Ok(())
}

fn call(context: &Context, method: &str, kwargs: Map<String, Value>) -> Result<Value, Failure> {
    Ok(context.client.call_within(context.asked_limit.unwrap_or(LIMIT), "control", method, vec![], kwargs)?)
}
