//! Packages in Python made ready with the real tools. The packages are made here, by a build backend that needs nothing, so that nothing
//! is asked of the network; only the test with `uv` gets that tool from the index that `pip` is configured for.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use parking_lot::Mutex;
use vt_backends::{Generation, PackageRequest, PackageSource, PrepareError, PrepareObserver, PrepareStep, PreparedPackage, PythonPackages};
use vt_host::{Packages, PackagesConfig};

/// Builds a wheel from the directory that it lies in: `about.json` says name, version, entry points, requirements and further files.
const BACKEND: &str = r#"
import json, os, sys, zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    about = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "about.json")))
    stem = "%s-%s" % (about["name"].replace("-", "_"), about["version"])
    info = stem + ".dist-info/"
    metadata = ["Metadata-Version: 2.1", "Name: " + about["name"], "Version: " + about["version"]]
    metadata += ["Requires-Dist: " + need for need in about.get("needs", [])]
    files = dict(about.get("files", {}))
    files.update({info + name: text for name, text in about.get("information", {}).items()})
    files[info + "METADATA"] = "\n".join(metadata) + "\n"
    files[info + "WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[info + "entry_points.txt"] = about.get("entries", "")
    files[info + "RECORD"] = "".join(name + ",,\n" for name in list(files) + [info + "RECORD"])
    name = stem + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    print("built", name, file=sys.stderr)
    return name
if __name__ == "__main__":
    print(build_wheel(sys.argv[1]))
"#;

const AGENT: &str =
    "def main():\n    import dependency\n    print('ran', __name__, dependency.WORD)\nif __name__ == '__main__':\n    main()\n";

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl PrepareObserver for Told {
    fn on_step(&self, step: PrepareStep) {
        self.0.lock().push(format!("[{}]", step.as_str()));
    }
    fn on_line(&self, line: &str) {
        self.0.lock().push(line.to_owned());
    }
}

struct Bench {
    home: tempfile::TempDir,
    packages: Packages,
    told: Arc<Told>,
}

/// What tools may have of this process's environment.
fn environment() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name == "PATH" || name == "HOME" || name.starts_with("PIP_") || name.starts_with("SSL_")).collect()
}

fn python() -> String {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().expect("python3 is needed");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A directory with the sources of a package.
fn sources(parent: &Path, about: &serde_json::Value) -> PathBuf {
    let directory = parent.join(format!("source-of-{}", about["name"].as_str().unwrap()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("backend.py"), BACKEND).unwrap();
    fs::write(directory.join("about.json"), about.to_string()).unwrap();
    fs::write(directory.join("pyproject.toml"), "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n")
        .unwrap();
    directory
}

/// Its wheel, in `to`.
fn wheel(sources: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    let output = Command::new("python3").arg(sources.join("backend.py")).arg(to).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    to.join(String::from_utf8(output.stdout).unwrap().trim())
}

fn monolithic(name: &str) -> serde_json::Value {
    serde_json::json!({
        "name": name, "version": "3.3", "needs": ["dependency==1.0"],
        "entries": "[setuptools.installation]\neggsecutable = mocked.agent:main\n[console_scripts]\nmocked = mocked.agent:main\n",
        "files": {"mocked/__init__.py": "", "mocked/agent.py": AGENT},
    })
}

impl Bench {
    fn new(change: impl FnOnce(&mut PackagesConfig)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let wheelhouse = home.path().join("wheelhouse");
        let dependency = serde_json::json!({"name": "dependency", "version": "1.0", "files": {"dependency.py": "WORD = 'here'\n"}});
        wheel(&sources(home.path(), &dependency), &wheelhouse);
        let mut config = PackagesConfig {
            environment: environment(),
            interpreter: python(),
            wheelhouses: vec![wheelhouse],
            ..PackagesConfig::new(home.path().to_owned())
        };
        change(&mut config);
        Self { packages: Packages::new(config).unwrap(), home, told: Arc::default() }
    }

    async fn prepare(&self, source: PackageSource, config: Option<&str>) -> Result<PreparedPackage, PrepareError> {
        let request = PackageRequest { source, config: config.map(str::to_owned), interpreter: None, allow_prerelease: false };
        self.packages.prepare(request, self.told.clone()).await
    }

    /// Names below `agents`.
    fn left(&self) -> Vec<String> {
        let listing = fs::read_dir(self.home.path().join("agents")).into_iter().flatten();
        listing.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

/// Runs it from another place than where it was prepared.
fn runs(package: &PreparedPackage, arguments: &[&str], path: &str) -> String {
    let moved = package.source.directory.with_file_name("moved");
    fs::rename(&package.source.directory, &moved).unwrap();
    let output =
        Command::new(moved.join("env/bin/python")).args(arguments).env_clear().env("PYTHONPATH", moved.join(path)).output().unwrap();
    let script = Command::new(moved.join("env/bin/mocked")).env_clear().env("PATH", "/usr/bin:/bin").output();
    assert!(script.is_ok_and(|script| script.status.success()), "scripts find their interpreter after the move");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn a_monolithic_agent_is_built_from_a_directory_and_lies_as_volttron_has_it() {
    let bench = Bench::new(|_| {});
    let mut about = monolithic("listeneragent");
    about["information"] = serde_json::json!({"IDENTITY_TEMPLATE": "listener{n}\n", "execreqs.json": "{}"});
    let directory = sources(bench.home.path(), &about);
    let package = bench.prepare(PackageSource::Directory(directory.clone()), Some("message: hush # kept\n")).await.unwrap();
    assert_eq!((package.name.as_str(), package.source.generation), ("listeneragent-3.3", Generation::Monolithic9));
    assert_eq!((package.source.entry.to_string(), package.identity_template.as_deref()), ("mocked.agent:main".into(), Some("listener{n}")));
    let place = |path: &str| package.source.directory.join(path);
    assert_eq!(fs::read_to_string(place("listeneragent-3.3/listeneragent-3.3.dist-info/config")).unwrap(), "message: hush # kept\n");
    assert!(place("listeneragent-3.3/mocked/agent.py").is_file());
    assert!(!place("listeneragent-3.3/listeneragent-3.3.dist-info/IDENTITY_TEMPLATE").exists());
    assert!(place("listeneragent-3.3/listeneragent-3.3.dist-info/execreqs.json").is_file());
    let told = bench.told.0.lock().clone();
    let steps: Vec<_> = told.iter().filter(|line| line.starts_with('[')).map(String::as_str).collect();
    assert_eq!(steps, ["[checking]", "[environment]", "[building]", "[dependencies]", "[unpacking]"]);
    assert!(told.iter().any(|line| line.contains("dependency")), "tools are heard: {told:?}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 3, "nothing is written into the sources");
    let said = runs(&package, &["-m", "mocked.agent"], "listeneragent-3.3");
    assert_eq!(said, "ran __main__ here\n");
}

#[tokio::test]
async fn checklist_7_a_wheel_without_metadata_json_is_understood_and_a_modular_one_keeps_its_places() {
    let bench = Bench::new(|_| {});
    let about = serde_json::json!({
        "name": "mocked-agent", "version": "2.0.0rc3", "needs": ["dependency"],
        "entries": "[console_scripts]\nmocked = mocked.agent:main\n",
        "files": {"mocked/__init__.py": "", "mocked/agent.py": AGENT, "mocked-agent-default-vip-id": "platform.mocked"},
    });
    let path = wheel(&sources(bench.home.path(), &about), &bench.home.path().join("made"));
    let (file_name, content) = (path.file_name().unwrap().to_str().unwrap().to_owned(), Arc::new(fs::read(&path).unwrap()));
    let package = bench.prepare(PackageSource::Wheel { file_name, content }, Some("{\"a\": 1}")).await.unwrap();
    assert_eq!((package.name.as_str(), package.source.generation), ("mocked-agent-2.0.0rc3", Generation::Modular));
    assert_eq!(package.identity_template.as_deref(), Some("platform.mocked"));
    assert_eq!(fs::read_to_string(package.source.directory.join("config")).unwrap(), "{\"a\": 1}");
    assert_eq!(runs(&package, &["-c", "from mocked.agent import main; main()"], ""), "ran mocked.agent here\n");
}

#[tokio::test]
async fn a_name_is_taken_from_the_wheel_folder_with_what_every_monolithic_agent_needs() {
    let bench = Bench::new(|config| config.monolithic = Some("volttron==9.0.4".to_owned()));
    let wheelhouse = bench.home.path().join("wheelhouse");
    wheel(&sources(bench.home.path(), &monolithic("named-agent")), &wheelhouse);
    wheel(
        &sources(bench.home.path(), &serde_json::json!({"name": "volttron", "version": "9.0.4", "files": {"volttron.py": ""}})),
        &wheelhouse,
    );
    wheel(
        &sources(bench.home.path(), &serde_json::json!({"name": "volttron", "version": "11.0", "files": {"volttron.py": ""}})),
        &wheelhouse,
    );
    let package = bench.prepare(PackageSource::Requirement("named-agent==3.3".to_owned()), None).await.unwrap();
    assert_eq!(package.name, "named_agent-3.3");
    assert!(!package.source.config_file(&package.name).exists());
    let check = "import importlib.metadata as m; print(m.version('volttron'))";
    let output = Command::new(package.source.environment().join("bin/python")).args(["-c", check]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "9.0.4");
    bench.packages.discard(package).await;
    assert_eq!(bench.left(), Vec::<String>::new());
}

#[tokio::test]
async fn checklist_6_what_fails_says_why_and_leaves_nothing() {
    let bench = Bench::new(|_| {});
    let empty = bench.home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let broken = bench.home.path().join("broken-1.0-py3-none-any.whl");
    fs::write(&broken, "no zip file").unwrap();
    let none =
        wheel(&sources(bench.home.path(), &serde_json::json!({"name": "library", "version": "1.0"})), &bench.home.path().join("made"));
    let needy = serde_json::json!({"name": "needy", "version": "1.0", "needs": ["no-such-thing"]});
    let needy = wheel(&sources(bench.home.path(), &needy), &bench.home.path().join("made"));
    for (source, part) in [
        (PackageSource::Directory(empty), "must contain a setup.py"),
        (PackageSource::Directory("/nonexistent/agent".into()), "Invalid file /nonexistent/agent"),
        (PackageSource::File("/nonexistent/a-1-py3-none-any.whl".into()), "Invalid file"),
        (PackageSource::File(broken), "pip install failed: ERROR"),
        (PackageSource::File(none), "no entry points exported"),
        (PackageSource::File(needy), "no-such-thing"),
        (PackageSource::Requirement("no-such-agent".to_owned()), "no-such-agent"),
        (PackageSource::Requirement("--index-url=http://x".to_owned()), "nor the name of a package"),
    ] {
        let error = bench.prepare(source, None).await.unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
        assert_eq!(bench.left(), Vec::<String>::new(), "{part}");
    }
    let unknown = PackageRequest {
        source: PackageSource::Requirement("x".to_owned()),
        config: None,
        interpreter: Some("python0.9".to_owned()),
        allow_prerelease: false,
    };
    let error = bench.packages.prepare(unknown, bench.told.clone()).await.unwrap_err().to_string();
    assert!(error.contains("python0.9"), "{error}");
}

#[tokio::test]
async fn what_a_killed_server_had_half_prepared_is_deleted_at_the_next_start() {
    let bench = Bench::new(|_| {});
    let agents = bench.home.path().join("agents");
    fs::create_dir_all(agents.join(".prepared-1/env")).unwrap();
    fs::create_dir_all(agents.join("11111111-1111-4111-8111-111111111111")).unwrap();
    let _again = Packages::new(PackagesConfig::new(bench.home.path().to_owned())).unwrap();
    assert_eq!(bench.left(), ["11111111-1111-4111-8111-111111111111"]);
}

#[tokio::test]
async fn a_tool_that_takes_too_long_is_ended() {
    let bench = Bench::new(|config| config.tool_limit = std::time::Duration::from_millis(200));
    let mut about = monolithic("slow");
    about["files"] = serde_json::json!({});
    let directory = sources(bench.home.path(), &about);
    let error = bench.prepare(PackageSource::Directory(directory), None).await.unwrap_err().to_string();
    assert!(error.contains("took longer than"), "{error}");
    assert_eq!(bench.left(), Vec::<String>::new());
}

#[tokio::test]
async fn uv_does_the_same_when_it_is_there() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uv");
    if !place.join("bin/uv").is_file() {
        let output = Command::new("python3").args(["-m", "pip", "install", "--target"]).arg(&place).arg("uv").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let uv = PackagesConfig::find_uv(place.join("bin").to_str().unwrap());
    assert!(uv.is_some());
    let bench = Bench::new(|config| config.uv = uv);
    let directory = sources(bench.home.path(), &monolithic("listeneragent"));
    let package = bench.prepare(PackageSource::Directory(directory), None).await.unwrap();
    assert_eq!(package.name, "listeneragent-3.3");
    let said = runs(&package, &["-m", "mocked.agent"], "listeneragent-3.3");
    assert_eq!(said, "ran __main__ here\n");
    let error = bench.prepare(PackageSource::Requirement("no-such-agent".to_owned()), None).await.unwrap_err().to_string();
    assert!(error.contains("uv install failed") && error.contains("no-such-agent"), "{error}");
}
