//! The registry of driver type `modbus`. Columns: Reference Point Name, Volttron Point Name, Units, Units Details, Modbus Register,
//! Writable, Point Address, Default Value, Notes, Mixed Endian, and ours: Transform (as in `modbus_tk`).
//! Source: VOLTTRON `interfaces/modbus.py`, `parse_config`.

use std::sync::Arc;

use serde_json::Value;

use super::format::{Format, Raw};
use super::register::{Content, Register, Table};
use super::transform::Transform;
use super::{Parsed, ParsedPoint};
use crate::interface::Point;
use crate::registry::{POINT_NAME, Registry, RegistryError, Row};

const REGISTER: &str = "Modbus Register";
const ADDRESS: &str = "Point Address";
const DEFAULT: &str = "Default Value";
const COLUMNS: &[&str] = &[
    "Reference Point Name",
    POINT_NAME,
    "Units",
    "Units Details",
    REGISTER,
    "Writable",
    ADDRESS,
    DEFAULT,
    "Notes",
    "Mixed Endian",
    "Transform",
];
const REQUIRED: &[&str] = &[POINT_NAME, "Units", REGISTER, "Writable", ADDRESS];

/// Reads the rows.
///
/// # Errors
/// [`RegistryError`] naming row and column.
pub fn parse(registry: &Registry) -> Result<Parsed, RegistryError> {
    let mut parsed = Parsed { points: Vec::new(), warnings: registry.warnings().to_vec() };
    parsed.warnings.extend(registry.check_columns(COLUMNS, REQUIRED)?);
    for (index, row) in registry.rows().iter().enumerate() {
        let name = row.text(POINT_NAME);
        if name.is_empty() {
            parsed.warnings.push(format!("{}, column {POINT_NAME}: empty, the row is not used", row.place()));
            continue;
        }
        let writable = super::super::writable(row, &mut parsed.warnings);
        let register = register(row, writable)?;
        let default = default(row, &register, &mut parsed.warnings).filter(|_| writable);
        let value_type = register.value_type();
        let point = Point { name: Arc::from(&*name), units: Arc::from(&*row.text("Units")), value_type, writable, row: index };
        let reference = row.text("Reference Point Name");
        let register_name = if reference.is_empty() { name } else { reference }.replace(' ', "_");
        parsed.points.push(ParsedPoint { point, register, register_name, default });
    }
    Ok(parsed)
}

fn register(row: &Row, writable: bool) -> Result<Register, RegistryError> {
    let kind = row.text(REGISTER);
    let table = match (kind.eq_ignore_ascii_case("bool"), writable) {
        (true, true) => Table::Coils,
        (true, false) => Table::DiscreteInputs,
        (false, true) => Table::HoldingRegisters,
        (false, false) => Table::InputRegisters,
    };
    let content = if table.is_bits() {
        if !row.text("Transform").is_empty() {
            return Err(row.error("Transform", "a bit cannot be transformed"));
        }
        Content::Bit
    } else {
        let format = Format::parse(&kind).map_err(|reason| row.error(REGISTER, reason))?;
        words(row, format)?
    };
    let register = Register { table, address: 0, content };
    let address = address(row, ADDRESS, &register, Some)?;
    Ok(Register { address, ..register })
}

/// The content of a register table, with the columns that both registries share.
///
/// # Errors
/// [`RegistryError`] about `Transform` or `Mixed Endian`.
pub fn words(row: &Row, format: Format) -> Result<Content, RegistryError> {
    let transform = Transform::parse(&row.text("Transform")).map_err(|reason| row.error("Transform", reason))?;
    if transform.is_some() && !matches!(format.value_type(), crate::ValueType::Integer | crate::ValueType::Float) {
        return Err(row.error("Transform", "only numbers can be transformed"));
    }
    let mixed_endian = row.text("Mixed Endian").eq_ignore_ascii_case("true");
    Ok(Content::Words { format, mixed_endian, transform, other: None })
}

/// The address in `column`, decimal or with 0x, after `shift`.
///
/// # Errors
/// [`RegistryError`] when it is no address or the register would reach beyond the last one.
pub fn address(row: &Row, column: &str, register: &Register, shift: impl Fn(u32) -> Option<u32>) -> Result<u16, RegistryError> {
    let text = row.text(column).to_ascii_lowercase();
    let number = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let Some(number) = number else {
        return Err(row.error(column, format!("{text:?} is no address; a whole number from 0 to 65535 is expected")));
    };
    let shifted = shift(number).and_then(|number| u16::try_from(number).ok());
    match shifted {
        Some(address) if u32::from(address) + u32::from(register.count()) <= 65_536 => Ok(address),
        _ => Err(row.error(column, format!("{number} is out of range for {} of this length", register.table.words()))),
    }
}

/// The revert target in `Default Value`; one that does not fit is a warning and does not count.
pub fn default(row: &Row, register: &Register, warnings: &mut Vec<String>) -> Option<Value> {
    let text = row.text(DEFAULT);
    if text.is_empty() {
        return None;
    }
    let value: Value = match &register.content {
        Content::Bit => match text.parse::<i64>() {
            Ok(number) => (number != 0).into(),
            Err(_) => (text.to_ascii_lowercase().starts_with('t') || text.eq_ignore_ascii_case("on")).into(),
        },
        Content::Words { .. } => text_value(&text, register),
    };
    // A scale that other registers give is known only when the device is read; it cannot be checked here.
    if register.encode(&value, Some(1.0)).is_none() {
        warnings.push(format!("{}, column {DEFAULT}: {text:?} is not {}; it is not used", row.place(), register.expected()));
        return None;
    }
    Some(value)
}

fn text_value(text: &str, register: &Register) -> Value {
    let number = || {
        let whole = text.parse::<i64>().ok().and_then(|number| Raw::Integer(number.into()).to_json());
        whole.or_else(|| text.parse::<f64>().ok().and_then(|number| Raw::Float(number).to_json()))
    };
    match register.value_type() {
        crate::ValueType::String => text.into(),
        _ => number().unwrap_or_else(|| text.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../../../../tests/golden/registry/modbus.csv");
    const HEADER: &str =
        "Reference Point Name,Volttron Point Name,Units,Modbus Register,Writable,Point Address,Default Value,Mixed Endian,Transform\n";

    fn parse_csv(rows: &str) -> Result<Parsed, RegistryError> {
        parse(&Registry::from_csv(format!("{HEADER}{rows}").as_bytes())?)
    }

    #[test]
    fn the_golden_registry() {
        let parsed = parse(&Registry::from_csv(GOLDEN).unwrap()).unwrap();
        assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
        let tables: Vec<(&str, Table, u16, u16)> =
            parsed.points.iter().map(|p| (&*p.point.name, p.register.table, p.register.address, p.register.count())).collect();
        assert_eq!(
            tables,
            [
                ("ReturnAirCO2", Table::InputRegisters, 1001, 2),
                ("ReturnAirCO2Stpt", Table::HoldingRegisters, 1011, 2),
                ("CoolSupplyFanSpeed1", Table::InputRegisters, 1005, 2),
                ("OutsideAirTemperature", Table::InputRegisters, 1007, 1),
                ("MinDamperPosition", Table::HoldingRegisters, 1013, 1),
                ("EnergyTotal", Table::InputRegisters, 1008, 4),
                ("CoolCall1", Table::DiscreteInputs, 1113, 1),
                ("OccupancyOverride", Table::Coils, 1114, 1),
                ("Model", Table::InputRegisters, 1020, 8),
            ]
        );
        let defaults: Vec<_> = parsed.points.iter().filter_map(|p| p.default.clone()).collect();
        assert_eq!(defaults, [json!(1000), json!(20), json!(false)]);
    }

    #[test]
    fn errors_name_row_and_column() {
        for (row, text) in [
            ("a,A,x,>HH,FALSE,1,,,\n", "line 2, column Modbus Register: the format \">HH\" holds several values; use one row per value"),
            ("a,A,x,>H,FALSE,abc,,,\n", "line 2, column Point Address: \"abc\" is no address; a whole number from 0 to 65535 is expected"),
            ("a,A,x,>H,FALSE,,,,\n", "line 2, column Point Address: \"\" is no address; a whole number from 0 to 65535 is expected"),
            ("a,A,x,>I,FALSE,65535,,,\n", "line 2, column Point Address: 65535 is out of range for input registers of this length"),
            ("a,A,x,>H,FALSE,-1,,,\n", "line 2, column Point Address: \"-1\" is no address; a whole number from 0 to 65535 is expected"),
            ("a,A,x,BOOL,FALSE,1,,,scale(2)\n", "line 2, column Transform: a bit cannot be transformed"),
            ("a,A,x,>4s,FALSE,1,,,scale(2)\n", "line 2, column Transform: only numbers can be transformed"),
            ("a,A,x,>H,FALSE,1,,,grow(2)\n", "line 2, column Transform: the transform \"grow\" is unknown"),
        ] {
            assert_eq!(parse_csv(row).unwrap_err().to_string(), text);
        }
        let missing = parse(&Registry::from_csv(b"Volttron Point Name,Units,Writable,Point Address\nA,x,TRUE,1\n").unwrap());
        assert_eq!(missing.unwrap_err(), RegistryError::MissingColumn("Modbus Register"));
    }

    #[test]
    fn a_default_that_does_not_fit_is_shown_and_not_used() {
        let parsed =
            parse_csv("a,A,x,>H,TRUE,1,70000,,\nb,B,x,bool,TRUE,1,On,,\nc,C,x,>f,TRUE,2,1.5,,\nd,D,x,>h,TRUE,4,2.5,,scale(0.1)\n").unwrap();
        assert_eq!(parsed.warnings, ["line 2, column Default Value: \"70000\" is not an integer from 0 to 65535; it is not used"]);
        let defaults: Vec<_> = parsed.points.into_iter().map(|p| p.default).collect();
        assert_eq!(defaults, [None, Some(json!(true)), Some(json!(1.5)), Some(json!(2.5))]);
    }
}
