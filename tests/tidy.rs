//! Layout rules that the compiler does not hold: who may depend on whom, what a crate must not name, what no tracked file may contain,
//! that the tests which documents name are there.
//!
//! The dependency table below is the one of the house style; a new edge is a design change and begins here. It reads manifests through
//! `cargo metadata` and files through `git ls-files`, so that work not yet committed is checked as well.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

/// One row: the crate's folder, the first-party crates it may use, the external crates it must not have, the paths its sources must not name.
struct Row {
    name: &'static str,
    may_use: &'static [&'static str],
    no_crates: &'static [&'static str],
    no_paths: &'static [&'static str],
}

const NETWORK_AND_FILES: &[&str] =
    &["tokio", "axum", "sqlx", "lapin", "hyper", "reqwest", "nix", "tempfile", "axum-server", "tokio-rustls", "tokio-tungstenite"];
const CLOCK_AND_IO: &[&str] = &["std::fs", "std::net", "std::process", "SystemTime::now", "Instant::now", "Utc::now", "Local::now"];

const TABLE: &[Row] = &[
    Row { name: "types", may_use: &[], no_crates: NETWORK_AND_FILES, no_paths: &["std::fs", "std::net", "std::process"] },
    Row { name: "vip", may_use: &["types"], no_crates: NETWORK_AND_FILES, no_paths: CLOCK_AND_IO },
    Row {
        name: "pki",
        may_use: &["types"],
        no_crates: NETWORK_AND_FILES,
        no_paths: &["std::fs", "std::process", "SystemTime::now", "Utc::now"],
    },
    Row { name: "backends", may_use: &["types"], no_crates: NETWORK_AND_FILES, no_paths: CLOCK_AND_IO },
    Row {
        name: "bus",
        may_use: &["types"],
        no_crates: &["axum", "sqlx", "lapin", "hyper", "reqwest", "nix", "tempfile"],
        no_paths: &["std::fs", "std::net", "std::process", "SystemTime::now", "Utc::now", "tokio::net", "tokio::fs", "tokio::process"],
    },
    Row {
        name: "agent",
        may_use: &["types", "bus"],
        no_crates: &["axum", "sqlx", "lapin", "hyper", "reqwest"],
        no_paths: &["std::fs", "std::net", "tokio::fs", "tokio::net", "SystemTime::now", "Utc::now"],
    },
    Row { name: "drivers", may_use: &["types", "backends"], no_crates: &["axum", "sqlx"], no_paths: &[] },
    Row { name: "historians", may_use: &["types"], no_crates: &["axum", "lapin"], no_paths: &[] },
    Row {
        name: "services",
        may_use: &["types", "bus", "pki", "backends", "agent"],
        no_crates: &["axum", "sqlx", "lapin", "hyper", "reqwest"],
        no_paths: &["std::fs", "std::process", "tokio::fs", "tokio::process", "tokio::net", "SystemTime::now", "Utc::now"],
    },
    Row {
        name: "agents",
        may_use: &["types", "agent", "backends", "drivers", "historians"],
        no_crates: &["axum", "sqlx"],
        no_paths: &["SystemTime::now", "Utc::now"],
    },
    Row { name: "host", may_use: &["types", "bus", "backends", "agent"], no_crates: &["axum", "sqlx"], no_paths: &[] },
    Row { name: "transport-zmq", may_use: &["types", "vip", "bus", "backends"], no_crates: &["axum", "sqlx", "lapin"], no_paths: &[] },
    Row { name: "transport-amqp", may_use: &["types", "vip", "bus", "backends"], no_crates: &["axum", "sqlx"], no_paths: &[] },
    Row { name: "rabbitmq", may_use: &["types", "backends"], no_crates: &["axum", "sqlx"], no_paths: &[] },
    Row { name: "storage-files", may_use: &["types", "backends"], no_crates: &["axum", "sqlx"], no_paths: &[] },
    Row { name: "storage-sql", may_use: &["types", "backends"], no_crates: &["axum"], no_paths: &[] },
    Row { name: "api", may_use: &["types", "services"], no_crates: &["sqlx", "lapin"], no_paths: &["std::fs"] },
    Row { name: "web", may_use: &["types", "services"], no_crates: &["sqlx", "lapin"], no_paths: &["std::process"] },
    Row {
        name: "config",
        may_use: &[
            "types",
            "bus",
            "pki",
            "backends",
            "agent",
            "drivers",
            "historians",
            "services",
            "agents",
            "host",
            "storage-files",
            "storage-sql",
            "api",
            "web",
        ],
        no_crates: &["axum", "sqlx"],
        no_paths: &[],
    },
    Row {
        name: "app",
        may_use: &[
            "types",
            "vip",
            "bus",
            "pki",
            "backends",
            "agent",
            "drivers",
            "historians",
            "services",
            "agents",
            "host",
            "transport-zmq",
            "transport-amqp",
            "rabbitmq",
            "storage-files",
            "storage-sql",
            "api",
            "config",
            "web",
        ],
        no_crates: &["sqlx"],
        no_paths: &[],
    },
    Row { name: "cli", may_use: &["app", "config", "api"], no_crates: &["sqlx", "axum"], no_paths: &[] },
];

/// Crates that stand outside the table: they serve tests only and may use anything.
const FREE: &[&str] = &["testkit", "tests"];

#[test]
fn first_party_dependencies_follow_the_table() {
    let mut wrong = Vec::new();
    for (name, package) in packages() {
        if FREE.contains(&name.as_str()) {
            continue;
        }
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            wrong.push(format!("vt-{name} is not in the table of tests/tidy.rs"));
            continue;
        };
        for dependency in dependencies(&package) {
            if let Some(used) = dependency.name.strip_prefix("vt-") {
                let for_tests = dependency.dev && used == "testkit";
                if !for_tests && !row.may_use.contains(&used) {
                    wrong.push(format!("vt-{name} must not depend on vt-{used}"));
                }
            } else if !dependency.dev && row.no_crates.contains(&dependency.name.as_str()) {
                wrong.push(format!("vt-{name} must not depend on {}", dependency.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_table_has_no_ring() {
    let level: BTreeMap<&str, usize> = TABLE.iter().enumerate().map(|(index, row)| (row.name, index)).collect();
    let wrong: Vec<String> = TABLE
        .iter()
        .flat_map(|row| row.may_use.iter().map(move |used| (row.name, *used)))
        .filter(|(name, used)| level[used] >= level[name])
        .map(|(name, used)| format!("{name} may use {used}, which stands at or above it in the table"))
        .collect();
    assert_none(&wrong);
}

#[test]
fn versions_lints_and_profiles_stand_only_at_the_root() {
    let mut wrong = Vec::new();
    for (name, package) in packages() {
        let path = text_of(&package, "manifest_path");
        let manifest = read(Path::new(&path));
        if !manifest.contains("[lints]\nworkspace = true") {
            wrong.push(format!("vt-{name} does not take the lints of the workspace"));
        }
        if manifest.contains("[profile") {
            wrong.push(format!("vt-{name} sets a profile"));
        }
        for line in manifest.lines().filter(|line| line.contains("version = \"")) {
            wrong.push(format!("vt-{name} sets a version of its own: {line}"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn sources_name_only_what_their_crate_may() {
    let mut wrong = Vec::new();
    for file in files_ending(&[".rs"]) {
        let Some(row) = TABLE.iter().find(|row| file.starts_with(&source_folder(row.name))) else { continue };
        if is_test_file(&file) {
            continue;
        }
        let text = production_part(&read_tracked(&file));
        for path in row.no_paths {
            if names(&text, path) {
                wrong.push(format!("{file}: vt-{} must not name {path}", row.name));
            }
        }
        for name in row.no_crates.iter().chain(&["vt_tests"]) {
            let path = format!("{}::", name.replace('-', "_"));
            if Regex::new(&format!(r"(^|[^\w:]){}", regex::escape(&path))).unwrap().is_match(&text) {
                wrong.push(format!("{file}: vt-{} must not name {path}", row.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_source_opens_with_what_it_is_for() {
    let wrong: Vec<String> = files_ending(&[".rs"])
        .into_iter()
        .filter(|file| !read_tracked(file).starts_with("//! "))
        .map(|file| format!("{file} does not open with //!"))
        .collect();
    assert_none(&wrong);
}

#[test]
fn nothing_is_left_unfinished() {
    // Spelled apart, so that this file does not find itself.
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "todo".to_owned() + "!(",
        "unimplemented".to_owned() + "!(",
        "#[".to_owned() + "ignore",
    ];
    let mut wrong = Vec::new();
    for file in files_ending(&[".rs", ".html", ".js", ".mjs", ".css", ".sql", ".sh", "Makefile", "Dockerfile"]) {
        for (number, line) in read_tracked(&file).lines().enumerate() {
            for mark in &marks {
                if line.contains(mark.as_str()) {
                    wrong.push(format!("{file}:{}: {mark}", number + 1));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_queue_is_bounded_and_no_task_sleeps_a_thread() {
    let marks = ["unbounded".to_owned() + "_channel", "Unbounded".to_owned() + "Receiver", "unbounded".to_owned() + "()"];
    let mut wrong = Vec::new();
    for file in files_ending(&[".rs"]) {
        let text = read_tracked(&file);
        for mark in &marks {
            if text.contains(mark.as_str()) {
                wrong.push(format!("{file}: {mark}"));
            }
        }
        if !is_test_file(&file) && production_part(&text).contains("thread::sleep") {
            wrong.push(format!("{file}: thread::sleep"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_tree_names_no_machine_and_no_registry() {
    // Put together from parts, so that this file does not find itself.
    let paths = Regex::new(&["(^|[\\s\"'`(=:])/", "(work|root|Users)/"].concat()).unwrap();
    let hosts =
        [["registry", "npmjs"], ["files", "pythonhosted"], ["pypi", "org"], ["index", "crates"], ["static", "crates"], ["deb", "debian"]];
    let hosts = hosts.map(|parts| parts.join("."));
    let mut wrong = Vec::new();
    for file in tracked() {
        let text = read_tracked(&file);
        for (number, line) in text.lines().enumerate() {
            if paths.is_match(line) {
                wrong.push(format!("{file}:{}: a path of one machine", number + 1));
            }
            if hosts.iter().any(|host| line.contains(host.as_str())) {
                wrong.push(format!("{file}:{}: a registry's host", number + 1));
            }
        }
        if file.ends_with("package-lock.json") && text.contains("\"resolved\"") {
            wrong.push(format!("{file}: lock files carry no registry addresses; set omit-lockfile-registry-resolved=true"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_third_party_script_is_in_the_tree() {
    let banner = Regex::new(r"(?i)(^/\*!|@license|\(c\) 20\d\d|copyright \(c\))").unwrap();
    let mut wrong = Vec::new();
    for file in tracked() {
        let name = file.rsplit('/').next().unwrap_or(&file);
        let script = name.ends_with(".js") || name.ends_with(".mjs") || name.ends_with(".css");
        if file.contains("node_modules/") || file.contains("/vendor/") || (script && name.contains(".min.")) {
            wrong.push(format!("{file} looks like a vendored file"));
        } else if script {
            let text = read_tracked(&file);
            if text.lines().take(5).any(|line| banner.is_match(line)) || text.lines().any(|line| line.len() > 2_000) {
                wrong.push(format!("{file} looks like third-party or minified code"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn one_tls_stack_is_locked() {
    let lock = read_tracked("Cargo.lock");
    let locked: BTreeSet<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    let wrong: Vec<String> = ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"]
        .iter()
        .filter(|name| locked.contains(*name))
        .map(ToString::to_string)
        .collect();
    assert_none(&wrong);
    assert!(locked.contains("rustls") && locked.contains("ring"), "Cargo.lock was not read as expected");
}

#[test]
fn migrations_have_the_same_names_for_both_databases() {
    let of = |kind: &str| -> BTreeSet<String> {
        tracked().into_iter().filter_map(|file| file.strip_prefix(&format!("migrations/{kind}/")).map(str::to_owned)).collect()
    };
    assert_eq!(of("sqlite"), of("postgres"));
}

#[test]
fn the_tests_that_the_conformance_maps_name_are_there() {
    let named = Regex::new(r"`([\w./-]+\.rs)::(\w+)`").unwrap();
    let sources: BTreeSet<String> = files_ending(&[".rs"]).into_iter().collect();
    let maps: Vec<String> = files_ending(&[".md"]).into_iter().filter(|file| file.starts_with("docs/conformance")).collect();
    let mut wrong = Vec::new();
    for map in &maps {
        let text = read_tracked(map);
        if !named.is_match(&text) {
            wrong.push(format!("{map} names no test"));
        }
        for (_, [file, test]) in named.captures_iter(&text).map(|found| found.extract()) {
            if !sources.contains(file) || !Regex::new(&format!(r"\bfn {test}\b")).unwrap().is_match(&read_tracked(file)) {
                wrong.push(format!("{map}: there is no test {test} in {file}"));
            }
        }
    }
    assert!(!maps.is_empty(), "no map of the conformance tests was found");
    assert_none(&wrong);
}

#[test]
fn the_scan_sees_paths_however_they_are_imported() {
    assert!(names("use std::fs;", "std::fs"));
    assert!(names("use std::{collections::BTreeMap, fs::File};", "std::fs"));
    assert!(names("use std::{\n    collections::BTreeMap,\n    fs,\n};", "std::fs"));
    assert!(!names("use std::{collections::BTreeMap, fmt};", "std::fs"));
    assert!(!names("use std::fsx;", "std::fs"));
    let file = "use std::fmt;\n// std::fs is not used here\n#[cfg(test)]\nmod tests { use std::fs; }\n";
    assert!(!names(&production_part(file), "std::fs"));
    assert!(names(&production_part("#[cfg(test)]\nmod tests;\nuse std::fs;\n"), "std::fs"));
}

struct Dependency {
    name: String,
    dev: bool,
}

fn packages() -> BTreeMap<String, Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = run(Command::new(cargo).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]));
    let metadata: Value = serde_json::from_str(&output).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (text_of(package, "name").trim_start_matches("vt-").to_owned(), package.clone())).collect()
}

fn dependencies(package: &Value) -> Vec<Dependency> {
    let listed = package["dependencies"].as_array().unwrap();
    listed.iter().map(|entry| Dependency { name: text_of(entry, "name"), dev: entry["kind"] == "dev" }).collect()
}

fn text_of(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file that is in git or would be added to it, relative to the root.
fn tracked() -> Vec<String> {
    let listed = run(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]));
    let files: Vec<String> =
        listed.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).filter(|name| root().join(name).is_file()).collect();
    assert!(files.len() > 50, "git lists only {} files", files.len());
    files
}

fn files_ending(ends: &[&str]) -> Vec<String> {
    tracked().into_iter().filter(|file| ends.iter().any(|end| file.ends_with(end))).collect()
}

fn run(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

fn read_tracked(file: &str) -> String {
    read(&root().join(file))
}

fn source_folder(name: &str) -> String {
    if name == "web" { "web/src/".to_owned() } else { format!("server/{name}/src/") }
}

fn is_test_file(file: &str) -> bool {
    file.contains("/tests/")
        || file.contains("/benches/")
        || file.starts_with("tests/")
        || file.ends_with("tests.rs")
        || file.contains("/contract")
}

/// The text without comments and without a test module at its end.
fn production_part(text: &str) -> String {
    let mut kept = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let code = line.trim();
        if code == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.trim_start().starts_with("mod ") && !next.trim_end().ends_with(';'))
        {
            break;
        }
        if !code.starts_with("//") {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// Whether the text names a path, written out or through a braced import.
fn names(text: &str, path: &str) -> bool {
    let (parent, last) = path.split_once("::").unwrap();
    let written = format!(r"\b{}::{}\b", regex::escape(parent), regex::escape(last));
    let braced = format!(r"\b{}::\{{[^;]*\b{}\b[^;]*\}}", regex::escape(parent), regex::escape(last));
    Regex::new(&written).unwrap().is_match(text) || Regex::new(&braced).unwrap().is_match(text)
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} found:\n{}", wrong.len(), wrong.join("\n"));
}
