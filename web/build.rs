//! Brings the browser libraries named in package.json into `OUT_DIR/vendor`, from where the crate embeds them, and writes their licence texts.
//! No third-party code lies in the repository and no page loads anything from another host. `npm ci` runs in `OUT_DIR`, never in the source
//! tree; `WEB_VENDOR_DIR`, a folder laid out like `node_modules`, takes its place where there is no network or no Node.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// Package, its licence file, and (file in the package, name below `vendor/`) for each file that pages load.
type Package = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const PACKAGES: &[Package] = &[
    ("idiomorph", "LICENSE", &[("dist/idiomorph.esm.js", "idiomorph/idiomorph.esm.js")]),
    ("sortable-tablesort", "LICENSE", &[("dist/sortable.min.js", "sortable/sortable.min.js")]),
    ("uplot", "LICENSE", &[("dist/uPlot.esm.js", "uplot/uPlot.esm.js"), ("dist/uPlot.min.css", "uplot/uPlot.min.css")]),
];

fn main() -> ExitCode {
    for file in ["build.rs", "package.json", "package-lock.json", ".npmrc", "templates"] {
        say(&format!("rerun-if-changed={file}"));
    }
    say("rerun-if-env-changed=WEB_VENDOR_DIR");
    match vendor() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            say(&format!("error={sentence}"));
            ExitCode::FAILURE
        }
    }
}

fn vendor() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set; run this through cargo")?);
    let packages = match env::var_os("WEB_VENDOR_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => install(&out.join("npm"))?,
    };
    let vendor = out.join("vendor");
    if vendor.exists() {
        fs::remove_dir_all(&vendor).map_err(|error| format!("cannot empty {}: {error}", vendor.display()))?;
    }
    let mut licences = String::from("Browser libraries delivered with this server, each under its own licence.\n");
    for (package, licence, files) in PACKAGES {
        let folder = packages.join(package);
        for (from, to) in *files {
            copy(&folder.join(from), &vendor.join(to))?;
        }
        let text = read(&folder.join(licence))?;
        let version = field(&read(&folder.join("package.json"))?, "version");
        let rule = "=".repeat(78);
        write!(licences, "\n{rule}\n{package} {version}\n{rule}\n\n{}\n", text.trim_end()).map_err(|error| error.to_string())?;
    }
    fs::write(vendor.join("LICENSES.txt"), licences).map_err(|error| format!("cannot write LICENSES.txt: {error}"))
}

/// Runs `npm ci` in `folder` and gives the path of its `node_modules`.
fn install(folder: &Path) -> Result<PathBuf, String> {
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        copy(Path::new(file), &folder.join(file))?;
    }
    const NEEDS: &str = "vt-web needs Node 20 or newer with npm to fetch its browser libraries, or WEB_VENDOR_DIR set to a folder laid out like \
                         node_modules (with idiomorph, sortable-tablesort and uplot)";
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        .output()
        .map_err(|error| format!("{NEEDS}; starting npm failed: {error}"))?;
    if output.status.success() {
        return Ok(folder.join("node_modules"));
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().filter(|line| line.starts_with("npm error")).take(3).collect::<Vec<_>>().join(" | ");
    Err(format!("{NEEDS}; `npm ci` failed: {complaint}"))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    }
    fs::copy(from, to).map(drop).map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The text of a top-level string field; enough for package.json files, and spares a JSON parser at build time.
fn field(json: &str, name: &str) -> String {
    let key = format!("\"{name}\":");
    json.split_once(&key).and_then(|(_, rest)| rest.split('"').nth(1)).unwrap_or("?").to_owned()
}

fn say(instruction: &str) {
    println!("cargo::{instruction}");
}
