//! The unmodified `vctl` of 10 and of modular 11 install the real listener of modular 11 into our server, without a network: over the
//! `channel` subsystem, as base64, from a directory and by name.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vt_testkit::{TestServer, eventually_async};

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE, TARGET};

/// The wheels of `volttron-requirements.txt`.
fn wheels() -> PathBuf {
    let folder = std::env::var_os("VT_TEST_WHEELS").map_or_else(|| Path::new(TARGET).join("volttron-wheels"), PathBuf::from);
    assert!(folder.is_dir(), "{} is missing; run: tests/support/prepare.sh", folder.display());
    folder
}

/// The real listener's wheel.
fn listener() -> PathBuf {
    let listing = fs::read_dir(wheels()).unwrap().map(|entry| entry.unwrap().path());
    let mut found = listing.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("volttron_listener-"));
    found.next().unwrap_or_else(|| panic!("no listener in {}", wheels().display()))
}

/// A server that makes environments with the interpreter of modular 11, from these wheels alone.
async fn platform() -> Platform {
    let config =
        format!("[volttron]\npython-wheelhouse = {}\npython-interpreter = {}\n", wheels().display(), Installed::Eleven.python().display());
    let tools = std::env::var("VT_TEST_PYTHON").map_or_else(|_| Path::new(TARGET).join("test-venv/bin/python"), PathBuf::from);
    // `uv`, which is quick enough for a client that waits 20 s.
    let path = format!("{}:{}", tools.parent().unwrap().display(), std::env::var("PATH").unwrap());
    Platform::with(TestServer::builder().file("config", &config).environment("PATH", &path)).await
}

/// Waits until `vctl status` shows an agent as running and well, and gives the line.
async fn well(platform: &Platform, identity: &str) -> String {
    eventually_async(&format!("{identity} is well"), PATIENCE, async || {
        let status = platform.server.vctl(&["status"]).await.ok().stdout;
        let line = status.lines().find(|line| line.split_whitespace().nth(2) == Some(identity))?;
        (line.contains("running [") && line.ends_with("GOOD")).then(|| line.to_owned())
    })
    .await
}

fn agents(platform: &Platform) -> usize {
    fs::read_dir(platform.home().join("agents")).unwrap().count()
}

#[tokio::test]
async fn vctl_10_installs_a_wheel_over_a_channel_and_starts_it() {
    let platform = platform().await;
    let config = platform.home().join("listener.yml");
    fs::write(&config, "message: hello from a channel\n").unwrap();
    let (wheel, config) = (listener().display().to_string(), config.display().to_string());
    let common = ["install", &wheel, "--vip-identity", "ears", "--agent-config", &config];
    let started = [&common[..], &["--tag", "mine", "--priority", "7", "--start", "-st", "1"]].concat();
    let installed = platform.python_vctl(Installed::Ten, &started).await.ok().stdout;
    let uuid = platform.uuid("ears").await;
    assert!(installed.starts_with(&format!("Agent {uuid} installed and started [")), "{installed}");
    let line = well(&platform, "ears").await;
    assert!(line.contains("volttron-listener-2.0.0rc3") && line.contains("mine"), "{line}");
    let stored = fs::read_to_string(platform.home().join("agents").join(&uuid).join("config")).unwrap();
    assert!(stored.contains("hello from a channel"), "its configuration came along: {stored}");

    let again = platform.python_vctl(Installed::Ten, &common).await;
    assert!(again.stderr.contains("Identity already exists, but not forced!"), "{again:?}");
    assert_eq!((agents(&platform), platform.uuid("ears").await), (1, uuid.clone()));
    let forced = platform.python_vctl(Installed::Ten, &[&common[..], &["--force"]].concat()).await.ok().stdout;
    let new = platform.uuid("ears").await;
    assert!(forced.starts_with(&format!("Agent {new} installed")) && new != uuid, "{forced}");
    platform.python_vctl(Installed::Ten, &["start", &new]).await.ok();
    well(&platform, "ears").await;
    let listed = platform.python_vctl(Installed::Ten, &["list"]).await.ok().stdout;
    assert!(listed.contains("ears"), "{listed}");
}

#[tokio::test]
async fn a_wheel_of_many_pieces_arrives_whole() {
    let platform = platform().await;
    let padded = platform.home().join(listener().file_name().unwrap());
    // Random bytes, which do not shrink, so that the wheel has three pieces and a rest.
    let script = "import base64, hashlib, os, sys, zipfile\n\
        pad = os.urandom(3_300_000)\n\
        name, digest = 'listener/pad.bin', base64.urlsafe_b64encode(hashlib.sha256(pad).digest()).decode().rstrip('=')\n\
        with zipfile.ZipFile(sys.argv[1]) as old, zipfile.ZipFile(sys.argv[2], 'w') as new:\n\
        \x20   for item in old.infolist():\n\
        \x20       data = old.read(item)\n\
        \x20       if item.filename.endswith('RECORD'):\n\
        \x20           data += f'{name},sha256={digest},{len(pad)}\\n'.encode()\n\
        \x20       new.writestr(item, data)\n\
        \x20   new.writestr(name, pad)\n\
        print(hashlib.sha256(pad).hexdigest())\n";
    let made = Installed::Ten.bare(platform.home()).arg("-c").arg(script).arg(listener()).arg(&padded).output().await.unwrap();
    let digest = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(fs::metadata(&padded).unwrap().len() > 3_300_000);
    platform.python_vctl(Installed::Ten, &["install", &padded.display().to_string(), "--vip-identity", "big"]).await.ok();
    let environment = platform.home().join("agents").join(platform.uuid("big").await).join("env/lib/python3.11/site-packages");
    let script = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
    let arrived =
        Installed::Ten.bare(platform.home()).args(["-c", script]).arg(environment.join("listener/pad.bin")).output().await.unwrap();
    assert_eq!(String::from_utf8(arrived.stdout).unwrap().trim(), digest);
}

#[tokio::test]
async fn a_peer_that_vanishes_while_it_sends_a_wheel_leaves_nothing() {
    let platform = platform().await;
    let mut peer = platform.peer_with("sender", 9, &json!({"control_agents": null})).await;
    let install = json!({"do": "call", "peer": "control", "method": "install_agent", "args": ["x-1.0-py3-none-any.whl", "agent_sender", "x", null, null]});
    peer.run(install.clone()).await;
    let is_ask = |frames: &[Value]| frames.get(4) == Some(&json!("channel"));
    let asked = peer.receives("a fetch", is_ask).await;
    assert_eq!((&asked[0], &asked[5]), (&json!("control"), &json!("agent_sender")), "{asked:?}");
    assert_eq!(asked[6], json!("[\"fetch\", 1000000]"), "{asked:?}");
    peer.send(json!(["control", "VIP1", "", "", "channel", "agent_sender", "half of a wheel"])).await;
    assert_eq!(peer.receives("a checksum", is_ask).await[6], json!("[\"checksum\"]"));
    peer.python.kill().await;
    platform.peer_is_listed("sender", false).await;
    // Whoever comes under the name next finds the channel free.
    let mut peer = platform.peer_with("sender", 9, &json!({"control_agents": null})).await;
    peer.run(install).await;
    peer.receives("a fetch", is_ask).await;
    peer.send(json!(["control", "VIP1", "", "", "channel", "agent_sender", "wheel"])).await;
    peer.receives("a checksum", is_ask).await;
    peer.send(json!(["control", "VIP1", "", "", "channel", "agent_sender", "no digest"])).await;
    let refused = peer.receives("the refusal", |frames| frames.get(4) == Some(&json!("RPC"))).await;
    assert!(refused[5].as_str().unwrap().contains("checksum does not match"), "{refused:?}");
    assert_eq!(agents(&platform), 0);
    assert!(!platform.server.vctl(&["list"]).await.ok().stdout.contains("x-1.0"));
}

#[tokio::test]
async fn vctl_11_installs_a_wheel_with_tag_priority_and_start_and_it_is_back_with_the_platform() {
    let mut platform = platform().await;
    let wheel = listener().display().to_string();
    let arguments =
        ["--json", "install", &wheel, "--vip-identity", "ears", "--tag", "mine", "--priority", "10", "--start", "--agent-start-time", "1"];
    let told = platform.vctl11(&arguments).await.ok().stdout;
    let uuid = platform.uuid("ears").await;
    assert!(told.contains(&uuid), "{told}");
    let line = well(&platform, "ears").await;
    assert!(line.contains("mine"), "{line}");
    let status = platform.vctl11(&["status"]).await.ok().stdout;
    assert!(status.lines().any(|line| line.contains("ears") && line.contains("running [") && line.ends_with("GOOD")), "{status}");
    let again = platform.vctl11(&["install", &wheel, "--vip-identity", "ears"]).await;
    // This client keeps the reason to itself.
    assert_eq!((again.code, agents(&platform), platform.uuid("ears").await), (Some(20), 1, uuid.clone()), "{again:?}");

    platform.vctl11(&["stop", &uuid]).await.ok();
    platform.peer_is_listed("ears", false).await;
    platform.server.end(nix::sys::signal::Signal::SIGTERM, PATIENCE).await;
    platform.server.start_again().await;
    // Its priority makes it start with the platform.
    well(&platform, "ears").await;
    platform.vctl11(&["remove", &uuid]).await.ok();
    assert_eq!(agents(&platform), 0);
    platform.vctl11(&["shutdown", "--platform"]).await.ok();
    assert_eq!(platform.server.ended(PATIENCE).await.0, Some(0));
}

#[tokio::test]
async fn vctl_11_installs_a_directory_and_a_package_by_name() {
    let platform = platform().await;
    // The real agent's module with a project file beside it, as its repository has them.
    let sources = platform.home().join("sources");
    fs::create_dir_all(sources.join("listener")).unwrap();
    let unpacked = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2], ['listener/agent.py'])";
    let made = Installed::Eleven.bare(platform.home()).args(["-c", unpacked]).arg(listener()).arg(&sources).output().await.unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::write(
        sources.join("pyproject.toml"),
        "[build-system]\nrequires = [\"poetry-core\"]\nbuild-backend = \"poetry.core.masonry.api\"\n\
         [tool.poetry]\nname = \"volttron-listener\"\nversion = \"2.0.1\"\ndescription = \"\"\nauthors = []\npackages = [{include = \"listener\"}]\n\
         [tool.poetry.dependencies]\npython = \">=3.10,<4.0\"\nvolttron-core = \">=2.0.0rc13\"\n\
         [tool.poetry.scripts]\nvolttron-listener-agent = \"listener.agent:main\"\n",
    )
    .unwrap();
    let directory = sources.display().to_string();
    let told = platform.vctl11(&["install", &directory, "--vip-identity", "from.sources", "--start", "--agent-start-time", "1"]).await.ok();
    assert!(told.stdout.contains("Installing editable agent package"), "{told:?}");
    let line = well(&platform, "from.sources").await;
    assert!(line.contains("volttron-listener-2.0.1"), "{line}");
    // It runs without the directory.
    fs::remove_dir_all(&sources).unwrap();
    platform.vctl11(&["restart", &platform.uuid("from.sources").await]).await.ok();
    well(&platform, "from.sources").await;

    platform
        .vctl11(&["install", "volttron-listener==2.0.0rc3", "--vip-identity", "by.name", "--start", "--agent-start-time", "1"])
        .await
        .ok();
    let line = well(&platform, "by.name").await;
    assert!(line.contains("volttron-listener-2.0.0rc3"), "{line}");
    let missing = platform.vctl11(&["install", "volttron-no-such-agent"]).await;
    assert_eq!(missing.code, Some(20), "{missing:?}");
    assert_eq!(agents(&platform), 2);
}
