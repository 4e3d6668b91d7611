//! §2.5 rule 4: topics are bytes, prefixes are texts.

use vt_types::{Topic, TopicPrefix};
use vt_vip::{json, text};

use crate::frame;

#[test]
fn a_topic_of_version_9_is_latin_1_and_matches_its_prefix_in_json() {
    let topic = text::topic(&frame("0x6465766963652f63616665cc")).unwrap();
    assert_eq!(topic.as_str(), "device/cafe\u{cc}");
    let topic = text::topic(&frame("0x636166e9")).unwrap();
    let prefix = json::parse_lenient(br#""caf\u00e9""#).unwrap();
    assert!(TopicPrefix::parse(prefix.as_str().unwrap()).unwrap().matches(&topic));
}

#[test]
fn a_topic_of_version_6_is_utf_8() {
    assert_eq!(text::topic(&frame("0x636166c3a9")).unwrap().as_str(), "caf\u{e9}");
    assert_eq!(text::prefix(&frame("0x636166c3a9")).unwrap().as_str(), "caf\u{e9}");
}

#[test]
fn topics_are_written_so_that_version_9_reads_them() {
    let written = |text: &str| text::topic_frame(&Topic::parse(text).unwrap());
    assert_eq!(written("devices/a"), frame("devices/a"));
    assert_eq!(written("caf\u{e9}"), frame("0x636166e9"));
    assert_eq!(written("10 \u{20ac}"), frame("0x313020e282ac"));
}

#[test]
fn a_text_whose_latin_1_reads_as_another_text_is_written_in_utf_8() {
    let written = text::encode("\u{c3}\u{a9}");
    assert_eq!(written, frame("0xc383c2a9"));
    assert_eq!(text::decode(&written), "\u{c3}\u{a9}");
}

#[test]
fn hostile_topics_are_refused() {
    for topic in ["", "a\nb", "0x61e280ae62", "0x610062"] {
        assert!(text::topic(&frame(topic)).is_err(), "{topic}");
    }
    assert!(text::topic(&vec![b'a'; 2_000]).is_err());
}
