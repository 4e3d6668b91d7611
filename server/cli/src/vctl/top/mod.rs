//! `vctl top`: what happens on the platform now, looked at again and again. On a terminal one screen that is drawn over itself; else
//! blocks of text, or with `--json` one object per look.
//!
//! Map: `sample` (two looks make rates), `usage` (what the system says of processes and threads), `view` (lines of text), `screen`.

mod sample;
mod screen;
mod usage;
mod view;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::json;
use vt_api::local::overview::OverviewAnswer;

use super::failure::{Failure, Outcome};
use super::global::Context;
use crate::client::ClientError;
use crate::output::line;
use sample::{Look, Sample};
use screen::{Pressed, Screen};

/// How long one look may take before the screen says that nobody answers.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// How to look.
#[derive(Debug, Args)]
pub struct Top {
    /// Look once and end
    #[arg(long)]
    once: bool,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// What rows are sorted by
    #[arg(long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
}

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Identity
    Name,
    /// Messages sent per second
    Messages,
    /// Processor time
    Cpu,
    /// Messages that wait
    Queue,
    /// Messages lost
    Lost,
}

pub fn run(context: &Context, top: &Top) -> Outcome {
    if top.once {
        // Rates need two looks.
        let sample = look_twice(context, top)?;
        return if context.json { Context::print_json(&json!(sample)) } else { show(context, &sample) };
    }
    if context.json || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return follow(context, top);
    }
    watch(context, top)
}

fn look_twice(context: &Context, top: &Top) -> Result<Sample, Failure> {
    let before = look(context, context.client.timeout())?;
    wait(context, top.interval)?;
    Ok(Sample::between(&before, &look(context, context.client.timeout())?, top.sort))
}

fn follow(context: &Context, top: &Top) -> Outcome {
    let mut before = look(context, context.client.timeout())?;
    loop {
        wait(context, top.interval)?;
        let now = look(context, context.client.timeout())?;
        show(context, &Sample::between(&before, &now, top.sort))?;
        before = now;
    }
}

fn show(context: &Context, sample: &Sample) -> Outcome {
    if context.json {
        // Looks that follow each other stand on a line each.
        line(&json!(sample).to_string());
    } else {
        view::lines(sample).iter().for_each(|text| line(text));
        line("");
    }
    Ok(())
}

/// Draws until somebody presses q. A platform that ends or hangs meanwhile is told on the screen, and looked for again.
fn watch(context: &Context, top: &Top) -> Outcome {
    let mut before = look(context, context.client.timeout())?;
    let mut screen = Screen::open().map_err(|error| Failure::new(1, format!("the terminal cannot be used: {error}")))?;
    let failed = |error: std::io::Error| Failure::new(1, format!("the terminal cannot be used: {error}"));
    let mut lines = view::lines(&Sample::between(&before, &before, top.sort));
    loop {
        screen.draw(&lines).map_err(failed)?;
        let next = Instant::now() + top.interval;
        while let Some(pressed) = screen.pressed(next).map_err(failed)? {
            match pressed {
                Pressed::Quit => return Ok(()),
                Pressed::Resized => screen.draw(&lines).map_err(failed)?,
            }
        }
        lines = match look(context, LOOK_LIMIT) {
            Ok(now) => {
                let lines = view::lines(&Sample::between(&before, &now, top.sort));
                before = now;
                lines
            }
            Err(error) => view::without_answer(&error.to_string()),
        };
    }
}

fn look(context: &Context, limit: Duration) -> Result<Look, ClientError> {
    let answer: OverviewAnswer = context.client.request_within(limit, Method::GET, "/overview", &())?;
    Ok(Look::new(answer))
}

fn wait(context: &Context, time: Duration) -> Result<(), Failure> {
    Ok(context.client.wait_or_interrupt(time)?)
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give a number of seconds from 0.1 to 3600".to_owned())
}
