//! A series for a chart: stretches of time, each with the minimum, maximum and mean of its values.

use serde_json::Value;
use vt_types::timestamp::{self, Timestamp};

use super::Series;

/// Columns of equal length, oldest first; a stretch without numbers has no values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChartSeries {
    /// As it was asked for.
    pub topic: String,
    /// Its units; empty when unknown.
    pub units: String,
    /// Milliseconds since 1970, UTC: the first value of each stretch.
    pub times_ms: Vec<i64>,
    /// Smallest value of each stretch.
    pub min: Vec<Option<f64>>,
    /// Largest value of each stretch.
    pub max: Vec<Option<f64>>,
    /// Mean of the values of each stretch.
    pub mean: Vec<Option<f64>>,
}

impl ChartSeries {
    /// Reads a historian's answer `{"times_ms": [..], "min": [..], "max": [..], "mean": [..], "metadata": {..}}`; `None` if it is shaped
    /// otherwise.
    pub(super) fn from_answer(topic: &str, answer: &Value) -> Option<Self> {
        let column = |name: &str| -> Option<Vec<Option<f64>>> { Some(answer.get(name)?.as_array()?.iter().map(Value::as_f64).collect()) };
        let times_ms: Vec<i64> = answer.get("times_ms")?.as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?;
        let (min, max, mean) = (column("min")?, column("max")?, column("mean")?);
        let equal = [min.len(), max.len(), mean.len()].iter().all(|length| *length == times_ms.len());
        let units = answer.pointer("/metadata/units").and_then(Value::as_str).unwrap_or_default().to_owned();
        equal.then(|| Self { topic: topic.to_owned(), units, times_ms, min, max, mean })
    }

    /// Folds values (in either order) into stretches of equal length between `start` and `end`. Booleans count as 1 and 0, texts and null
    /// as no value.
    pub(super) fn fold(topic: &str, series: &Series, start: Timestamp, end: Timestamp, max_points: usize) -> Self {
        let mut values: Vec<(i64, Option<f64>)> = series
            .values
            .iter()
            .filter_map(|(at, value)| Some((timestamp::parse(at).ok()?.assume_utc().timestamp_millis(), number(value))))
            .collect();
        values.sort_by_key(|(at, _)| *at);
        let from = start.timestamp_millis();
        let span = (end.timestamp_millis() - from).max(1);
        let buckets = i64::try_from(max_points).unwrap_or(i64::MAX).max(1);
        let bucket_of = |at: i64| i128::from(at - from) * i128::from(buckets) / i128::from(span);
        let fits = values.len() <= max_points;
        let units = series.metadata.get("units").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut folded = Self { topic: topic.to_owned(), units, ..Self::default() };
        for stretch in values.chunk_by(|(one, _), (other, _)| !fits && bucket_of(*one) == bucket_of(*other)) {
            let numbers: Vec<f64> = stretch.iter().filter_map(|(_, value)| *value).collect();
            folded.times_ms.push(stretch[0].0);
            folded.min.push(numbers.iter().copied().reduce(f64::min));
            folded.max.push(numbers.iter().copied().reduce(f64::max));
            let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            folded.mean.push((count > 0).then(|| numbers.iter().sum::<f64>() / f64::from(count)));
        }
        folded
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(f64::from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        timestamp::parse(text).unwrap().assume_utc()
    }

    #[test]
    fn stretches_keep_extremes_and_mean() {
        let values = (0..60).map(|minute| (format!("2026-01-01T00:{minute:02}:00+00:00"), json!(f64::from(minute)))).rev().collect();
        let series = Series { values, ..Series::default() };
        let folded = ChartSeries::fold("t", &series, at("2026-01-01T00:00:00Z"), at("2026-01-01T01:00:00Z"), 6);
        assert_eq!(folded.times_ms.len(), 6);
        assert_eq!(folded.min[1], Some(10.0));
        assert_eq!(folded.max[1], Some(19.0));
        assert_eq!(folded.mean[1], Some(14.5));
    }

    #[test]
    fn few_values_stay_as_they_are_and_text_is_a_gap() {
        let series = Series {
            values: vec![("2026-01-01T00:00:00Z".into(), json!(true)), ("2026-01-01T00:00:01Z".into(), json!("off"))],
            ..Series::default()
        };
        let folded = ChartSeries::fold("t", &series, at("2026-01-01"), at("2026-01-02"), 100);
        assert_eq!(folded.mean, [Some(1.0), None]);
    }

    #[test]
    fn answers_of_another_shape_are_not_taken() {
        assert_eq!(ChartSeries::from_answer("t", &json!({"values": []})), None);
        let uneven = json!({"times_ms": [1], "min": [], "max": [1], "mean": [1]});
        assert_eq!(ChartSeries::from_answer("t", &uneven), None);
        let good = json!({"times_ms": [1], "min": [null], "max": [1.5], "mean": [1], "metadata": {"units": "F"}});
        assert_eq!(ChartSeries::from_answer("t", &good).unwrap().units, "F");
    }
}
