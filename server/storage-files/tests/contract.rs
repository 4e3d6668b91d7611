//! The repositories on files pass the suites of their traits; every handle is opened anew on the same home.

use vt_backends::contract;
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
