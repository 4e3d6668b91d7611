//! The command lines themselves: every help text is a golden file in `tests/golden/cli`, so that no option comes or goes unseen.
//! `VT_UPDATE_GOLDEN=1` writes them anew.

use std::path::PathBuf;
use std::time::Duration;

use vt_testkit::program::run;

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn help_texts_are_the_promised_ones() {
    let home = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let mut known = Vec::new();
    let links = tempfile::tempdir().unwrap();
    for program in ["volttron", "vctl", "vcfg", "vpkg", "install-agent.py"] {
        // What has no executable of its own is a link.
        let link = links.path().join(program);
        std::os::unix::fs::symlink(vt_testkit::program("volttron"), &link).unwrap();
        let mut waiting = vec![vec![]];
        while let Some(path) = waiting.pop() {
            let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
            let help = run(&link.to_string_lossy(), home.path(), &arguments, DEADLINE).await.ok();
            assert!(help.stderr.is_empty(), "{help:?}");
            let name = [vec![program.to_owned()], path.clone()].concat().join("-");
            if !is_golden(&name, &help.stdout) {
                wrong.push(name.clone());
            }
            known.push(format!("{name}.txt"));
            for command in commands(&help.stdout) {
                waiting.push([path.clone(), vec![command]].concat());
            }
        }
    }
    assert!(known.len() > 25, "commands are found in the help texts: {known:?}");
    assert!(wrong.is_empty(), "other than in tests/golden/cli: {wrong:?}; look, then run with VT_UPDATE_GOLDEN=1");
    let kept = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stale: Vec<String> = kept.filter(|name| !known.contains(name)).collect();
    assert!(stale.is_empty(), "commands that are no more: {stale:?}");
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/cli"))
}

fn is_golden(name: &str, text: &str) -> bool {
    let path = folder().join(format!("{name}.txt"));
    if std::env::var_os("VT_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    std::fs::read_to_string(&path).is_ok_and(|golden| golden == text)
}

/// Names below `Commands:`.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
