//! `vctl certs` and `vctl cert`: certificates that the home's authority signs, judged by openssl.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use vt_testkit::TestServer;
use vt_testkit::program::{Finished, run, run_with_input};

const DEADLINE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "hörbar 7";

async fn vctl(home: &Path, arguments: &[&str]) -> Finished {
    run("vctl", home, arguments, DEADLINE).await
}

/// What openssl prints; a failure is the test's.
fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

async fn files(home: &Path, arguments: &[&str]) -> (String, String) {
    let told: Value = serde_json::from_str(&vctl(home, &[&["--json"], arguments].concat()).await.ok().stdout).unwrap();
    (told["certificate"].as_str().unwrap().to_owned(), told["key"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_agent_gets_a_pair_that_the_platform_signed_and_other_programs_open_with_a_password() {
    let mut server = TestServer::builder().file("config", "[volttron]\ninstance-name = harbor1\n").start().await;
    let root = text(&server.ca_file());
    for is_up in [true, false] {
        let home = server.home();
        let made = vctl(home, &["certs", "create-ssl-keypair", "pump.agent"]).await.ok();
        assert_eq!((made.stdout.as_str(), made.stderr.as_str()), ("", ""));
        let (certificate, key) =
            (home.join("certificates/certs/harbor1.pump.agent.crt"), home.join("certificates/private/harbor1.pump.agent.pem"));
        assert_eq!((mode(&certificate), mode(&key)), (0o644, 0o600));
        assert!(openssl(&["verify", "-purpose", "sslclient", "-CAfile", &root, &text(&certificate)]).ends_with(": OK\n"));
        let old = std::fs::read(&certificate).unwrap();
        vctl(home, &["certs", "create-ssl-keypair", "pump.agent"]).await.ok();
        assert_ne!(std::fs::read(&certificate).unwrap(), old, "a new one in place of the old");

        let archive = home.join(format!("pump.{is_up}.p12"));
        let password = home.join("password");
        std::fs::write(&password, format!("{PASSWORD}\nnot this\n")).unwrap();
        let by_file = ["certs", "export-pkcs12", "pump.agent", &text(&archive), "--password-file", &text(&password)];
        vctl(home, &by_file).await.ok();
        assert_eq!(mode(&archive), 0o600);
        let pass = format!("pass:{PASSWORD}");
        let opened = openssl(&["pkcs12", "-in", &text(&archive), "-passin", &pass, "-nodes", "-info"]);
        for part in ["-----BEGIN PRIVATE KEY-----", "harbor1.pump.agent", "harbor1-root-ca", "AES-256-CBC", "MAC: sha256"] {
            assert!(opened.contains(part), "{part}: {opened}");
        }
        assert_eq!(opened.matches("-----BEGIN CERTIFICATE-----").count(), 2, "the chain is in it: {opened}");
        let wrong = Command::new("openssl").args(["pkcs12", "-in", &text(&archive), "-passin", "pass:other", "-nodes"]).output().unwrap();
        assert!(!wrong.status.success());
        let by_input = ["certs", "export-pkcs12", "pump.agent", &text(&archive), "--password-file", "-"];
        run_with_input("vctl", home, &by_input, "second\n", DEADLINE).await.ok();
        openssl(&["pkcs12", "-in", &text(&archive), "-passin", "pass:second", "-nokeys"]);
        if is_up {
            server.end(Signal::SIGTERM, DEADLINE).await;
        }
    }
    let before = std::fs::read(&root).unwrap();
    server.start_again().await;
    assert_eq!(std::fs::read(&root).unwrap(), before, "the root stays");
}

#[tokio::test]
async fn what_cannot_be_exported_leaves_no_file() {
    let home = tempfile::tempdir().unwrap();
    let archive = home.path().join("x.p12");
    let missing = vctl(home.path(), &["certs", "export-pkcs12", "pump", &text(&archive)]).await;
    assert!(missing.code == Some(1) && missing.stderr.starts_with("certs: error: Certificate '"), "{missing:?}");
    let none = vctl(home.path(), &["certs", "create-ssl-keypair", "pump"]).await;
    assert!(none.code == Some(1) && none.stderr.contains("vctl cert create --type root-ca"), "{none:?}");
    vctl(home.path(), &["cert", "create", "--type", "root-ca"]).await.ok();
    vctl(home.path(), &["certs", "create-ssl-keypair", "pump"]).await.ok();
    for (input, told) in [("", "the password must not be empty"), ("\nx\n", "the password must not be empty")] {
        let refused = run_with_input("vctl", home.path(), &["certs", "export-pkcs12", "pump", &text(&archive)], input, DEADLINE).await;
        assert!(refused.code == Some(1) && refused.stderr.contains(told), "{refused:?}");
    }
    let on_the_line = vctl(home.path(), &["certs", "export-pkcs12", "pump", &text(&archive), "--password", "x"]).await;
    assert_eq!(on_the_line.code, Some(2), "a password on the command line is seen by everybody: {on_the_line:?}");
    let escaping = vctl(home.path(), &["certs", "create-ssl-keypair", "../../x"]).await;
    assert!(escaping.code == Some(1) && escaping.stderr.contains("is no name for a certificate"), "{escaping:?}");
    assert!(!archive.exists());
}

#[tokio::test]
async fn certificates_of_each_type_are_made_and_shown_as_by_the_modular_generation() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("config"), "[volttron]\ninstance-name = harbor1\n").unwrap();
    let root = vctl(home, &["cert", "create", "--type", "root-ca"]).await.ok();
    assert_eq!(root.stdout, "Successfully created root CA certificate: harbor1-root-ca\n");
    let (site, _) = files(home, &["cert", "create", "--type", "ca", "site"]).await;
    let (client, key) = files(home, &["cert", "create", "meter", "--ca-name", "site", "--valid-days", "30"]).await;
    let (server, _) = files(home, &["cert", "create", "--type", "server", "gate", "--fqdn", "gate.example.org"]).await;
    assert_eq!(mode(Path::new(&key)), 0o600);
    let root = text(&home.join("certificates/certs/harbor1-root-ca.crt"));
    openssl(&["verify", "-purpose", "sslclient", "-CAfile", &root, "-untrusted", &site, &client]);
    openssl(&["verify", "-purpose", "sslserver", "-verify_hostname", "gate.example.org", "-CAfile", &root, &server]);
    let old = std::fs::read(&client).unwrap();
    let again = vctl(home, &["cert", "create", "meter"]).await.ok();
    assert_eq!(again.stdout, "client certificate already exists: meter\nUse --overwrite to replace the existing certificate\n");
    assert_eq!(std::fs::read(&client).unwrap(), old);
    let replaced = vctl(home, &["cert", "create", "meter", "--overwrite"]).await.ok();
    assert_eq!(replaced.stdout, "Successfully created client certificate: meter\n");
    assert_ne!(std::fs::read(&client).unwrap(), old);

    let shown = vctl(home, &["cert", "show", "gate"]).await.ok().stdout;
    let serial = openssl(&["x509", "-in", &server, "-noout", "-serial"]);
    let json: Value = serde_json::from_str(&vctl(home, &["cert", "show", "gate", "--json"]).await.ok().stdout).unwrap();
    let number = u128::from_str_radix(serial.trim().strip_prefix("serial=").unwrap(), 16).unwrap();
    assert_eq!(json["serial"], number.to_string());
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[..5], ["", "Certificate: gate", "Type: server", "Common Name: gate", "Issuer: harbor1-root-ca"]);
    assert!(lines[5].starts_with("Expiry: 20") && lines[6].starts_with("Not Before: ") && lines[6].ends_with("+00:00"), "{shown}");
    assert_eq!(lines[9], "Country: -");
    assert!(lines.contains(&"Names: gate.example.org"), "{shown}");
    for (name, kind) in [("harbor1-root-ca", "root-ca"), ("site", "ca"), ("meter", "client")] {
        assert!(vctl(home, &["cert", "show", name]).await.ok().stdout.contains(&format!("\nType: {kind}\n")), "{name}");
    }
    for (arguments, told) in [
        (&["cert", "show", "nothing"][..], "cert: error: Certificate 'nothing' not found."),
        (&["cert", "create"], "Error: certificate name is required"),
        (&["cert", "create", "x", "--fqdn", "y"], "Error: --fqdn can only be used with --type server"),
        (&["cert", "create", "--type", "root-ca", "--ca-name", "site"], "Error: --ca-name cannot be used with --type root-ca"),
        (&["cert", "create", "--type", "root-ca", "--overwrite"], "is not replaced"),
        (&["cert", "create", "harbor1-root-ca", "--overwrite"], "is the name of the platform's root"),
        (&["cert", "create", "y", "--ca-name", "meter"], "is not a CA certificate"),
        (&["cert", "create", "y", "--ca-name", "nothing"], "there is no authority in"),
    ] {
        let wrong = vctl(home, arguments).await;
        assert!(wrong.code == Some(1) && wrong.stderr.contains(told), "{arguments:?}: {wrong:?}");
    }
    assert!(!home.join("certificates/certs/y.crt").exists());
}

#[tokio::test]
async fn a_password_is_asked_for_twice_on_a_terminal_and_not_shown() {
    let home = tempfile::tempdir().unwrap();
    vctl(home.path(), &["cert", "create", "--type", "root-ca"]).await.ok();
    vctl(home.path(), &["certs", "create-ssl-keypair", "pump"]).await.ok();
    let archive = home.path().join("x.p12");
    let line = format!("{} certs export-pkcs12 pump {}", vt_testkit::program("vctl").display(), archive.display());
    for (typed, code) in [(["s3cret\r", "s3cret\r"], 0), (["one\r", "two\r"], 1), (["\u{3}", ""], 1)] {
        let mut command = tokio::process::Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]).env("VOLTTRON_HOME", home.path());
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (mut screen, mut keyboard) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let mut seen = String::new();
        let mut read_until = async |text: &str| {
            while !seen.contains(text) {
                let mut some = [0; 1024];
                let count = tokio::io::AsyncReadExt::read(&mut screen, &mut some).await.unwrap();
                assert!(count > 0, "it ended by itself: {seen:?}");
                seen.push_str(&String::from_utf8_lossy(&some[..count]));
            }
        };
        for (question, answer) in ["Enter Export Password: ", "Verifying - Enter Export Password: "].iter().zip(typed) {
            if answer.is_empty() {
                break;
            }
            tokio::time::timeout(DEADLINE, read_until(question)).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut keyboard, answer.as_bytes()).await.unwrap();
        }
        let mut rest = String::new();
        tokio::time::timeout(DEADLINE, tokio::io::AsyncReadExt::read_to_string(&mut screen, &mut rest)).await.unwrap().unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(code), "{seen:?} {rest:?}");
        assert!(!(seen + &rest).contains("s3cret"));
        if code == 0 {
            openssl(&["pkcs12", "-in", &text(&archive), "-passin", "pass:s3cret", "-nokeys"]);
            std::fs::remove_file(&archive).unwrap();
        }
    }
    assert!(!archive.exists(), "what was not confirmed was not written");
}
