//! Packages in Python made ready with the real tools. The packages are made here, by a build backend that needs nothing, so that nothing
//! is asked of the network; only the test with `uv` gets that tool from the index that `pip` is configured for.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use vt_backends::{
    AgentEnvironment, Generation, LibraryRequest, PackageRequest, PackageSource, PrepareError, PrepareObserver, PrepareStep,
    PreparedPackage, PythonPackages, PythonSource,
};
use vt_host::{Packages, PackagesConfig};
use vt_types::Identity;

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
    config: PackagesConfig,
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

/// `uv` from the index that `pip` is configured for, once for all tests.
static UV: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uv");
    if !place.join("bin/uv").is_file() {
        let output = Command::new("python3").args(["-m", "pip", "install", "--target"]).arg(&place).arg("uv").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    PackagesConfig::find_uv(place.join("bin").to_str().unwrap()).unwrap()
});

impl Bench {
    /// With `uv`, by which environments are made in a moment.
    fn quick() -> Self {
        Self::new(|config| config.uv = Some(UV.clone()))
    }

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
        Self { packages: Packages::new(config.clone()).unwrap(), config, home, told: Arc::default() }
    }

    async fn prepare(&self, source: PackageSource, config: Option<&str>) -> Result<PreparedPackage, PrepareError> {
        let request = PackageRequest { config: config.map(str::to_owned), ..PackageRequest::of(source) };
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

/// A home with two agents that are in place, each with an environment of its own.
async fn with_two_agents(bench: &Bench) -> Vec<AgentEnvironment> {
    let mut agents = Vec::new();
    for identity in ["one", "two"] {
        let mut about = monolithic(&format!("agent-{identity}"));
        if identity == "two" {
            about["needs"] = serde_json::json!(["dependency==1.0", "shared==1.0"]);
        }
        let path = wheel(&sources(bench.home.path(), &about), &bench.home.path().join("made"));
        let mut source = bench.prepare(PackageSource::File(path), None).await.unwrap().source;
        let place = bench.home.path().join("agents").join(identity);
        fs::rename(&source.directory, &place).unwrap();
        source.directory = place;
        agents.push(AgentEnvironment { identity: Identity::parse(identity).unwrap(), source });
    }
    agents
}

fn library(bench: &Bench, name: &str, version: &str, needs: &[&str]) {
    let files = serde_json::json!({format!("{name}.py"): format!("VERSION = '{version}'\n")});
    let about = serde_json::json!({"name": name, "version": version, "needs": needs, "files": files});
    wheel(&sources(bench.home.path(), &about), &bench.home.path().join("wheelhouse"));
}

/// What an environment has of a module.
fn version_in(source: &PythonSource, module: &str) -> Option<String> {
    let code = format!("import {module}; print({module}.VERSION)");
    // Without a compiled file: Python would take that of another version of the same size, installed within the same second.
    let output = Command::new(source.environment().join("bin/python")).args(["-I", "-B", "-c", &code]).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

fn request(source: PackageSource) -> LibraryRequest {
    LibraryRequest { source, force: false, allow_prerelease: false }
}

fn named(name: &str) -> LibraryRequest {
    request(PackageSource::Requirement(name.to_owned()))
}

#[tokio::test]
async fn a_library_is_in_every_environment_of_today_and_of_later_until_it_is_removed() {
    let bench = Bench::quick();
    for version in ["1.0", "2.0"] {
        library(&bench, "shared", version, &[]);
        library(&bench, "lib", version, &[]);
    }
    let agents = with_two_agents(&bench).await;
    let (one, two) = (&agents[0].source, &agents[1].source);
    let put = async |request| bench.packages.install_library(request, agents.clone(), bench.told.clone()).await;
    let installed = put(named("lib==1.0")).await.unwrap();
    assert_eq!((installed.name.as_str(), installed.version.as_str()), ("lib", "1.0"));
    for source in [one, two] {
        assert_eq!(version_in(source, "lib").as_deref(), Some("1.0"));
    }
    // A newer one takes its place; what an agent has by itself it keeps.
    put(named("lib==2.0")).await.unwrap();
    put(named("shared==2.0")).await.unwrap();
    assert_eq!((version_in(one, "lib").as_deref(), version_in(one, "shared").as_deref()), (Some("2.0"), Some("2.0")));
    assert_eq!((version_in(two, "lib").as_deref(), version_in(two, "shared").as_deref()), (Some("2.0"), Some("1.0")));

    // A wheel that was sent is kept for agents to come, also by the next server.
    let made = bench.home.path().join("made");
    let about = serde_json::json!({"name": "sent-lib", "version": "3.0", "files": {"sent_lib.py": "VERSION = 'sent'\n"}});
    let path = wheel(&sources(bench.home.path(), &about), &made);
    let (file_name, content) = (path.file_name().unwrap().to_str().unwrap().to_owned(), Arc::new(fs::read(&path).unwrap()));
    put(request(PackageSource::Wheel { file_name, content })).await.unwrap();
    fs::remove_file(&path).unwrap();
    let bench = Bench { packages: Packages::new(bench.config.clone()).unwrap(), ..bench };
    let names: Vec<_> = bench.packages.libraries().await.unwrap().into_iter().map(|library| (library.name, library.version)).collect();
    let pair = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    assert_eq!(names, [pair("lib", "2.0"), pair("sent-lib", "3.0"), pair("shared", "2.0")]);
    let later = wheel(&sources(bench.home.path(), &monolithic("later")), &made);
    let later = bench.prepare(PackageSource::File(later), None).await.unwrap();
    assert_eq!(
        (version_in(&later.source, "lib").as_deref(), version_in(&later.source, "sent_lib").as_deref()),
        (Some("2.0"), Some("sent"))
    );

    for name in ["lib", "Sent_Lib", "shared"] {
        bench.packages.remove_library(name, agents.clone(), bench.told.clone()).await.unwrap();
    }
    for (source, module, left) in
        [(one, "lib", None), (two, "lib", None), (one, "sent_lib", None), (one, "shared", None), (two, "shared", Some("1.0"))]
    {
        assert_eq!(version_in(source, module).as_deref(), left, "{module}");
    }
    assert_eq!(fs::read_dir(bench.home.path().join("libraries")).unwrap().count(), 1, "the wheel is gone as well");
    let missing = bench.packages.remove_library("lib", agents.clone(), bench.told.clone()).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no library lib for all agents");
}

#[tokio::test]
async fn a_library_that_an_agent_cannot_have_is_in_no_environment() {
    let bench = Bench::quick();
    for version in ["1.0", "2.0"] {
        library(&bench, "shared", version, &[]);
    }
    library(&bench, "lib", "1.0", &[]);
    library(&bench, "lib", "2.0", &["shared==2.0"]);
    library(&bench, "unmodular", "1.0", &["volttron-core"]);
    wheel(
        &sources(bench.home.path(), &serde_json::json!({"name": "volttron-core", "version": "2.0"})),
        &bench.home.path().join("wheelhouse"),
    );
    let agents = with_two_agents(&bench).await;
    let put = async |request| bench.packages.install_library(request, agents.clone(), bench.told.clone()).await;
    put(named("lib==1.0")).await.unwrap();
    let refused = put(named("lib==2.0")).await.unwrap_err().to_string();
    assert!(refused.starts_with("lib cannot be used by two: ") && refused.ends_with("; nothing was changed"), "{refused}");
    for agent in &agents {
        assert_eq!(version_in(&agent.source, "lib").as_deref(), Some("1.0"), "{}", agent.identity);
    }
    assert_eq!(version_in(&agents[1].source, "shared").as_deref(), Some("1.0"));
    assert_eq!(bench.packages.libraries().await.unwrap()[0].version, "1.0");
    let missing = put(named("no-such-library")).await.unwrap_err().to_string();
    assert!(missing.contains("no-such-library"), "{missing}");
    // Both generations have a package `volttron`; they are kept apart.
    put(named("unmodular")).await.unwrap();
    assert_eq!(version_in(&agents[0].source, "unmodular"), None);
    assert_eq!(bench.packages.libraries().await.unwrap().len(), 2);
    assert_eq!(bench.left().len(), 2, "nothing else is left");
}

#[tokio::test]
async fn pip_puts_libraries_in_and_out_where_there_is_no_uv() {
    let bench = Bench::new(|_| {});
    library(&bench, "lib", "1.0", &[]);
    let path = wheel(&sources(bench.home.path(), &monolithic("listeneragent")), &bench.home.path().join("made"));
    let source = bench.prepare(PackageSource::File(path), None).await.unwrap().source;
    let agents = vec![AgentEnvironment { identity: Identity::parse("one").unwrap(), source: source.clone() }];
    bench.packages.install_library(named("lib"), agents.clone(), bench.told.clone()).await.unwrap();
    assert_eq!(version_in(&source, "lib").as_deref(), Some("1.0"));
    bench.packages.remove_library("lib", agents, bench.told.clone()).await.unwrap();
    assert_eq!(version_in(&source, "lib"), None);
}

#[tokio::test]
async fn wheels_are_built_configured_and_packed_again() {
    let bench = Bench::quick();
    let made = bench.home.path().join("made/deeper");
    let wheel = bench.packages.build_wheel(&sources(bench.home.path(), &monolithic("listeneragent")), &made, bench.told.clone()).await;
    let wheel = wheel.unwrap();
    assert_eq!(wheel, made.join("listeneragent-3.3-py3-none-any.whl"));
    for text in ["first", "second"] {
        let file = bench.home.path().join("config");
        fs::write(&file, text).unwrap();
        bench.packages.add_to_wheel(&wheel, "config", &file, bench.told.clone()).await.unwrap();
    }
    let package = bench.prepare(PackageSource::File(wheel.clone()), None).await.unwrap();
    assert_eq!(fs::read_to_string(package.source.config_file(&package.name)).unwrap(), "second");
    let place = package.source.directory.join("listeneragent-3.3");
    fs::write(place.join("listeneragent-3.3.dist-info/keystore.json"), "secret").unwrap();
    fs::create_dir_all(place.join("listeneragent-3.3.agent-data")).unwrap();
    fs::write(place.join("listeneragent-3.3.agent-data/state"), "data").unwrap();
    let packed = bench.packages.pack_wheel(&place, &bench.home.path().join("packed"), bench.told.clone()).await.unwrap();
    assert_eq!(packed.file_name(), wheel.file_name());
    let list = Command::new("python3").args(["-m", "zipfile", "-l"]).arg(&packed).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("mocked/agent.py") && list.contains("dist-info/config"), "{list}");
    assert!(!list.contains("keystore") && !list.contains("agent-data"), "{list}");
    let again = bench.prepare(PackageSource::File(packed), None).await.unwrap();
    assert_eq!(fs::read_to_string(again.source.config_file(&again.name)).unwrap(), "second");
    let error = bench.packages.pack_wheel(bench.home.path(), &made, bench.told.clone()).await.unwrap_err().to_string();
    assert!(error.contains("holds no installed package"), "{error}");
    let other = bench.home.path().join("other.whl");
    fs::write(&other, "no zip").unwrap();
    assert!(bench.packages.add_to_wheel(&other, "config", &other, bench.told.clone()).await.is_err());
    assert_eq!(fs::read_to_string(&other).unwrap(), "no zip");
}

#[tokio::test]
async fn a_modular_agent_gets_what_it_speaks_over_the_bus_with() {
    let bench = Bench::quick();
    let wheelhouse = bench.home.path().join("wheelhouse");
    for name in ["volttron-core", "volttron-lib-zmq"] {
        let files = serde_json::json!({format!("{}.py", name.replace('-', "_")): "VERSION = 'here'\n"});
        wheel(&sources(bench.home.path(), &serde_json::json!({"name": name, "version": "2.0.0rc1", "files": files})), &wheelhouse);
    }
    let about = serde_json::json!({
        "name": "mocked-agent", "version": "1.0", "needs": ["volttron-core>=2.0.0rc1"], "files": {"mocked/agent.py": AGENT},
        "entries": "[console_scripts]\nmocked = mocked.agent:main\n",
    });
    let package = bench.prepare(PackageSource::Directory(sources(bench.home.path(), &about)), None).await.unwrap();
    assert_eq!(package.source.generation, Generation::Modular);
    assert_eq!(version_in(&package.source, "volttron_lib_zmq").as_deref(), Some("here"));
}

#[tokio::test]
async fn a_list_of_requirements_is_installed_unless_it_is_to_be_skipped() {
    let bench = Bench::quick();
    let mut about = monolithic("listeneragent");
    about["needs"] = serde_json::json!([]);
    let directory = sources(bench.home.path(), &about);
    let source = PackageSource::Directory(directory.clone());
    fs::write(directory.join("requirements.txt"), "dependency==1.0\n").unwrap();
    let package = bench.prepare(source.clone(), None).await.unwrap();
    assert_eq!(runs(&package, &["-m", "mocked.agent"], "listeneragent-3.3"), "ran __main__ here\n");
    fs::write(directory.join("requirements.txt"), "no-such-thing\n").unwrap();
    let error = bench.prepare(source.clone(), None).await.unwrap_err().to_string();
    assert!(error.contains("no-such-thing"), "{error}");
    let skipping = PackageRequest { skip_requirements: true, ..PackageRequest::of(source) };
    bench.packages.prepare(skipping, bench.told.clone()).await.unwrap();
}

#[tokio::test]
async fn the_configuration_is_the_given_one_else_the_packages_own_else_the_earlier_one() {
    let bench = Bench::quick();
    let earlier = bench.home.path().join("earlier");
    fs::write(&earlier, "earlier").unwrap();
    let made = bench.home.path().join("made");
    let mut about = monolithic("listeneragent");
    let bare = wheel(&sources(bench.home.path(), &about), &made.join("bare"));
    about["information"] = serde_json::json!({"config": "own"});
    let configured = wheel(&sources(bench.home.path(), &about), &made.join("configured"));
    about["entries"] = serde_json::json!("[console_scripts]\nmocked = mocked.agent:main\n");
    let modular = wheel(&sources(bench.home.path(), &about), &made.join("modular"));
    for (path, given, expected) in [
        (&bare, Some("given"), Some("given")),
        (&bare, None, Some("earlier")),
        (&configured, None, Some("own")),
        (&modular, None, Some("own")),
        (&configured, Some("given"), Some("given")),
    ] {
        let request = PackageRequest {
            config: given.map(str::to_owned),
            earlier_config: Some(earlier.clone()),
            ..PackageRequest::of(PackageSource::File(path.clone()))
        };
        let package = bench.packages.prepare(request, bench.told.clone()).await.unwrap();
        let content = fs::read_to_string(package.source.config_file(&package.name)).ok();
        assert_eq!(content.as_deref(), expected, "{}", path.display());
    }
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
    let unknown =
        PackageRequest { interpreter: Some("python0.9".to_owned()), ..PackageRequest::of(PackageSource::Requirement("x".to_owned())) };
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
    let bench = Bench::quick();
    let directory = sources(bench.home.path(), &monolithic("listeneragent"));
    let package = bench.prepare(PackageSource::Directory(directory), None).await.unwrap();
    assert_eq!(package.name, "listeneragent-3.3");
    let said = runs(&package, &["-m", "mocked.agent"], "listeneragent-3.3");
    assert_eq!(said, "ran __main__ here\n");
    let error = bench.prepare(PackageSource::Requirement("no-such-agent".to_owned()), None).await.unwrap_err().to_string();
    assert!(error.contains("uv install failed") && error.contains("no-such-agent"), "{error}");
}
