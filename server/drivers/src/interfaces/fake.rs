//! A device that exists in memory only: it keeps what is written, and points named `EKG...` follow a curve.
//! Source: VOLTTRON `platform_driver/interfaces/fakedriver.py`.
//!
//! Registry columns: Point Name, Volttron Point Name, Units, Units Details, Writable, Starting Value, Type, Notes.
//!
//! Ours: Curve Offset, Curve Height and Curve Period give an EKG point values that look like those of a real device.
//!
//! Kept from VOLTTRON: metadata type is always `integer`; a boolean's Starting Value is true for any text, `0` included; no column
//! `Starting Value` means the text `sin`, an empty field a random value.
//! Differs from VOLTTRON: `FALSE`, `no` and `off` start and set a boolean as false (there every text is true); reverting an EKG point
//! restores the height of its curve, not a momentary value; a curve without a value at this moment reads as null and an error, where
//! there the whole scrape fails.

use std::f64::consts::PI;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::Timelike;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use vt_types::{Clock, Timestamp};

use crate::catalog::BuildContext;
use crate::error::{ConfigError, DriverError, ReadOnlyClass};
use crate::interface::{Interface, Point, PointError, Points, Scrape, ValueType};
use crate::registry::{POINT_NAME, Registry, RegistryError, Row};
use crate::revert::{Device, Reverting};

const COLUMNS: &[&str] =
    &["Point Name", POINT_NAME, "Units", "Units Details", "Writable", "Starting Value", "Type", "Notes", OFFSET, HEIGHT, PERIOD];
/// Around which value the curve of an EKG point swings; 0 unless given. Ours.
const OFFSET: &str = "Curve Offset";
/// How far it swings; 1 unless given. Ours.
const HEIGHT: &str = "Curve Height";
/// Seconds of one swing; 60 unless given. Ours.
const PERIOD: &str = "Curve Period";
const REQUIRED: &[&str] = &["Point Name", POINT_NAME, "Units", "Writable"];

/// Python type of a point's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
}

impl Kind {
    fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "int" | "integer" => Self::Integer,
            "float" => Self::Float,
            "bool" | "boolean" => Self::Boolean,
            _ => Self::Text,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "an integer",
            Self::Float => "a number",
            Self::Boolean => "true or false",
        }
    }

    /// `type(value)` of Python; `None` where Python raises.
    fn convert(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (_, Value::Null | Value::Array(_) | Value::Object(_)) => None,
            (Self::Text, Value::String(text)) => Some(text.as_str().into()),
            (Self::Text, Value::Bool(flag)) => Some(if *flag { "True" } else { "False" }.into()),
            (Self::Text, Value::Number(number)) => Some(number.to_string().into()),
            (Self::Integer, Value::Bool(flag)) => Some(i64::from(*flag).into()),
            (Self::Integer, Value::Number(number)) if number.is_f64() => number.as_f64().and_then(truncate),
            (Self::Integer, Value::Number(_)) => Some(value.clone()),
            (Self::Integer, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
            (Self::Float, Value::Bool(flag)) => Some(f64::from(u8::from(*flag)).into()),
            (Self::Float, Value::Number(number)) => number.as_f64().map(Value::from),
            (Self::Float, Value::String(text)) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
            (Self::Boolean, Value::Bool(_)) => Some(value.clone()),
            (Self::Boolean, Value::Number(number)) => Some((number.as_f64() != Some(0.0)).into()),
            (Self::Boolean, Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "1" => Some(true.into()),
                "0" => Some(false.into()),
                word => boolean_word(word).map(Value::from),
            },
        }
    }

    /// The first value, from the registry's text.
    fn start(self, text: &str) -> Value {
        match self {
            // VOLTTRON's bool("0") is True, and its sample output shows it.
            Self::Boolean => boolean_word(&text.to_ascii_lowercase()).unwrap_or(true).into(),
            _ => self.convert(&text.into()).unwrap_or_else(|| self.zero()),
        }
    }

    fn random(self) -> Value {
        let number: f64 = rand::random::<f64>() * 100.0;
        match self {
            Self::Text => number.to_string().into(),
            Self::Integer => truncate(number).unwrap_or_default(),
            Self::Float => number.into(),
            Self::Boolean => true.into(),
        }
    }

    fn zero(self) -> Value {
        match self {
            Self::Text => "".into(),
            Self::Integer => 0.into(),
            Self::Float => 0.0.into(),
            Self::Boolean => false.into(),
        }
    }
}

fn boolean_word(lower: &str) -> Option<bool> {
    match lower {
        "true" | "on" | "yes" | "t" | "y" => Some(true),
        "false" | "off" | "no" | "f" | "n" => Some(false),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn truncate(number: f64) -> Option<Value> {
    (number.is_finite() && number.abs() < 9.0e18).then(|| Value::from(number.trunc() as i64))
}

/// The function an EKG point follows, by its Python name.
fn curve(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "cos" => f64::cos,
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// What a point keeps.
#[derive(Debug, Clone)]
struct Cell {
    kind: Kind,
    stored: Value,
    curve: Option<Curve>,
}

/// What an EKG point follows; its height is the cell's stored value.
#[derive(Debug, Clone, Copy)]
struct Curve {
    function: fn(f64) -> f64,
    offset: f64,
    /// `None`: one swing per minute, in steps of a second, as in VOLTTRON.
    period_s: Option<f64>,
}

impl Curve {
    fn angle(&self, now: Timestamp) -> f64 {
        match self.period_s {
            None => PI * f64::from(now.second()) / 30.0,
            Some(period_s) => {
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era are far below 2^53")]
                let seconds = now.timestamp_millis() as f64 / 1000.0;
                2.0 * PI * (seconds % period_s) / period_s
            }
        }
    }
}

impl Cell {
    /// The value at `now`; `None` where the curve has none.
    fn value(&self, now: Timestamp) -> Option<Value> {
        let Some(curve) = &self.curve else { return Some(self.stored.clone()) };
        let height = match &self.stored {
            Value::Bool(flag) => f64::from(u8::from(*flag)),
            stored => stored.as_f64()?,
        };
        let value = curve.offset + height * (curve.function)(curve.angle(now));
        value.is_finite().then(|| value.into())
    }
}

/// The device.
#[derive(Debug)]
struct Fake {
    points: Points,
    warnings: Vec<String>,
    clock: Arc<dyn Clock>,
    cells: Mutex<Vec<Cell>>,
}

/// Builds a fake device; `driver_config` has no keys.
///
/// # Errors
/// [`ConfigError::Registry`].
pub fn build(context: &BuildContext, _config: &Map<String, Value>, registry: &Arc<Registry>) -> Result<Arc<dyn Interface>, ConfigError> {
    let mut warnings = registry.warnings().to_vec();
    warnings.extend(registry.check_columns(COLUMNS, REQUIRED)?);
    let (mut points, mut cells, mut defaults) = (Vec::new(), Vec::new(), Vec::new());
    for (index, row) in registry.rows().iter().enumerate() {
        if let Some((point, cell, default)) = parse(index, row, &mut warnings)? {
            defaults.extend(default.map(|value| (points.len(), value)));
            points.push(point);
            cells.push(cell);
        }
    }
    let points = Points::new(points, Arc::clone(registry));
    let device = Fake { points, warnings, clock: Arc::clone(&context.clock), cells: Mutex::new(cells) };
    Ok(Arc::new(Reverting::new(device, defaults)))
}

/// The point of `row` with its default; `None` for a row without a name, which VOLTTRON skips ("no address yet").
fn parse(index: usize, row: &Row, warnings: &mut Vec<String>) -> Result<Option<(Point, Cell, Option<Value>)>, RegistryError> {
    let (name, device_name) = (row.text(POINT_NAME), row.text("Point Name"));
    if name.is_empty() || device_name.is_empty() {
        let column = if name.is_empty() { POINT_NAME } else { "Point Name" };
        warnings.push(format!("{}, column {column}: empty, the row is not used", row.place()));
        return Ok(None);
    }
    let writable = super::writable(row, warnings);
    let start = if row.has("Starting Value") { row.text("Starting Value") } else { "sin".into() };
    let kind = if row.has("Type") { Kind::parse(&row.text("Type")) } else { Kind::Text };
    let (cell, default) = if name.starts_with("EKG") || device_name.starts_with("EKG") {
        let function = curve(&start).unwrap_or_else(|| {
            warnings.push(format!("{}, column Starting Value: {start:?} is no function, sin is used", row.place()));
            f64::sin
        });
        // A curve of text makes no sense; VOLTTRON fails when such a point is set.
        let kind = if kind == Kind::Text { Kind::Float } else { kind };
        let number = |column: &str, warnings: &mut Vec<String>| number(row, column, warnings);
        let period_s = number(PERIOD, warnings).filter(|period| *period > 0.0);
        let height = number(HEIGHT, warnings).map_or_else(|| 1.into(), Value::from);
        let curve = Curve { function, offset: number(OFFSET, warnings).unwrap_or(0.0), period_s };
        (Cell { kind, stored: height.clone(), curve: Some(curve) }, Some(height))
    } else if start.is_empty() {
        (Cell { kind, stored: kind.random(), curve: None }, None)
    } else {
        let stored = kind.start(&start);
        (Cell { kind, stored: stored.clone(), curve: None }, Some(stored))
    };
    let units = Arc::from(&*row.text("Units"));
    let point = Point { name: Arc::from(&*name), units, value_type: ValueType::Integer, writable, row: index };
    Ok(Some((point, cell, default.filter(|_| writable))))
}

/// The number in one of our columns, if it is there.
fn number(row: &Row, column: &str, warnings: &mut Vec<String>) -> Option<f64> {
    let text = if row.has(column) { row.text(column) } else { return None };
    let found = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    if found.is_none() && !text.trim().is_empty() {
        warnings.push(format!("{}, column {column}: {text:?} is no number and is not used", row.place()));
    }
    found
}

impl Fake {
    fn no_value(&self, index: usize) -> DriverError {
        let point = self.points.as_slice().get(index).map(|point| point.name.to_string()).unwrap_or_default();
        DriverError::NoValue { point, what: "a curve that is not defined at this moment".into() }
    }
}

#[async_trait]
impl Device for Fake {
    fn points(&self) -> &Points {
        &self.points
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn read_only(&self, name: &str) -> DriverError {
        DriverError::ReadOnly { point: name.to_owned(), class: ReadOnlyClass::Runtime }
    }

    async fn read(&self, index: usize) -> Result<Value, DriverError> {
        let now = self.clock.now();
        let value = self.cells.lock().get(index).and_then(|cell| cell.value(now));
        value.ok_or_else(|| self.no_value(index))
    }

    async fn write(&self, index: usize, value: &Value) -> Result<Value, DriverError> {
        let now = self.clock.now();
        let mut cells = self.cells.lock();
        let Some(cell) = cells.get_mut(index) else { return Err(self.no_value(index)) };
        let Some(stored) = cell.kind.convert(value) else {
            let point = self.points.as_slice().get(index).map(|point| point.name.to_string()).unwrap_or_default();
            return Err(super::bad_value(point, cell.kind.expected(), value));
        };
        cell.stored = stored;
        cell.value(now).ok_or_else(|| self.no_value(index))
    }

    async fn read_all(&self) -> Result<Scrape, DriverError> {
        let now = self.clock.now();
        let cells = self.cells.lock();
        let mut scrape = Scrape { values: Vec::with_capacity(cells.len()), errors: Vec::new() };
        for (index, cell) in cells.iter().enumerate() {
            let value = cell.value(now);
            if value.is_none() {
                scrape.errors.push(PointError { index, error: self.no_value(index) });
            }
            scrape.values.push(value.unwrap_or_default());
        }
        Ok(scrape)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Duration, TimeZone, Utc};
    use serde_json::json;
    use vt_types::ManualClock;

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../../../tests/golden/registry/fake.csv");

    fn at_second_zero() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()))
    }

    fn device(csv: &[u8], clock: Arc<ManualClock>) -> Arc<dyn Interface> {
        let registry = Arc::new(Registry::from_csv(csv).unwrap());
        build(&BuildContext::new(clock, 1), &Map::new(), &registry).unwrap()
    }

    fn rows(rows: &str) -> Vec<u8> {
        format!("Point Name,Volttron Point Name,Units,Writable,Starting Value,Type\n{rows}").into_bytes()
    }

    #[tokio::test]
    async fn the_sample_scrapes_as_in_volttron() {
        let device = device(GOLDEN, at_second_zero());
        assert!(device.warnings().is_empty(), "{:?}", device.warnings());
        let scrape = device.scrape_all().await.unwrap();
        assert!(scrape.errors.is_empty());
        let values = Value::Object(scrape.into_map(device.points()));
        assert_eq!(values, json!({"Heartbeat": true, "temperature": 50.0, "PowerState": 0, "ValveState": 0}));
        let meta = device.points().find("temperature").unwrap().metadata("US/Pacific");
        assert_eq!(meta, json!({"units": "Fahrenheit", "type": "integer", "tz": "US/Pacific"}));
        let row = device.points().registry_row(device.points().find("temperature").unwrap()).unwrap();
        assert_eq!(row["Starting Value"], "50");
    }

    #[tokio::test]
    async fn a_curve_may_have_offset_height_and_period() {
        let csv = b"Point Name,Volttron Point Name,Units,Writable,Starting Value,Type,Curve Offset,Curve Height,Curve Period\n\
                    EKG_T,T,C,TRUE,sin,float,20,5,120\nEKG_U,U,C,FALSE,sin,float,x,,-1\n";
        let clock = at_second_zero();
        let device = device(csv, Arc::clone(&clock));
        assert_eq!(device.warnings().len(), 1, "{:?}", device.warnings());
        clock.advance(Duration::seconds(30));
        assert_eq!(device.get_point("T").await.unwrap(), json!(25.0));
        device.set_point("T", &json!(1)).await.unwrap();
        assert_eq!(device.get_point("T").await.unwrap(), json!(21.0), "a write sets the height");
        device.revert_point("T").await.unwrap();
        clock.advance(Duration::seconds(60));
        assert_eq!(device.get_point("T").await.unwrap(), json!(15.0));
    }

    #[tokio::test]
    async fn set_get_and_revert() {
        let device = device(GOLDEN, at_second_zero());
        assert_eq!(device.set_point("PowerState", &json!("1")).await.unwrap(), json!(1));
        assert_eq!(device.get_point("PowerState").await.unwrap(), json!(1));
        device.revert_point("PowerState").await.unwrap();
        assert_eq!(device.get_point("PowerState").await.unwrap(), json!(0));
        device.set_point("ValveState", &json!(1.9)).await.unwrap();
        assert_eq!(device.get_point("ValveState").await.unwrap(), json!(1));
        assert!(device.revert_all().await.is_empty());
        assert_eq!(device.get_point("ValveState").await.unwrap(), json!(0));
    }

    #[tokio::test]
    async fn refusals_have_the_texts_of_volttron() {
        let device = device(GOLDEN, at_second_zero());
        let read_only = device.set_point("temperature", &json!(1)).await.unwrap_err();
        assert_eq!(read_only.to_string(), "Trying to write to a point configured read only: temperature");
        assert_eq!(read_only.exc_type(), "builtins.RuntimeError");
        let unknown = device.get_point("nope").await.unwrap_err();
        assert_eq!(unknown.to_string(), "Point not configured on device: nope");
        for value in [json!("warm"), json!(null), json!([1]), json!({})] {
            let bad = device.set_point("PowerState", &value).await.unwrap_err();
            assert!(matches!(&bad, DriverError::BadValue { point, .. } if point == "PowerState"), "{bad}");
        }
        assert_eq!(device.get_point("PowerState").await.unwrap(), json!(0));
    }

    #[tokio::test]
    async fn curves_follow_the_second_of_the_minute() {
        let clock = at_second_zero();
        let device = device(&rows("EKG_Sin,EKG_Sin,x,TRUE,sin,float\nEKG2,EKG2,x,FALSE,acosh,float\n"), Arc::clone(&clock));
        assert_eq!(device.get_point("EKG_Sin").await.unwrap(), json!(0.0));
        let scrape = device.scrape_all().await.unwrap();
        assert_eq!(scrape.values[1], Value::Null);
        assert_eq!(scrape.errors[0].index, 1);
        clock.advance(Duration::seconds(15));
        assert_eq!(device.get_point("EKG_Sin").await.unwrap(), json!(1.0));
        assert_eq!(device.set_point("EKG_Sin", &json!(3)).await.unwrap(), json!(3.0));
        device.revert_point("EKG_Sin").await.unwrap();
        assert_eq!(device.get_point("EKG_Sin").await.unwrap(), json!(1.0));
    }

    #[tokio::test]
    async fn starting_values() {
        let csv = rows("a,a,x,TRUE,,int\nb,b,x,TRUE,warm,float\nc,c,x,TRUE,FALSE,bool\nd,d,x,TRUE,50.5,string\ne,e,x,true,0,boolean\n");
        let device = device(&csv, at_second_zero());
        let random = device.get_point("a").await.unwrap().as_i64().unwrap();
        assert!((0..100).contains(&random));
        assert_eq!(device.get_point("b").await.unwrap(), json!(0.0));
        assert_eq!(device.get_point("c").await.unwrap(), json!(false));
        assert_eq!(device.get_point("d").await.unwrap(), json!("50.5"));
        assert_eq!(device.get_point("e").await.unwrap(), json!(true));
        // Without a starting value the point reverts to what was read before it was set.
        device.scrape_all().await.unwrap();
        device.set_point("a", &json!(1000)).await.unwrap();
        device.revert_point("a").await.unwrap();
        assert_eq!(device.get_point("a").await.unwrap(), json!(random));
    }

    #[tokio::test]
    async fn rows_without_a_name_are_skipped_and_shown() {
        let device = device(&rows(",a,x,TRUE,1,int\nb,,x,TRUE,1,int\nc,c,x,yes,1,int\n"), at_second_zero());
        assert_eq!(device.points().as_slice().len(), 1);
        assert_eq!(
            device.warnings(),
            [
                "line 2, column Point Name: empty, the row is not used",
                "line 3, column Volttron Point Name: empty, the row is not used",
                "line 4, column Writable: \"yes\" counts as FALSE; write TRUE for a writable point",
            ]
        );
    }
}
