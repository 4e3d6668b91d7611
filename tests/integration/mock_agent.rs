//! An agent in Python without anything of VOLTTRON: its sources, its wheel, and what it tells of itself when it runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vt_testkit::eventually_async;

const DEADLINE: Duration = Duration::from_secs(60);

/// Builds a wheel of itself and of nothing else. While a file `wait` lies in the sources it does not begin.
const BACKEND: &str = r#"
import os, sys, time, zipfile
VERSION = "@VERSION@"
HERE = os.path.dirname(os.path.abspath(__file__))
AGENT = open(os.path.join(HERE, "agent.py")).read()
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print("building mockagent", VERSION, file=sys.stderr, flush=True)
    while os.path.exists("@WAIT@"):
        time.sleep(0.05)
    info = "mockagent-%s.dist-info/" % VERSION
    files = {
        "mocked/__init__.py": "", "mocked/agent.py": AGENT,
        info + "METADATA": "Metadata-Version: 2.1\nName: mockagent\nVersion: %s\n" % VERSION,
        info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        info + "entry_points.txt": "[setuptools.installation]\neggsecutable = mocked.agent:main\n",
    }
    files[info + "RECORD"] = "".join(name + ",,\n" for name in list(files) + [info + "RECORD"])
    name = "mockagent-%s-py3-none-any.whl" % VERSION
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
if __name__ == "__main__":
    print(build_wheel(sys.argv[1]))
"#;

/// Says its configuration and what it found of its key, and then waits with a child of its own, deaf for SIGTERM.
const AGENT: &str = r#"
import json, os, signal, subprocess, sys, time
def main():
    keys = json.load(open(os.path.basename(os.getcwd()) + ".dist-info/keystore.json"))
    child = subprocess.Popen(["sleep", "10000"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    path = os.environ.get("AGENT_CONFIG", "")
    config = open(path).read().strip() if os.path.exists(path) else "none"
    print("config", config, len(keys["public"]), len(keys["secret"]), flush=True)
    sys.stderr.write(json.dumps({"name": "mocked.agent", "levelno": 30, "msg": "child %d" % child.pid}) + "\n")
    sys.stderr.flush()
    open("pids.part", "w").write("%d %d" % (os.getpid(), child.pid))
    os.rename("pids.part", "pids")
    try:
        while True:
            time.sleep(1000)
    except KeyboardInterrupt:
        pass
if __name__ == "__main__":
    main()
"#;

/// Writes the sources of a version into a new directory.
pub fn sources(directory: &Path, version: &str) {
    std::fs::create_dir(directory).unwrap();
    let backend = BACKEND.replace("@VERSION@", version).replace("@WAIT@", &directory.join("wait").to_string_lossy());
    std::fs::write(directory.join("backend.py"), backend).unwrap();
    std::fs::write(directory.join("agent.py"), AGENT).unwrap();
    let project = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n";
    std::fs::write(directory.join("pyproject.toml"), project).unwrap();
}

/// Writes the sources of an agent that does something else.
pub fn sources_with(directory: &Path, agent: &str) {
    sources(directory, "1.0");
    std::fs::write(directory.join("agent.py"), agent).unwrap();
}

/// Makes the wheel of a version in a directory that exists.
pub fn wheel(directory: &Path, version: &str) -> PathBuf {
    let made = tempfile::tempdir().unwrap();
    let from = made.path().join("sources");
    sources(&from, version);
    let output = Command::new("python3").arg(from.join("backend.py")).arg(directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    directory.join(String::from_utf8(output.stdout).unwrap().trim())
}

/// Whether a process lives.
pub fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

/// Process ids of the agent installed in a directory and of its child, once it has written them.
pub async fn pids(directory: &Path) -> Vec<String> {
    let read = async || std::fs::read_to_string(directory.join("pids")).ok();
    let text = eventually_async("the agent runs", DEADLINE, read).await;
    std::fs::remove_file(directory.join("pids")).unwrap();
    text.split(' ').map(str::to_owned).collect()
}

/// Waits until processes are gone.
pub async fn gone(pids: &[String]) {
    eventually_async("its processes are gone", DEADLINE, async || (!pids.iter().any(|pid| runs(pid))).then_some(())).await;
}
