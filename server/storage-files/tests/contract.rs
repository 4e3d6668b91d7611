//! The repositories on files pass the suites of their traits; every handle is opened anew on the same home.

use std::cell::Cell;
use std::fs;

use vt_backends::{EntryPoint, Generation, PythonSource, contract};
use vt_storage_files::{FileConfigs, FileInstallations, FileKeys, FilePeerAuth, FileUsers};

#[tokio::test]
async fn users_pass_their_suite() {
    let home = tempfile::tempdir().unwrap();
    contract::users(async || FileUsers::new(home.path())).await;
}

#[tokio::test]
async fn configs_pass_their_suite() {
    let home = tempfile::tempdir().unwrap();
    contract::configs(async || FileConfigs::new(home.path())).await;
}

#[tokio::test]
async fn installations_pass_their_suite() {
    let home = tempfile::tempdir().unwrap();
    contract::installations(async || FileInstallations::new(home.path())).await;
}

#[tokio::test]
async fn peer_auth_passes_its_suite() {
    let home = tempfile::tempdir().unwrap();
    contract::peers::peer_auth(async || FilePeerAuth::new(home.path())).await;
}

#[tokio::test]
async fn keys_pass_their_suite() {
    let home = tempfile::tempdir().unwrap();
    contract::peers::keys(async || FileKeys::new(home.path())).await;
}

#[tokio::test]
async fn packages_in_python_pass_their_suite() {
    let home = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    let prepare = |name: &str, generation| {
        count.set(count.get() + 1);
        let directory = home.path().join("agents").join(format!(".prepared-{}", count.get()));
        let entry = EntryPoint::parse("listener.agent:main").unwrap();
        let source = PythonSource { directory, generation, entry };
        fs::create_dir_all(source.environment().join("bin")).unwrap();
        if generation != Generation::Modular {
            fs::create_dir_all(source.information(name)).unwrap();
        }
        fs::write(source.config_file(name), "a: 1\n").unwrap();
        source
    };
    contract::python_installations(async || FileInstallations::new(home.path()), prepare).await;
}
