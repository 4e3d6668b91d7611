//! `vpkg`, `install-agent.py` and the libraries of all agents, as links to the one executable and as commands.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vt_testkit::TestServer;
use vt_testkit::program::{Finished, program};

use super::install::{platform, run_in};
use crate::mock_agent::{pids, sources, wheel};

/// A link to the executable below the home, under another name.
fn link(server: &TestServer, name: &str) -> PathBuf {
    let link = server.home().join(name);
    std::os::unix::fs::symlink(program("volttron"), &link).unwrap();
    link
}

async fn vctl(server: &TestServer, arguments: &[&str]) -> Finished {
    run_in(server, &program("vctl"), server.home(), arguments).await
}

async fn agents(server: &TestServer) -> Value {
    serde_json::from_str(&vctl(server, &["--json", "list"]).await.ok().stdout).unwrap()
}

fn place(server: &TestServer, agent: &Value, version: &str) -> PathBuf {
    server.home().join("agents").join(agent["agent_uuid"].as_str().unwrap()).join(format!("mockagent-{version}"))
}

fn information(place: &Path, file: &str) -> std::io::Result<String> {
    let name = place.file_name().unwrap().to_string_lossy();
    std::fs::read_to_string(place.join(format!("{name}.dist-info")).join(file))
}

#[tokio::test]
async fn a_package_is_built_configured_installed_and_packed_again() {
    let mut server = platform().await;
    let home = server.home().to_owned();
    let vpkg = link(&server, "vpkg");
    sources(&home.join("sources"), "1.0");
    std::fs::write(home.join("c.json"), "{\"word\": \"hush\"}").unwrap();
    let built = run_in(&server, &vpkg, &home, &["package", "sources", "--vip-identity", "packed{n}"]).await.ok();
    let path = home.join("packaged/mockagent-1.0-py3-none-any.whl");
    assert_eq!(built.stdout, format!("Package created at: {}\n", path.display()));
    let path = path.to_str().unwrap();
    let configured = run_in(&server, &vpkg, &home, &["configure", path, "c.json"]).await.ok();
    assert_eq!((&*configured.stdout, &*configured.stderr), ("", ""));
    vctl(&server, &["install", path]).await.ok();
    let agents = agents(&server).await;
    let installed = place(&server, &agents["packed1"], "1.0");
    assert_eq!(information(&installed, "config").unwrap(), "{\"word\": \"hush\"}");

    // Nothing of this needs the server.
    server.kill().await;
    let again = run_in(&server, &vpkg, &home, &["repackage", installed.to_str().unwrap(), "--dest", "again"]).await.ok();
    assert_eq!(again.stdout, format!("Package created at: {}\n", home.join("again/mockagent-1.0-py3-none-any.whl").display()));
    run_in(&server, &vpkg, &home, &["init", "new", "my_agent", "--silent", "--identity", "mine"]).await.ok();
    let setup = std::fs::read_to_string(home.join("new/setup.py")).unwrap();
    assert!(setup.contains("name=\"my_agent\"") && setup.contains("eggsecutable = my_agent.agent:main"), "{setup}");
    let agent = std::fs::read_to_string(home.join("new/my_agent/agent.py")).unwrap();
    assert!(agent.contains("class MyAgent(Agent)") && agent.contains("identity=\"mine\""), "{agent}");
    run_in(&server, &vpkg, &home, &["init", "history", "store", "--silent", "--template", "historian"]).await.ok();
    for file in ["new/my_agent/agent.py", "new/setup.py", "history/store/agent.py", "history/setup.py"] {
        let compiled = run_in(&server, Path::new("python3"), &home, &["-m", "py_compile", file]).await;
        assert_eq!(compiled.code, Some(0), "{compiled:?}");
    }
    for (arguments, told) in [
        (&["package", "nowhere"][..], "vpkg: error: Invalid agent package directory specified\n"),
        (&["package", "history/store"], "vpkg: error: Agent source must contain a setup.py file or a pyproject.toml file.\n"),
        (&["configure", "missing.whl", "c.json"], "vpkg: error: Invalid file missing.whl\n"),
        (&["init", "new", "other"], "vpkg: error: Must specify a new directory name to create agent.\n"),
        (&["repackage", "nowhere"], "vpkg: error: Agent directory nowhere does not exist\n"),
        (
            &["sign", "--admin", "x"],
            "vpkg: error: packages are not signed here; who may install agents is decided by the platform's rights\n",
        ),
    ] {
        let finished = run_in(&server, &vpkg, &home, arguments).await;
        assert_eq!((finished.code, &*finished.stdout, &*finished.stderr), (Some(1), "", told), "{arguments:?}");
    }
    assert_eq!(run_in(&server, &vpkg, &home, &["init", "x", "1x"]).await.code, Some(2));
}

#[tokio::test]
async fn the_script_of_volttrons_users_installs_from_sources() {
    let mut server = platform().await;
    let home = server.home().to_owned();
    let script = link(&server, "install-agent.py");
    std::fs::create_dir(home.join("root")).unwrap();
    sources(&home.join("root/MockAgent"), "1.0");
    std::fs::write(home.join("c.yml"), "word: script\n").unwrap();
    let given = ["-s", "MockAgent", "-vr", "root", "-c", "c.yml", "--start", "--force", "-i", "scripted", "-st", "1", "--json"];
    let installed = run_in(&server, &script, &home, &given).await.ok();
    let answer: Value = serde_json::from_str(&installed.stdout).unwrap_or_else(|error| panic!("{error}: {installed:?}"));
    let all = agents(&server).await;
    assert_eq!((&answer["agent_uuid"], &answer["started"]), (&all["scripted"]["agent_uuid"], &Value::Bool(true)));
    let installed = place(&server, &all["scripted"], "1.0");
    assert_eq!(pids(&installed).await[0], answer["pid"].to_string());
    assert_eq!(information(&installed, "config").unwrap(), "word: script\n");
    let taken = run_in(&server, &script, &home, &["-s", "root/MockAgent", "-i", "scripted"]).await;
    assert_eq!((taken.code, &*taken.stderr), (Some(1), "Identity already exists.  Pass --force option to re-install.\n"));
    for (arguments, told) in [
        (&["-s", "nowhere"][..], "Invalid agent source directory specified.\n"),
        (&["-s", "root"], "Agent source must contain a setup.py file.\n"),
        (&["-s", "root/MockAgent", "-f"], "Force option specified without a target identity to force.\n"),
    ] {
        let finished = run_in(&server, &script, &home, arguments).await;
        assert_eq!((finished.code, &*finished.stdout, &*finished.stderr), (Some(246), "", told), "{arguments:?}");
    }
    server.kill().await;
    let down = run_in(&server, &script, &home, &["-s", "root/MockAgent"]).await;
    assert_eq!(down.code, Some(10), "{down:?}");
    let other = tempfile::tempdir().unwrap();
    let other = run_in(&server, &script, &home, &["-s", "root/MockAgent", "-vh", other.path().to_str().unwrap()]).await;
    assert_eq!(other.code, Some(10), "{other:?}");
}

#[tokio::test]
async fn a_library_is_installed_for_all_agents_and_stays_over_a_restart() {
    let mut server = platform().await;
    let home = server.home().to_owned();
    wheel(&home, "1.0");
    vctl(&server, &["install", "mockagent-1.0-py3-none-any.whl", "--vip-identity", "first"]).await.ok();
    // Any wheel is a library as well; this one is nobody's agent here.
    let library = mock_library(&home);
    let missing = vctl(&server, &["install-lib", "no-such-library"]).await;
    assert_eq!((missing.code, &*missing.stdout), (Some(20), ""), "{missing:?}");
    assert!(missing.stderr.starts_with("install-lib: error: ") && missing.stderr.contains("no-such-library"), "{missing:?}");
    let installed = vctl(&server, &["install-lib", &library]).await.ok();
    assert_eq!((&*installed.stdout, &*installed.stderr), ("Installed mocklib-2.0 \n", "Agents that run use it after their next start.\n"));
    server.kill().await;
    std::fs::remove_file(home.join(&library)).unwrap();
    server.start_again().await;
    vctl(&server, &["install", "mockagent-1.0-py3-none-any.whl", "--vip-identity", "second"]).await.ok();
    assert_eq!(vctl(&server, &["list-libs"]).await.ok().stdout, "mocklib 2.0\n");
    let all = agents(&server).await;
    let python = |identity: &str| place(&server, &all[identity], "1.0").with_file_name("env/bin/python");
    for identity in ["first", "second"] {
        let found = run_in(&server, &python(identity), &home, &["-c", "import mocklib; print(mocklib.WORD)"]).await.ok();
        assert_eq!(found.stdout, "here\n", "{identity}");
    }
    assert_eq!(vctl(&server, &["remove-lib", "mocklib"]).await.ok().stdout, "Removed mocklib \n");
    for identity in ["first", "second"] {
        assert_eq!(run_in(&server, &python(identity), &home, &["-c", "import mocklib"]).await.code, Some(1), "{identity}");
    }
    let gone = vctl(&server, &["remove-lib", "mocklib"]).await;
    assert_eq!((gone.code, &*gone.stderr), (Some(20), "remove-lib: error: there is no library mocklib for all agents\n"));
    assert_eq!(vctl(&server, &["list-libs", "--json"]).await.ok().stdout, "[]\n");
}

/// The file name of the wheel of a library.
fn mock_library(home: &Path) -> String {
    let code = r#"
import zipfile
info = "mocklib-2.0.dist-info/"
files = {"mocklib.py": "WORD = 'here'\n", info + "METADATA": "Metadata-Version: 2.1\nName: mocklib\nVersion: 2.0\n",
         info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
files[info + "RECORD"] = "".join(name + ",,\n" for name in list(files) + [info + "RECORD"])
with zipfile.ZipFile("mocklib-2.0-py3-none-any.whl", "w") as wheel:
    for path, text in files.items():
        wheel.writestr(path, text)
"#;
    let output = std::process::Command::new("python3").args(["-c", code]).current_dir(home).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    "mocklib-2.0-py3-none-any.whl".to_owned()
}
