//! First start, second start, and the end: what a home gets, who may start on it, and how signals are obeyed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use vt_testkit::{TestServer, eventually};

const END_DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_fresh_home_gets_all_it_needs_and_keeps_its_secrets() {
    let server = TestServer::start().await;
    let home = server.home();
    for name in ["config", "VOLTTRON_PID", "first-run-code"] {
        assert!(home.join(name).is_file(), "{name} is missing in {:?}", files(home));
    }
    assert!(server.ca_file().is_file());
    let pid = std::fs::read_to_string(home.join("VOLTTRON_PID")).unwrap();
    assert_eq!(pid.trim(), server.pid().to_string());

    let secret = |path: &PathBuf| {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        text.contains("PRIVATE KEY") || ["first-run-code", "web-users.json"].iter().any(|name| path.ends_with(name))
    };
    server.administrator().await;
    let secrets: Vec<PathBuf> = files(home).into_iter().filter(secret).collect();
    assert!(secrets.len() >= 2, "expected keys and users among {:?}", files(home));
    for path in secrets {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    for path in files(home).iter().filter(|path| path.to_string_lossy().contains(".sqlite")) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{} is open to everybody: {mode:o}", path.display());
    }
}

#[tokio::test]
async fn the_one_time_code_makes_one_administrator_and_no_password_exists_before() {
    let server = TestServer::start().await;
    let code = server.code().unwrap();
    assert!(server.output().contains(&format!("{}/setup", server.url())), "{}", server.output());
    assert!(server.output().contains(&code), "{}", server.output());

    let client = server.client();
    for (user, password) in [("admin", "admin"), ("volttron", "volttron"), ("admin", "")] {
        let answer = client.post("/authenticate", &serde_json::json!({"username": user, "password": password})).await;
        assert_eq!(answer.status, 401, "{user}/{password}: {answer:?}");
    }

    server.administrator().await.get("/vui").await.expect(200);
    eventually("the used code's file is gone", Duration::from_secs(5), || server.code().is_none()).await;
    let again = setup(&server, &code, "second", "another long password").await;
    assert!(again >= 400, "a used code was accepted: {again}");
    let mut client = server.client();
    client.log_in("admin", "correct horse battery").await;
}

#[tokio::test]
async fn a_wrong_code_is_refused_and_guessing_is_slowed_down() {
    let server = TestServer::start().await;
    let mut statuses = Vec::new();
    for number in 0..20 {
        statuses.push(setup(&server, &format!("AAAA-AAAA-{number:04}"), "admin", "correct horse battery").await);
    }
    assert!(statuses.iter().all(|status| (400..500).contains(status)), "{statuses:?}");
    assert!(statuses.contains(&429), "twenty wrong codes in a row were all looked at: {statuses:?}");
}

#[tokio::test]
async fn a_second_start_on_the_same_home_is_refused_with_a_sentence() {
    let server = TestServer::start().await;
    let second =
        vt_testkit::program::run("volttron", server.home(), &["--bind-web-address", "https://127.0.0.1:0"], Duration::from_secs(20)).await;
    assert!(second.code.is_some_and(|code| code != 0), "{second:?}");
    assert!(second.stderr.contains("already"), "{second:?}");
    assert!(second.stderr.lines().count() <= 3, "a sentence, not a trace: {second:?}");
    server.client().get("/healthz").await.expect(200);
}

#[tokio::test]
async fn a_home_left_by_a_killed_server_starts_again() {
    let mut server = TestServer::start().await;
    let ca = std::fs::read(server.ca_file()).unwrap();
    let code = server.code();
    server.kill().await;
    assert!(server.home().join("VOLTTRON_PID").exists(), "kill -9 leaves no time to remove the file");
    server.start_again().await;
    assert_eq!(std::fs::read(server.ca_file()).unwrap(), ca, "the authority must stay the same");
    assert_eq!(server.code(), code, "while there is no user the code must stay the same");
}

#[tokio::test]
async fn signals_end_everything_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = TestServer::demo().await;
        let client = server.administrator().await;
        let platform = crate::demonstration::platform(&client).await;
        let mut socket = crate::sockets::legacy(&server, &client, &format!("/vui/platforms/{platform}/pubsub/devices")).await.unwrap();
        socket.next_text(Duration::from_secs(20)).await.unwrap();

        let (code, took) = server.end(signal, END_DEADLINE).await;
        assert_eq!(code, Some(0), "{signal} after {took:?}");
        assert!(!server.home().join("VOLTTRON_PID").exists(), "{signal} left the PID file");
        while socket.next_text(Duration::from_secs(5)).await.is_some() {}
    }
}

#[tokio::test]
async fn clients_that_never_end_their_requests_do_not_hold_up_the_end() {
    let mut server = TestServer::start().await;
    let mut local = tokio::net::UnixStream::connect(server.home().join("run/control.sock")).await.unwrap();
    local.write_all(b"POST /rpc HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{").await.unwrap();
    let address = server.url().trim_start_matches("https://").to_owned();
    let silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    server.client().get("/healthz").await.expect(200);
    let (code, took) = server.end(Signal::SIGTERM, END_DEADLINE).await;
    assert_eq!(code, Some(0), "after {took:?}");
    drop((local, silent));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut server = TestServer::demo().await;
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGTERM);
    server.ended(END_DEADLINE).await;
}

#[tokio::test]
async fn root_is_warned_and_served() {
    let server = TestServer::start().await;
    server.client().get("/healthz").await.expect(200);
    let is_root = nix::unistd::geteuid().is_root();
    assert_eq!(server.output().contains("running as root"), is_root, "{}", server.output());
}

#[tokio::test]
async fn a_log_that_is_moved_away_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (log, moved) = (folder.path().join("volttron.log"), folder.path().join("volttron.log.1"));
    let server = TestServer::builder().demo().argument("-vv").argument("-l").argument(log.to_string_lossy()).start().await;
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    eventually("the log grows", Duration::from_secs(20), || lines(&log) > 5).await;
    std::fs::rename(&log, &moved).unwrap();
    eventually("the log goes on under its name", Duration::from_secs(20), || lines(&log) > 0).await;
    drop(server);
}

#[tokio::test]
async fn settings_come_from_options_before_environment_before_file() {
    let of = |text: &str| text.to_owned();
    let file = "[volttron]\ninstance-name = fromfile\n";
    let by_file = TestServer::builder().file("config", file).start().await;
    assert_eq!(crate::demonstration::platform(&by_file.administrator().await).await, of("fromfile"));
    let by_environment = TestServer::builder().file("config", file).environment("VOLTTRON_INSTANCE_NAME", "fromenv").start().await;
    assert_eq!(crate::demonstration::platform(&by_environment.administrator().await).await, of("fromenv"));
    let by_option = TestServer::builder()
        .file("config", file)
        .environment("VOLTTRON_INSTANCE_NAME", "fromenv")
        .argument("--instance-name")
        .argument("fromoption")
        .start()
        .await;
    assert_eq!(crate::demonstration::platform(&by_option.administrator().await).await, of("fromoption"));
}

#[tokio::test]
async fn a_broken_file_is_refused_with_file_and_line() {
    for (text, line) in [
        ("[volttron]\ninstance-name = a\nno-such-key = 1\n", 3),
        ("[volttron]\nbind-web-address = ftp://127.0.0.1\n", 2),
        ("[volttron]\ninstance-name\n", 2),
        ("instance-name = a\n[volttron\n", 2),
        ("[volttron]\n\naccess-token-minutes = many\n", 3),
        ("[volttron]\nweb-ssl-cert = /nowhere.pem\n", 2),
    ] {
        let finished = TestServer::builder().file("config", text).refused().await;
        assert!(finished.code.is_some_and(|code| code != 0), "{text:?}: {finished:?}");
        assert!(finished.stderr.contains("config"), "{text:?} names no file: {finished:?}");
        assert!(
            finished.stderr.contains(&format!("line {line}")) || finished.stderr.contains(&format!(":{line}")),
            "{text:?} names no line: {finished:?}"
        );
        assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_said_so_and_leaves_nothing_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", taken.local_addr().unwrap());
    let finished = TestServer::builder().argument("--bind-web-address").argument(&address).refused().await;
    assert!(finished.code.is_some_and(|code| code != 0), "{finished:?}");
    let expected = format!("{address} cannot be used: another program listens there");
    assert!(finished.stderr.contains(&expected), "{finished:?}");
    assert!(!finished.stdout.contains("ready"), "{finished:?}");
    // An address of the documentation, which no machine has.
    let foreign = TestServer::builder().argument("--bind-web-address").argument("https://192.0.2.1:0").refused().await;
    assert!(foreign.code.is_some_and(|code| code != 0) && foreign.stderr.contains("give an address of this machine"), "{foreign:?}");
}

#[tokio::test]
async fn places_that_cannot_be_a_home_are_refused_with_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    // Nobody, root included, can make a directory in the second place.
    for home in [file.as_path(), Path::new("/proc/volttron")] {
        let finished = vt_testkit::program::run("volttron", home, &["--bind-web-address", "https://127.0.0.1:0"], END_DEADLINE).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        assert!(finished.stderr.starts_with("volttron: error: ") && finished.stderr.contains(&*home.to_string_lossy()), "{finished:?}");
        assert_eq!(finished.stderr.matches("os error").count(), 1, "a cause is told once: {finished:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

#[tokio::test]
async fn wrong_arguments_are_refused_before_anything_is_made() {
    for arguments in
        [&["--no-such-option"][..], &["surplus"], &["--bind-web-address"], &["--bind-web-address", "127.0.0.1:1"], &["-c", "/nowhere"]]
    {
        let parent = tempfile::tempdir().unwrap();
        let home = parent.path().join("home");
        let finished = vt_testkit::program::run("volttron", &home, arguments, END_DEADLINE).await;
        let expected = if arguments[0] == "-c" { 1 } else { 2 };
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(expected), ""), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains("error: "), "{arguments:?}: {finished:?}");
        assert!(!home.exists(), "{arguments:?} made a home");
    }
}

async fn setup(server: &TestServer, code: &str, user: &str, password: &str) -> u16 {
    server.client().setup(code, user, password).await.status
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn it_may_open_as_many_files_as_the_system_lets_it() {
    let server = TestServer::builder().open_files(256).start().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = line["Max open files".len()..].split_whitespace().take(2).collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert!(soft == hard || (hard == "unlimited" && soft == "8192"), "{line}");
}
