//! Counters of requests and the text format of Prometheus. Labels come from a closed set, so the number of series is bounded.
//! Source: Prometheus text exposition format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use parking_lot::Mutex;

/// Upper bounds of the latency histogram, seconds.
const BUCKETS_S: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Requests counted since the start.
#[derive(Default)]
pub struct HttpStatistics {
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    requests: BTreeMap<(&'static str, &'static str, u16), u64>,
    durations: BTreeMap<&'static str, Histogram>,
}

#[derive(Default)]
struct Histogram {
    counts: [u64; BUCKETS_S.len()],
    count: u64,
    sum_s: f64,
}

impl HttpStatistics {
    /// Counts one request.
    pub fn count(&self, route: &'static str, method: &str, status: u16, elapsed: Duration) {
        const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
        let method = METHODS.iter().find(|known| **known == method).copied().unwrap_or("OTHER");
        let elapsed_s = elapsed.as_secs_f64();
        let mut counted = self.counted.lock();
        *counted.requests.entry((route, method, status)).or_default() += 1;
        let histogram = counted.durations.entry(route).or_default();
        histogram.count += 1;
        histogram.sum_s += elapsed_s;
        for (count, bound) in histogram.counts.iter_mut().zip(BUCKETS_S) {
            *count += u64::from(elapsed_s <= bound);
        }
    }

    /// Writes the counters.
    pub fn write(&self, text: &mut Exposition) {
        let counted = self.counted.lock();
        text.family("volttron_http_requests_total", "counter", "HTTP requests answered.");
        for ((route, method, status), count) in &counted.requests {
            text.sample("volttron_http_requests_total", &[("route", route), ("method", method), ("status", &status.to_string())], count);
        }
        let name = "volttron_http_request_duration_seconds";
        text.family(name, "histogram", "Time from request to answer.");
        for (route, histogram) in &counted.durations {
            for (count, bound) in histogram.counts.iter().zip(BUCKETS_S) {
                text.sample(&format!("{name}_bucket"), &[("route", route), ("le", &bound.to_string())], count);
            }
            text.sample(&format!("{name}_bucket"), &[("route", route), ("le", "+Inf")], histogram.count);
            text.sample(&format!("{name}_sum"), &[("route", route)], histogram.sum_s);
            text.sample(&format!("{name}_count"), &[("route", route)], histogram.count);
        }
    }
}

/// Text in the making.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// Starts a family of samples.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// One sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.push_str(&format!("{line}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_time() {
        let statistics = HttpStatistics::default();
        statistics.count("/vui", "GET", 200, Duration::from_micros(700));
        statistics.count("/vui", "BREW", 501, Duration::from_secs(9));
        let mut text = Exposition::default();
        statistics.write(&mut text);
        let text = text.finish();
        for line in [
            r#"volttron_http_requests_total{route="/vui",method="GET",status="200"} 1"#,
            r#"volttron_http_requests_total{route="/vui",method="OTHER",status="501"} 1"#,
            r#"volttron_http_request_duration_seconds_bucket{route="/vui",le="0.0005"} 0"#,
            r#"volttron_http_request_duration_seconds_bucket{route="/vui",le="0.001"} 1"#,
            r#"volttron_http_request_duration_seconds_bucket{route="/vui",le="+Inf"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut text = Exposition::default();
        text.sample("x", &[("a", "b\"c\\d\ne")], 1);
        assert_eq!(text.finish(), "x{a=\"b\\\"c\\\\d\\ne\"} 1\n");
    }
}
