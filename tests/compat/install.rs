//! Real agents of modular 11 installed by our own `vctl` and by theirs, from a folder of wheels: they run, are heard, keep their data, and a
//! failed attempt does not touch them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use vt_testkit::program::{Finished, run};
use vt_testkit::{TestServer, eventually_async};

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE};

/// A hundred packages on a busy machine.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);

struct House {
    platform: Platform,
    wheels: PathBuf,
}

impl House {
    /// A platform that takes packages from a folder only, and makes environments of the Python that has them.
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let packed = Installed::Eleven.command("wheels.py", place.path(), &["wheels"]).output().await.unwrap();
        assert!(packed.status.success(), "{packed:?}");
        let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/test-venv/bin");
        let path = format!("{tools}:{}", std::env::var("PATH").unwrap());
        let python = Installed::Eleven.python();
        let wheels = place.keep().join("wheels");
        let builder = TestServer::builder().environment("PATH", &path);
        let builder = builder.argument("--python-wheelhouse").argument(wheels.to_string_lossy());
        let platform = Platform::with(builder.argument("--python-interpreter").argument(python.to_string_lossy())).await;
        Self { platform, wheels }
    }

    async fn vctl(&self, arguments: &[&str]) -> Finished {
        run("vctl", self.platform.home(), arguments, INSTALL_LIMIT).await
    }

    /// The wheel of the listener.
    fn listener(&self) -> String {
        self.wheels.join("volttron_listener-2.0.0rc3-py3-none-any.whl").to_string_lossy().into_owned()
    }

    async fn installed(&self, identity: &str) -> Value {
        let list: Value = serde_json::from_str(&self.vctl(&["--json", "list"]).await.ok().stdout).unwrap();
        let status: Value = serde_json::from_str(&self.vctl(&["--json", "status"]).await.ok().stdout).unwrap();
        let mut agent = list[identity].clone();
        agent["status"] = status[identity]["status"].clone();
        agent
    }

    fn place(&self, agent: &Value) -> PathBuf {
        self.platform.home().join("agents").join(agent["agent_uuid"].as_str().unwrap())
    }

    async fn status_is(&self, identity: &str, begins: &str) -> Value {
        eventually_async(&format!("{identity} is {begins}"), PATIENCE, async || {
            let agent = self.installed(identity).await;
            agent["status"].as_str().is_some_and(|status| status.starts_with(begins)).then_some(agent)
        })
        .await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(self.wheels.parent().unwrap()));
    }
}

fn write(place: &Path, name: &str, text: &str) -> String {
    let path = place.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_real_agent_lives_through_installing_forcing_failing_and_upgrading() {
    let house = House::start().await;
    let home = house.platform.home();
    let mut watcher = house.platform.peer("watcher", 9).await;
    watcher.subscribe("heartbeat/listener").await;

    // By name, from the folder.
    let config = write(home, "listener.yml", "heartbeat_period: 1\nmessage: from the file\nlog-level: INFO\n");
    let options = ["--vip-identity", "listener", "--agent-config", &config, "--tag", "ears", "--enable", "--start", "-st", "1"];
    let installed = house.vctl(&[&["install", "volttron-listener"], &options[..]].concat()).await.ok();
    assert!(installed.stdout.contains(" installed and started ["), "{installed:?}");
    watcher.hears("heartbeat/listener").await;
    let first = house.status_is("listener", "running [").await;
    assert_eq!(first["name"], "volttron-listener-2.0.0rc3");
    write(&house.place(&first).join("data"), "state", "precious");
    house.platform.store("listener", "entry", "--raw", "kept").await;

    // Whatever fails leaves it running.
    let broken = write(home, "broken-1.0-py3-none-any.whl", "no zip");
    for arguments in [
        &["install", &broken, "--vip-identity", "listener", "--force"][..],
        &["install", "volttron-listener==99", "--vip-identity", "listener", "--force"],
        &["upgrade", "listener", &broken],
    ] {
        let failed = house.vctl(arguments).await;
        assert_eq!((failed.code, &*failed.stdout), (Some(1), ""), "{arguments:?} {failed:?}");
        assert_eq!(house.installed("listener").await, first, "{arguments:?}");
    }
    watcher.python.forget();
    watcher.hears("heartbeat/listener").await;

    // From the wheel, in its place.
    let wheel = house.listener();
    let upgraded = house.vctl(&["upgrade", "listener", &wheel]).await.ok();
    assert!(upgraded.stdout.starts_with("Removing previous version of agent \"listener\"\nInstalled "), "{upgraded:?}");
    let second = house.status_is("listener", "running [").await;
    assert_ne!(first["agent_uuid"], second["agent_uuid"]);
    assert_eq!((&second["agent_tag"], &second["PRI"]), (&json!("ears"), &json!("50")));
    let place = house.place(&second);
    assert_eq!(std::fs::read_to_string(place.join("data/state")).unwrap(), "precious");
    assert_eq!(std::fs::read_to_string(place.join("config")).unwrap(), std::fs::read_to_string(&config).unwrap());
    assert_eq!(house.vctl(&["config", "get", "listener", "entry", "--raw"]).await.ok().stdout, "kept\n");
    watcher.python.forget();
    watcher.hears("heartbeat/listener").await;

    let forced = house.vctl(&["install", &wheel, "--vip-identity", "listener", "--force", "--agent-config", &config, "--start"]).await.ok();
    assert!(forced.stdout.contains(" installed and started ["), "{forced:?}");
    let third = house.status_is("listener", "running [").await;
    assert_eq!(std::fs::read_to_string(house.place(&third).join("data/state")).unwrap(), "precious");
    watcher.python.forget();
    watcher.hears("heartbeat/listener").await;
}

#[tokio::test]
async fn unmodified_vctl_puts_a_library_into_every_agents_environment_and_takes_it_out() {
    let house = House::start().await;
    house.vctl(&["install", "volttron-listener", "--vip-identity", "listener"]).await.ok();
    let python = house.place(&house.installed("listener").await).join("env/bin/python");
    let found = async || {
        let code = "import importlib.metadata as m; print(m.version('volttron-lib-fake-driver'))";
        let output = tokio::process::Command::new(&python).args(["-I", "-c", code]).output().await.unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    assert_eq!(found().await, None);
    let told = house.platform.vctl11(&["install-lib", "volttron-lib-fake-driver"]).await.ok().stdout;
    assert!(told.ends_with("Installed volttron-lib-fake-driver-2.0.0rc0 \n"), "{told}");
    assert_eq!(found().await.as_deref(), Some("2.0.0rc0"));
    assert_eq!(house.vctl(&["list-libs"]).await.ok().stdout, "volttron-lib-fake-driver 2.0.0rc0\n");
    let told = house.platform.vctl11(&["remove-lib", "volttron-lib-fake-driver"]).await.ok().stdout;
    assert_eq!(told, "Removed volttron-lib-fake-driver \n");
    assert_eq!(found().await, None);
}
