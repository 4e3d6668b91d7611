//! `vctl publish` and `vctl subscribe`. Source: volttron-core 2.0 `volttron/client/commands` for what is printed.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use clap::Args;
use hyper::Method;
use serde_json::{Map, Value, json};
use vt_api::local::pubsub::{Heard, HeardPublication, PublishAnswer, PublishRequest};

use super::failure::{Failure, Outcome};
use super::global::Context;
use crate::output::{complain, line, printable};
use crate::python;

/// What to publish.
#[derive(Debug, Args)]
pub struct Publish {
    /// Where
    topic: String,
    /// JSON, or any text
    data: String,
    /// A header
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
}

/// What to listen to.
#[derive(Debug, Args)]
pub struct Subscribe {
    /// Start of topics; without, everything
    #[arg(default_value = "")]
    topic: String,
    /// Accepted for VOLTTRON's scripts: what other platforms send here is heard in any case
    #[arg(long, hide = true)]
    all_platforms: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECS", value_parser = duration)]
    duration: Option<Duration>,
}

pub fn publish(context: &Context, publish: Publish) -> Outcome {
    let message = serde_json::from_str(&publish.data).unwrap_or(Value::String(publish.data));
    let headers = publish.headers.into_iter().map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>();
    let request = PublishRequest { topic: publish.topic, headers, message };
    let answer: PublishAnswer = context.client.request(Method::POST, "/publish", &request)?;
    if context.json { Context::print_json(&json!({"subscribers": answer.subscribers})) } else { Ok(()) }
}

pub fn subscribe(context: &Context, subscribe: &Subscribe) -> Outcome {
    let path = format!("/subscribe?prefix={}", encoded(&subscribe.topic));
    let until = subscribe.duration.map(|duration| Instant::now() + duration);
    let mut left = subscribe.count;
    let mut wrong = None;
    let followed = context.client.follow(&path, until, |value| {
        match serde_json::from_value(value) {
            Ok(Heard::Publication(publication)) => {
                show(context, &publication);
                left = left.map(|left| left - 1);
            }
            Ok(Heard::Lost(count)) => {
                complain(&format!("subscribe: {count} messages were lost so far, because they came faster than they are printed"));
            }
            Err(error) => wrong = Some(Failure::new(1, format!("the platform sent what is no message: {error}"))),
        }
        if left == Some(0) || wrong.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    wrong.map_or(followed.map_err(Failure::from), Err)
}

fn show(context: &Context, heard: &HeardPublication) {
    if context.json {
        // One per line, for whoever reads along.
        let value =
            json!({"sender": heard.sender, "bus": heard.bus, "topic": heard.topic, "headers": heard.headers, "message": heard.message});
        return line(&value.to_string());
    }
    line(&"*".repeat(80));
    line("Received:");
    line(&format!("\tpeer: {}", heard.sender));
    line(&format!("\tsender: {}", heard.sender));
    line(&format!("\ttopic: {}", printable(&heard.topic)));
    line(&format!("\theaders: {}", python::repr(&heard.headers)));
    line(&format!("\tmessage: {}", python::repr(&heard.message)));
}

/// For a query: everything but the plainest characters as `%XX`.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 31_536_000.0);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give a number of seconds above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_travel_in_a_query() {
        assert_eq!(encoded("devices/a b&c=é"), "devices%2Fa%20b%26c%3D%C3%A9");
    }
}
