//! `start-volttron` and `stop-volttron`, as links to the one executable.

use std::time::Duration;

use vt_testkit::program;
use vt_testkit::program::run;

const DEADLINE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn the_server_starts_in_the_background_and_ends_by_script() {
    let home = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let link = |name: &str| {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(program("volttron"), &link).unwrap();
        link.to_string_lossy().into_owned()
    };
    let (start, stop) = (link("start-volttron"), link("stop-volttron"));
    // The log goes where the script is started; a file in the home may say another place.
    let log = home.path().join("volttron.log");
    let options = ["--rotating", "--", "--bind-web-address", "https://127.0.0.1:0", "-l", &log.to_string_lossy()];
    std::fs::write(home.path().join("VOLTTRON_PID"), "4194399").unwrap();
    let started = run(&start, home.path(), &options, DEADLINE).await.ok();
    assert_eq!(started.stdout, "Waiting for VOLTTRON to startup..\nVOLTTRON startup complete\n", "{started:?}");
    let pid = std::fs::read_to_string(home.path().join("VOLTTRON_PID")).unwrap();
    let again = run(&start, home.path(), &options, DEADLINE).await;
    assert_eq!((again.code, again.stdout), (Some(1), format!("VOLTTRON with process id {pid} is already running\n")));
    assert!(log.exists());
    let stopped = run(&stop, home.path(), &[], DEADLINE).await.ok();
    assert_eq!(stopped.stdout, "Shutting down VOLTTRON\n");
    assert!(!home.path().join("VOLTTRON_PID").exists());
    let failed = run(&start, home.path(), &["--", "--no-such-option"], DEADLINE).await;
    let expected = "Waiting for VOLTTRON to startup..\nVOLTTRON startup failed/timed out. Please check volttron.log for details\n";
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(2), expected));
}
