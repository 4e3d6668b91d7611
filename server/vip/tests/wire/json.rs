//! §2.5 rules 2 and 3: JSON as Python writes it, and as Python can read it.

use serde_json::{Value, json};
use vt_vip::JsonError;
use vt_vip::json::{DEPTH_MAX, asciify, asciify_bytes, elements, is_number, members, parse_lenient, to_ascii};

use crate::frame;

fn lenient(text: &str) -> Value {
    parse_lenient(text.as_bytes()).unwrap()
}

#[test]
fn what_python_adds_to_json_becomes_null() {
    assert_eq!(lenient("[NaN, Infinity, -Infinity, 1]"), json!([null, null, null, 1]));
    assert_eq!(lenient("NaN"), Value::Null);
    assert_eq!(lenient(r#"{"NaN": "NaN", "v": NaN}"#), json!({"NaN": "NaN", "v": null}));
}

#[test]
fn numbers_are_kept_as_well_as_possible() {
    assert_eq!(lenient("18446744073709551615"), json!(u64::MAX));
    assert_eq!(lenient("-9223372036854775808"), json!(i64::MIN));
    assert_eq!(lenient("36893488147419103232"), json!(36_893_488_147_419_103_232.0));
    assert_eq!(lenient("[1e400, -1e400, 1e-400]"), json!([null, null, 0.0]));
    assert_eq!(lenient(&format!("[{}]", "9".repeat(400))), json!([null]));
    assert_eq!(lenient(&format!("[{}, 1e400]", "9".repeat(300))), json!([1e300, null]));
}

#[test]
fn half_a_surrogate_pair_becomes_the_replacement_character() {
    assert_eq!(lenient(r#""\ud83d\ude00""#), json!("\u{1f600}"));
    assert_eq!(lenient(r#""a\ud83db""#), json!("a\u{fffd}b"));
    assert_eq!(lenient(r#""\ude00\ud83d""#), json!("\u{fffd}\u{fffd}"));
    assert_eq!(lenient(r#""\ud83d\ud83d\ude00""#), json!("\u{fffd}\u{1f600}"));
    assert_eq!(lenient(r#""\ud83d\u0041\ud83d""#), json!("\u{fffd}A\u{fffd}"));
    assert_eq!(lenient(r#"{"\ud83d": NaN}"#), json!({"\u{fffd}": null}));
}

#[test]
fn bytes_are_utf_8_or_else_latin_1() {
    assert_eq!(parse_lenient(&frame("0x22c3a922")).unwrap(), json!("\u{e9}"));
    assert_eq!(parse_lenient(&frame("0x22e922")).unwrap(), json!("\u{e9}"));
    assert_eq!(parse_lenient(&frame("0x5b22e9222c4e614e5d")).unwrap(), json!(["\u{e9}", null]));
}

#[test]
fn a_member_may_have_any_name_and_the_last_of_a_name_counts() {
    let text = r#"{"$serde_json::private::RawValue": "[1]"}"#;
    assert_eq!(to_ascii(&lenient(text)), r#"{"$serde_json::private::RawValue":"[1]"}"#);
    assert_eq!(lenient(r#"{"a": 1, "a": 2}"#), json!({"a": 2}));
    assert_eq!(lenient(r#"{"b": 1, "a": NaN, "b": 2}"#), json!({"b": 2, "a": null}));
}

#[test]
fn what_python_cannot_read_either_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{,}",
        "[1 2]",
        "nul",
        "tru",
        "NaNa",
        "-NaN",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "- 1",
        "'a'",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"\\",
        "[1}",
        "{\"a\":1]",
        "{1:2}",
        "\u{e9}",
        "[]]",
        "\u{feff}[]",
        "inf",
        "nan",
        "Infinit",
        "0x10",
        "1_000",
        "[NaN",
        "]",
    ] {
        assert!(parse_lenient(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(parse_lenient(b"[] x"), Err(JsonError::Trailing { at: 3 }));
    assert_eq!(parse_lenient(b"[tfue]"), Err(JsonError::Unexpected { at: 2 }));
    assert_eq!(parse_lenient(b"[1"), Err(JsonError::Incomplete));
}

#[test]
fn nesting_is_bounded_alike_however_a_text_is_read() {
    let nested = |depth: usize, core: &str| format!("{}{core}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    for core in ["1", "NaN"] {
        assert!(parse_lenient(nested(DEPTH_MAX, core).as_bytes()).is_ok(), "{core}");
        assert_eq!(parse_lenient(nested(DEPTH_MAX + 1, core).as_bytes()), Err(JsonError::TooDeep), "{core}");
        assert!(elements(&nested(DEPTH_MAX, core)).is_ok(), "{core}");
        assert_eq!(elements(&nested(DEPTH_MAX + 1, core)), Err(JsonError::TooDeep), "{core}");
    }
    assert!(members(&objects(DEPTH_MAX)).is_ok());
    assert!(parse_lenient(objects(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(members(&objects(DEPTH_MAX + 1)), Err(JsonError::TooDeep));
    assert_eq!(parse_lenient(objects(DEPTH_MAX + 1).as_bytes()), Err(JsonError::TooDeep));
    assert_eq!(parse_lenient("[".repeat(10_000_000).as_bytes()), Err(JsonError::TooDeep));
}

#[test]
fn members_are_taken_as_they_are_written() {
    let text = r#" { "bus" : "" , "message": [ 1.50, NaN, {"x": "}"} ],"n":1e400 ,"\u0062us":"b","e":{}, "l":[ ]} "#;
    let found = members(text).unwrap();
    let seen: Vec<(&str, &str)> = found.iter().map(|(name, raw)| (&**name, *raw)).collect();
    let expected =
        [("bus", "\"\""), ("message", r#"[ 1.50, NaN, {"x": "}"} ]"#), ("n", "1e400"), ("bus", "\"b\""), ("e", "{}"), ("l", "[ ]")];
    assert_eq!(seen, expected);
    assert_eq!(members("{}").unwrap(), []);
}

#[test]
fn only_whole_objects_have_members() {
    for text in ["", "[]", "1", "{", "{}x", "{\"a\":1", "{\"a\":[}", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":1}}", "{\"a\":\"}", "{\"a\":nulL}"]
    {
        assert!(members(text).is_err(), "{text:?}");
    }
}

#[test]
fn elements_are_taken_as_they_are_written() {
    let found = elements(" [ {\"a\": [1,2]} ,NaN, \"]\" ] ").unwrap();
    assert_eq!(found, ["{\"a\": [1,2]}", "NaN", "\"]\""]);
    assert_eq!(elements("[ ]").unwrap(), Vec::<&str>::new());
    for text in ["{}", "[", "[1,]", "[,]", "[1]]"] {
        assert!(elements(text).is_err(), "{text:?}");
    }
}

#[test]
fn we_write_pure_ascii() {
    let value = json!({"\u{e9}": ["\u{1f600}", "\u{20ac}", "a\"\\/\u{8}\n\r\t\u{7f}\u{0}"], "n": [1, -2, 1.5, 1e300, true, false, null]});
    let text = to_ascii(&value);
    assert!(text.starts_with(r#"{"\u00e9":["\ud83d\ude00","\u20ac","a\"\\/\u0008\n\r\t\u007f\u0000"],"n":[1,-2,1.5,"#), "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    assert_eq!(to_ascii(&Value::from(f64::NAN)), "null");
}

#[test]
fn an_ascii_text_is_shared_and_any_other_is_escaped() {
    let plain = frame(r#"{"a": "\u00e9"}"#);
    assert_eq!(asciify_bytes(&plain).as_ptr(), plain.as_ptr());
    assert!(matches!(asciify(&plain), std::borrow::Cow::Borrowed(_)));
    assert_eq!(asciify(&frame("0x22c3a922")), r#""\u00e9""#);
    assert_eq!(asciify_bytes(&frame("0x22e922")), r#""\u00e9""#);
    assert_eq!(asciify("\"\u{1f600}\"".as_bytes()), r#""\ud83d\ude00""#);
}

#[test]
fn what_is_not_json_does_not_become_it_by_escaping() {
    for text in [&b"\"\\\xff\""[..], "\"\\\u{e9}\"".as_bytes(), b"{\"bus\": \"\\\xe9\"}", b"[\xe9]"] {
        assert!(parse_lenient(text).is_err());
        assert!(parse_lenient(asciify(text).as_bytes()).is_err(), "{}", asciify(text));
    }
    assert_eq!(asciify(b"\"\\\\\xe9\""), r#""\\\u00e9""#);
    assert_eq!(asciify(b"\"\\n\xe9\""), r#""\n\u00e9""#);
}

#[test]
fn members_of_latin_1_are_read_like_the_whole() {
    // The name alone would be UTF-8, the whole is not.
    let text = b"{\"\xc3\xa9\": \"\xff\"}";
    assert_eq!(parse_lenient(text).unwrap(), json!({"\u{c3}\u{a9}": "\u{ff}"}));
    assert_eq!(members(&asciify(text)).unwrap()[0].0, "\u{c3}\u{a9}");
    assert_eq!(members("{\"\u{e9}\": \"\u{20ac}\"}").unwrap(), [("\u{e9}".into(), "\"\u{20ac}\"")]);
}

#[test]
fn numbers_are_told_from_texts() {
    for id in ["1", "1795478028.8787919824695", "-0.5e+10", "NaN", "-Infinity", "1e999"] {
        assert!(is_number(id.as_bytes()), "{id}");
    }
    for id in ["", "1795478371.94.8741201027861", " 1", "1 ", "1a", "0x1", "srv.17", "true", "null", "\"1\"", "[1]", "01", "-"] {
        assert!(!is_number(id.as_bytes()), "{id}");
    }
}
