//! §1.3: VIP addresses.

use vt_vip::address::{Mechanism, Scheme};
use vt_vip::{Address, AddressError};

const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

fn parse(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[test]
fn a_tcp_address_with_keys() {
    let address = parse(&format!("tcp://127.0.0.1:22916?serverkey={KEY}&publickey={KEY}&secretkey={KEY}#my.agent"));
    assert_eq!(address.scheme, Scheme::Tcp);
    assert_eq!(address.netloc, "127.0.0.1:22916");
    assert_eq!(address.endpoint(), "tcp://127.0.0.1:22916");
    assert_eq!(address.host_port(), Some(("127.0.0.1", 22916)));
    assert_eq!(address.server_key.unwrap().to_string(), KEY);
    assert_eq!(address.public_key.unwrap().to_string(), KEY);
    assert_eq!(address.secret_key.as_ref().unwrap().expose_text(), KEY);
    assert_eq!(address.identity.as_deref(), Some("my.agent"));
    let shown = address.to_string();
    assert_eq!(shown, format!("tcp://127.0.0.1:22916?serverkey={KEY}&publickey={KEY}#my.agent"));
    assert!(!format!("{address:?}").contains(&format!("SecretKey(\"{KEY}")));
}

#[test]
fn a_unix_socket_in_the_abstract_namespace() {
    let address = parse("ipc://@/var/lib/volttron/run/vip.socket");
    assert_eq!(address.scheme, Scheme::Ipc);
    assert_eq!(address.netloc, "@");
    assert_eq!(address.abstract_name().as_deref(), Some("/var/lib/volttron/run/vip.socket"));
    assert_eq!(address.socket_path(), None);
    assert_eq!(address.host_port(), None);
    assert_eq!(address.endpoint(), "ipc://@/var/lib/volttron/run/vip.socket");
    assert_eq!(parse("ipc://@name").abstract_name().as_deref(), Some("name"));
}

#[test]
fn a_unix_socket_in_the_file_system() {
    let address = parse("ipc:///var/lib/volttron/run/vip.socket");
    assert_eq!(address.socket_path().as_deref(), Some("/var/lib/volttron/run/vip.socket"));
    assert_eq!(address.abstract_name(), None);
}

#[test]
fn within_the_process() {
    let address = parse("inproc://vip");
    assert_eq!((address.scheme, address.netloc.as_str()), (Scheme::Inproc, "vip"));
}

#[test]
fn the_identity_may_be_absent_or_expressly_none() {
    assert_eq!(parse("tcp://h:1").identity, None);
    assert_eq!(parse("tcp://h:1#").identity.as_deref(), Some(""));
    assert_eq!(parse("tcp://h:1?domain=vip#").identity.as_deref(), Some(""));
    assert_eq!(parse("tcp://h:1#").to_string(), "tcp://h:1#");
}

#[test]
fn parameters_of_the_listening_side() {
    for (text, mechanism) in [("NULL", Mechanism::Null), ("curve", Mechanism::Curve), ("Plain", Mechanism::Plain)] {
        let address = parse(&format!("tcp://*:22916?server={text}&domain=vip"));
        assert_eq!(address.server, Some(mechanism));
        assert_eq!(address.server.unwrap().name(), text.to_uppercase());
        assert_eq!(address.domain.as_deref(), Some("vip"));
        assert_eq!(address.host_port(), Some(("*", 22916)));
    }
    assert_eq!(Address::parse("tcp://h:1?server=GSSAPI"), Err(AddressError::Server));
}

#[test]
fn ipv6_is_on_unless_said_otherwise() {
    for (text, on) in
        [("1", true), ("yes", true), ("TRUE", true), ("x", true), ("0", false), ("False", false), ("no", false), ("off", false)]
    {
        assert_eq!(parse(&format!("tcp://h:1?ipv6={text}")).ipv6, Some(on), "{text}");
    }
    assert_eq!(parse("tcp://h:1?ipv6=").ipv6, None);
    assert_eq!(parse("tcp://[::1]:22916").host_port(), Some(("::1", 22916)));
}

#[test]
fn parameters_are_decoded_and_unknown_ones_dropped() {
    let address = parse("tcp://h:1?username=a%26b+c%C3%A9&password=p%25&color=red&domain=%zz&x&=y");
    assert_eq!(address.username.as_deref(), Some("a&b c\u{e9}"));
    assert_eq!(address.password.as_ref().map(|password| password.0.as_str()), Some("p%"));
    assert_eq!(address.domain.as_deref(), Some("%zz"));
    assert_eq!(address.to_string(), "tcp://h:1?domain=%25zz&username=a%26b%20c%C3%A9");
    assert!(!format!("{address:?}").contains("p%"));
    assert_eq!(parse("tcp://h:1?domain=first&domain=second").domain.as_deref(), Some("first"));
}

#[test]
fn any_port_may_be_asked_for() {
    assert_eq!(parse("tcp://127.0.0.1:0").host_port(), Some(("127.0.0.1", 0)));
    assert_eq!(parse("tcp://127.0.0.1:*").host_port(), Some(("127.0.0.1", 0)));
}

#[test]
fn what_is_no_address_says_why() {
    for (text, error) in [
        ("", AddressError::Scheme),
        ("127.0.0.1:22916", AddressError::Scheme),
        ("http://h:1", AddressError::Scheme),
        ("tcp:/h:1", AddressError::Scheme),
        ("tcp://", AddressError::Empty),
        ("ipc://", AddressError::Empty),
        ("ipc://@", AddressError::Empty),
        ("inproc://?server=NULL", AddressError::Empty),
        ("tcp://h", AddressError::Port),
        ("tcp://h:", AddressError::Port),
        ("tcp://h:65536", AddressError::Port),
        ("tcp://h:+1", AddressError::Port),
        ("tcp://:22916", AddressError::Port),
        ("tcp://h:1\n", AddressError::Character),
        ("tcp://h :1", AddressError::Character),
    ] {
        assert_eq!(Address::parse(text), Err(error), "{text}");
    }
    assert!(matches!(Address::parse("tcp://h:1?serverkey=abc"), Err(AddressError::Key { name: "serverkey", .. })));
    let secret = Address::parse("tcp://h:1?secretkey=hunter2").unwrap_err();
    assert!(!secret.to_string().contains("hunter2"));
}
