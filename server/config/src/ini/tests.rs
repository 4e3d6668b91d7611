//! Reading and adding to the file, by tables of texts.

use super::*;

type Lines = Vec<(usize, &'static str, String)>;

fn read_text(text: &[u8]) -> Result<Lines, String> {
    parse(Path::new("/vh/config"), text)
        .map(|parsed| parsed.entries.into_iter().map(|entry| (entry.line, entry.key, entry.value)).collect())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn good_files_are_read() {
    let name = |line, value: &str| vec![(line, "instance-name", value.to_owned())];
    let cases: &[(&[u8], Lines)] = &[
        (b"", vec![]),
        (b"[volttron]\ninstance-name = v1\n", name(2, "v1")),
        (b"\xef\xbb\xbf[volttron]\r\ninstance-name=v1\r\n", name(2, "v1")),
        (b"# c\n; c\n\n[ volttron ] # c\n  instance-name :  \"v1\"  ", name(5, "v1")),
        (b"[volttron]\ninstance-name = a;b#c %d\n", name(2, "a;b#c %d")),
        (b"[other]\nanything goes\n= x\n[volttron]\ninstance-name = v1\n[more]\ninstance-name = no\n", name(5, "v1")),
        (b"[volttron]\ninstance-name = a\n[x]\n[volttron]\ninstance-name = b\n", [name(2, "a"), name(5, "b")].concat()),
        (
            b"[volttron]\nvip-address = tcp://a:1\nvip-address = tcp://b:2\n",
            vec![(2, "vip-address", "tcp://a:1".into()), (3, "vip-address", "tcp://b:2".into())],
        ),
        (b"[volttron]\nno-autostart = yes\n", vec![(2, "autostart", "False".into())]),
    ];
    for (text, expected) in cases {
        assert_eq!(read_text(text).as_ref(), Ok(expected), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn bad_files_are_refused_with_file_and_line() {
    let long = format!("[volttron]\ninstance-name = {}\n", "x".repeat(65_536));
    let long_key = format!("[volttron]\n{} = 1\n", "k".repeat(65_536));
    let huge = vec![b'#'; (1 << 20) + 1];
    let cases: &[(&[u8], &str)] = &[
        (b"[volttron]\nfoo = 1\n", "/vh/config (line 2): unknown option: foo"),
        (b"[volttron]\nweb_ssl_key = 1\n", "/vh/config (line 2): unknown option: web_ssl_key; it is written web-ssl-key"),
        (b"[volttron]\n<img onerror=1>\n", "/vh/config (line 2): unknown option: \"<img onerror\""),
        (b"[volttron]\n\xe2\x80\xaex = 1\n", "/vh/config (line 2): unknown option: \"\\u{202e}x\""),
        (
            b"[volttron]\nautostart\n",
            "/vh/config (line 2): autostart needs a value; write autostart = VALUE, or put # in front of the line",
        ),
        (
            b"[volttron]\nautostart =\n",
            "/vh/config (line 2): autostart needs a value; write autostart = VALUE, or put # in front of the line",
        ),
        (b"[volttron\n", "/vh/config (line 1): a section header needs a closing bracket; write [volttron]"),
        (
            b"[volttron] instance-name = x\n",
            "/vh/config (line 1): \"instance-name = x\" follows the section header; put it on a line of its own",
        ),
        (b"\n\ninstance-name = x\n", "/vh/config (line 3): instance-name stands before the first section; put a line [volttron] above it"),
        (b"[volttron]\ninstance-name = a\0b\n", "/vh/config (line 2): the line contains the control character '\\0'; remove it"),
        (
            b"[volttron]\ninstance-name = a\rautostart = 1\n",
            "/vh/config (line 2): the line contains the control character '\\r'; remove it",
        ),
        (
            b"[volttron]\ninstance-name = a\xe2\x80\xaeb\n",
            "/vh/config (line 2): the value of instance-name contains the invisible character '\\u{202e}'; remove it",
        ),
        (b"[volttron]\n\ninstance-name = a\xff\n", "/vh/config (line 3): the line is not UTF-8 text; save the file as UTF-8"),
        (long.as_bytes(), "/vh/config (line 2): the value of instance-name has 65536 bytes; at most 4096 are accepted"),
        (&huge, "/vh/config (line 1): the file has 1048577 bytes; a configuration file has at most 1048576"),
    ];
    for (text, expected) in cases {
        assert_eq!(read_text(text), Err((*expected).to_owned()), "{:.80}", String::from_utf8_lossy(text));
    }
    assert!(read_text(long_key.as_bytes()).unwrap_err().len() < 200);
}

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    assert_eq!(read_text(b"[volttron]\na = 1\nautostart\nb = 2\n").unwrap_err().lines().count(), 3);
}

#[test]
fn lines_of_vctl_and_misspelt_sections_are_warned_about() {
    let parsed = parse(Path::new("c"), b"timeout = 5\nvip-address = tcp://x:1\n[VOLTTRON]\nfoo = 1\n").unwrap();
    assert!(parsed.entries.is_empty());
    assert_eq!(parsed.warnings.len(), 3);
    assert!(parsed.warnings[2].0.contains("[VOLTTRON] is not read; write [volttron]"));
}

#[test]
fn keys_are_added_and_everything_else_is_kept() {
    let keys = [("instance-name", "v1".to_owned()), ("message-bus", "embedded".to_owned())];
    let cases = [
        ("", "[volttron]\ninstance-name = v1\nmessage-bus = embedded\n"),
        ("\u{feff}", "\u{feff}[volttron]\ninstance-name = v1\nmessage-bus = embedded\n"),
        ("# only\n[other]\nx y", "# only\n[other]\nx y\n[volttron]\ninstance-name = v1\nmessage-bus = embedded\n"),
        ("[volttron]", "[volttron]\ninstance-name = v1\nmessage-bus = embedded\n"),
        (
            "# top\r\n[volttron]\r\n; keep\r\nautostart = True\r\n\r\n[x]\r\nodd\r\n",
            "# top\r\n[volttron]\r\n; keep\r\nautostart = True\r\ninstance-name = v1\r\nmessage-bus = embedded\r\n\r\n[x]\r\nodd\r\n",
        ),
        (
            "[volttron]\ninstance-name = mine\n[volttron]\nautostart = 1\n",
            "[volttron]\ninstance-name = mine\nmessage-bus = embedded\n[volttron]\nautostart = 1\n",
        ),
    ];
    for (before, after) in cases {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config");
        fs::write(&path, before).unwrap();
        add_missing_keys(&path, &keys).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), after);
        add_missing_keys(&path, &keys).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), after, "adding again changes nothing");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no temporary file is left");
    }
}

#[test]
fn modes_are_kept_and_secrets_are_closed_up() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    add_missing_keys(&path, &[("instance-name", "v1".to_owned())]).unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    add_missing_keys(&path, &[("message-bus", "zmq".to_owned())]).unwrap();
    assert_eq!(mode(), 0o644);
    add_missing_keys(&path, &[("web-secret-key", "00".to_owned())]).unwrap();
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_broken_file_is_never_written() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    fs::write(&path, "[volttron\n").unwrap();
    assert!(matches!(add_missing_keys(&path, &[("instance-name", "v1".to_owned())]), Err(ConfigError::Problems(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "[volttron\n");
    let nowhere = home.path().join("missing/config");
    assert!(matches!(add_missing_keys(&nowhere, &[("instance-name", "v1".to_owned())]), Err(ConfigError::Write { .. })));
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let home = tempfile::tempdir().unwrap();
    let (real, link) = (home.path().join("real"), home.path().join("config"));
    fs::write(&real, "").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    add_missing_keys(&link, &[("instance-name", "v1".to_owned())]).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("v1"));
}
