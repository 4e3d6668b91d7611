//! Wheels as files, for `vpkg`: built from a directory, given a further file, packed again from an installed agent. Source: VOLTTRON
//! `volttron/platform/packaging.py`; the format is PEP 427.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vt_backends::{PackageSource, PrepareError, PrepareObserver};

use super::files::{self, system};
use super::tool::Tools;
use super::{PREPARED, Packages, What, Work, checked};

/// Changes wheels; keeps `RECORD` true. An installation's own files (keys, data, byte code) are not packed.
const SCRIPT: &str = r#"
import base64, csv, hashlib, io, os, sys, zipfile
def row(name, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return [name, "sha256=" + digest, str(len(content))]
def write(path, files):
    record = next(name for name in files if name.endswith(".dist-info/RECORD"))
    table = io.StringIO()
    rows = [row(name, content) for name, (_, content) in files.items() if name != record]
    csv.writer(table, lineterminator="\n").writerows(rows + [[record, "", ""]])
    files[record] = (files[record][0], table.getvalue().encode())
    beside = path + ".part"
    with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, (information, content) in files.items():
            wheel.writestr(information, content, zipfile.ZIP_DEFLATED)
    os.replace(beside, path)
    print(path)
def add(path, name, source):
    with zipfile.ZipFile(path) as wheel:
        files = {entry.filename: (entry, wheel.read(entry)) for entry in wheel.infolist() if not entry.is_dir()}
    record = [name for name in files if name.endswith(".dist-info/RECORD") and name.count("/") == 1]
    if len(record) != 1:
        sys.exit("error: this is no wheel: it has no RECORD")
    name = record[0][: -len("RECORD")] + name
    with open(source, "rb") as file:
        files[name] = (name, file.read())
    write(path, files)
def tag(information):
    with open(os.path.join(information, "WHEEL")) as file:
        tags = [line.split(":", 1)[1].strip().split("-") for line in file if line.startswith("Tag:")]
    return "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags)) or "py3-none-any"
def pack(directory, to):
    found = [name for name in os.listdir(directory) if name.endswith(".dist-info")]
    if len(found) != 1:
        sys.exit("error: %s holds no installed package: there is no .dist-info directory in it" % directory)
    own = {"keystore.json", "INSTALLER", "REQUESTED", "direct_url.json"}
    files = {}
    for place, folders, names in os.walk(directory):
        folders[:] = sorted(folder for folder in folders if folder != "__pycache__" and not folder.endswith(".agent-data"))
        for name in sorted(names):
            path = os.path.join(place, name)
            inside = os.path.relpath(path, directory)
            if name.endswith(".pyc") or os.path.dirname(inside) == found[0] and name in own:
                continue
            with open(path, "rb") as file:
                files[inside] = (zipfile.ZipInfo.from_file(path, inside, strict_timestamps=False), file.read())
    files.setdefault(found[0] + "/RECORD", (found[0] + "/RECORD", b""))
    stem = found[0][: -len(".dist-info")]
    write(os.path.join(to, "%s-%s.whl" % (stem, tag(os.path.join(directory, found[0])))), files)
{"add": add, "pack": pack}[sys.argv[1]](*sys.argv[2:])
"#;

impl Packages {
    /// Builds the wheel of a directory and puts it into `to`, which is made if need be; gives its path.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn build_wheel(&self, sources: &Path, to: &Path, observer: Arc<dyn PrepareObserver>) -> Result<PathBuf, PrepareError> {
        let _turn = self.turn.lock().await;
        let directory = self.config.home.join("agents").join(format!("{PREPARED}{}", files::unique()));
        files::make(&directory).await?;
        let tools = Tools { config: &self.config, spawner: &self.spawner, observer };
        let result = self.build_in(&directory, sources, to, &tools).await;
        files::remove(&directory).await;
        result
    }

    async fn build_in(&self, directory: &Path, sources: &Path, to: &Path, tools: &Tools<'_>) -> Result<PathBuf, PrepareError> {
        let wheels = directory.join("wheel");
        files::make(&wheels).await?;
        let What::Sources(copy) = checked(&PackageSource::Directory(sources.to_owned()), directory, &wheels).await? else {
            return Err(PrepareError::Invalid(format!("Invalid file {}", sources.display())));
        };
        let work = Work { tools, directory, environment: directory.join("env"), prerelease: false };
        work.make_environment(&self.config.interpreter).await?;
        work.build(&copy, &wheels).await?;
        let wheel = files::only_wheel(&wheels).await?;
        files::make(to).await?;
        let path = to.join(wheel.file_name().unwrap_or_default());
        // The two may lie on different disks.
        tokio::fs::copy(&wheel, &path).await.map_err(system(&path))?;
        Ok(path)
    }

    /// Puts `file` into a wheel, as `name` of its metadata; one that is there is replaced.
    ///
    /// # Errors
    /// [`PrepareError`]; the wheel is as before then.
    pub async fn add_to_wheel(
        &self,
        wheel: &Path,
        name: &str,
        file: &Path,
        observer: Arc<dyn PrepareObserver>,
    ) -> Result<(), PrepareError> {
        let arguments = ["add".to_owned(), text(wheel), name.to_owned(), text(file)];
        self.script("changing the wheel", &arguments, observer).await.map(drop)
    }

    /// Packs an installed agent's package in `directory` into a wheel in `to`, which is made if need be; gives its path.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn pack_wheel(&self, directory: &Path, to: &Path, observer: Arc<dyn PrepareObserver>) -> Result<PathBuf, PrepareError> {
        files::make(to).await?;
        let answer = self.script("packing the wheel", &["pack".to_owned(), text(directory), text(to)], observer).await?;
        Ok(PathBuf::from(answer.trim()))
    }

    async fn script(&self, what: &str, arguments: &[String], observer: Arc<dyn PrepareObserver>) -> Result<String, PrepareError> {
        let tools = Tools { config: &self.config, spawner: &self.spawner, observer };
        let start = ["-I", "-c", SCRIPT].map(str::to_owned);
        tools.ask(what, Path::new(&self.config.interpreter), &[&start[..], arguments].concat(), Path::new("/")).await
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
