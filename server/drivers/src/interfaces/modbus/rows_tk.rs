//! The registry of driver type `modbus_tk`: a register map (Register Name, Address, Type, Units, Writable, Default Value, Transform,
//! Table, Mixed Endian, Description) that stands in `driver_config.register_map`, with the registry choosing registers by name
//! (Volttron Point Name, Register Name); without a map the registry is the map. Types: bool char int16 uint16 int32 uint32 int64
//! uint64 float string[n] array(type, n) and struct formats.
//! Source: VOLTTRON `interfaces/modbus_tk/{__init__,maps/__init__}.py`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::config::{field, find};
use super::format::{Format, REGISTERS_MAX};
use super::register::{Content, Register, Table};
use super::rows::{address, default, words};
use super::{Parsed, ParsedPoint};
use crate::error::ConfigError;
use crate::interface::Point;
use crate::registry::{POINT_NAME, Registry, RegistryError, Row};

const NAME: &str = "Register Name";
const COLUMNS: &[&str] = &[
    POINT_NAME,
    NAME,
    "Address",
    "Type",
    "Units",
    "Writable",
    "Default Value",
    "Transform",
    "Table",
    "Mixed Endian",
    "Mixed",
    "Description",
    "Notes",
];

/// How addresses are written.
#[derive(Clone, Copy)]
enum Addressing {
    Offset,
    OffsetPlus,
    Address,
}

/// Reads the rows.
///
/// # Errors
/// [`ConfigError`].
pub fn parse(config: &Map<String, Value>, registry: &Registry) -> Result<Parsed, ConfigError> {
    let text = |key: &str| find(config, key).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let addressing = match text("addressing").as_str() {
        "" | "offset" => Addressing::Offset,
        "offset_plus" => Addressing::OffsetPlus,
        "address" => Addressing::Address,
        _ => return Err(field("addressing", "offset, offset_plus or address is expected")),
    };
    let little = match text("endian").as_str() {
        "" | "big" => false,
        "little" => true,
        _ => return Err(field("endian", "big or little is expected")),
    };
    let map = match find(config, "register_map") {
        None | Some(Value::Null) => Registry::default(),
        Some(map) => Registry::from_json(map).map_err(|error| field("register_map", error.to_string()))?,
    };
    let mapped: HashMap<String, &Row> = map.rows().iter().map(|row| (row.text(NAME).to_lowercase(), row)).collect();
    let mut parsed = Parsed { points: Vec::new(), warnings: registry.warnings().to_vec() };
    parsed.warnings.extend(map.check_columns(COLUMNS, &[NAME]).map_err(|error| field("register_map", error.to_string()))?);
    parsed.warnings.extend(registry.check_columns(COLUMNS, &[POINT_NAME, NAME])?);
    for (index, row) in registry.rows().iter().enumerate() {
        let (name, register_name) = (row.text(POINT_NAME), row.text(NAME));
        if register_name.starts_with('#') {
            continue;
        }
        if name.is_empty() {
            parsed.warnings.push(format!("{}, column {POINT_NAME}: empty, the row is not used", row.place()));
            continue;
        }
        let merged = match mapped.get(&register_name.to_lowercase()) {
            Some(base) => base.overlaid(row),
            None if row.has("Address") => row.clone(),
            None => {
                parsed.warnings.push(format!("{}, column {NAME}: {register_name:?} is not in the register map", row.place()));
                continue;
            }
        };
        let (register, writable) = register(&merged, addressing, little)?;
        let default = default(&merged, &register, &mut parsed.warnings).filter(|_| writable);
        let value_type = register.value_type();
        let point = Point { name: Arc::from(&*name), units: Arc::from(&*merged.text("Units")), value_type, writable, row: index };
        parsed.points.push(ParsedPoint { point, register, register_name: register_name.into_owned(), default });
    }
    Ok(parsed)
}

fn register(row: &Row, addressing: Addressing, little: bool) -> Result<(Register, bool), RegistryError> {
    let marked = truth(row, "Writable")?;
    let kind = row.text("Type");
    let is_bool = kind.eq_ignore_ascii_case("bool");
    let table = match (row.text("Table").to_ascii_lowercase().as_str(), is_bool, marked) {
        ("discrete_output_coils", ..) | ("", true, true) => Table::Coils,
        ("discrete_input_contacts", ..) | ("", true, false) => Table::DiscreteInputs,
        ("analog_input_registers", ..) | ("", false, false) => Table::InputRegisters,
        ("analog_output_holding_registers", ..) | ("", false, true) => Table::HoldingRegisters,
        (other, ..) => return Err(row.error("Table", format!("the table {other:?} is unknown"))),
    };
    let content = if table.is_bits() {
        Content::Bit
    } else {
        let format = format(&kind, little).map_err(|reason| row.error("Type", reason))?;
        match words(row, format)? {
            Content::Words { format, mixed_endian, transform, other } => {
                let mixed_endian = mixed_endian || truth(row, "Mixed Endian")? || truth(row, "Mixed")?;
                Content::Words { format, mixed_endian, transform, other }
            }
            Content::Bit => Content::Bit,
        }
    };
    let register = Register { table, address: 0, content };
    let base = match table {
        Table::Coils => 1,
        Table::DiscreteInputs => 10_001,
        Table::InputRegisters => 30_001,
        Table::HoldingRegisters => 40_001,
    };
    let address = address(row, "Address", &register, |address| match addressing {
        Addressing::Offset => Some(address),
        Addressing::OffsetPlus => address.checked_sub(1),
        Addressing::Address => address.checked_sub(base),
    })?;
    let writable = marked && matches!(table, Table::Coils | Table::HoldingRegisters);
    Ok((Register { address, ..register }, writable))
}

fn format(kind: &str, little: bool) -> Result<Format, String> {
    let lower = kind.to_ascii_lowercase();
    let order = if little { '<' } else { '>' };
    let length = |text: &str| match text.trim().parse::<usize>() {
        Ok(length @ 1..=200) => Ok(length),
        _ => Err(format!("{kind:?}: a length from 1 to {} is expected", REGISTERS_MAX * 2)),
    };
    if let Some(text) = lower.strip_prefix("string[").and_then(|rest| rest.strip_suffix(']')) {
        return Format::parse(&format!(">{}s", length(text)?));
    }
    if let Some((item, text)) = lower.strip_prefix("array(").and_then(|rest| rest.strip_suffix(')')).and_then(|rest| rest.split_once(',')) {
        return match item.trim() {
            "int16" => Format::array(true, little, length(text)?),
            "uint16" => Format::array(false, little, length(text)?),
            _ => Err(format!("{kind:?}: only int16 and uint16 can form an array")),
        };
    }
    let code = match lower.as_str() {
        "bool" => '?',
        "char" => 'c',
        "int16" => 'h',
        "uint16" => 'H',
        "int32" => 'i',
        "uint32" => 'I',
        "int64" => 'q',
        "uint64" => 'Q',
        "float" => 'f',
        _ => return Format::parse(kind),
    };
    Format::parse(&format!("{order}{code}"))
}

fn truth(row: &Row, column: &str) -> Result<bool, RegistryError> {
    let text = row.text(column);
    match text.to_ascii_lowercase().as_str() {
        "t" | "y" | "true" | "yes" | "1" => Ok(true),
        "f" | "n" | "false" | "no" | "0" | "" => Ok(false),
        _ => Err(row.error(column, format!("{text:?} is neither TRUE nor FALSE"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse_json(config: &Value, registry: &Value) -> Result<Parsed, ConfigError> {
        parse(config.as_object().unwrap(), &Registry::from_json(registry).unwrap())
    }

    #[test]
    fn a_map_with_a_selection() {
        let map = json!([
            {"Register Name": "temp", "Address": "40001", "Type": "int16", "Units": "C", "Writable": "TRUE", "Transform": "scale(0.1)"},
            {"Register Name": "door", "Address": "0x2711", "Type": "bool", "Units": "", "Writable": "no"},
            {"Register Name": "unused", "Address": "1", "Type": "float"},
        ]);
        let registry = json!([
            {"Volttron Point Name": "Temperature", "Register Name": "TEMP"},
            {"Volttron Point Name": "Door", "Register Name": "door"},
            {"Volttron Point Name": "Gone", "Register Name": "gone"},
        ]);
        let parsed = parse_json(&json!({"addressing": "address", "register_map": map}), &registry).unwrap();
        let points: Vec<_> =
            parsed.points.iter().map(|p| (&*p.point.name, p.register.table, p.register.address, p.point.writable)).collect();
        assert_eq!(points, [("Temperature", Table::HoldingRegisters, 0, true), ("Door", Table::DiscreteInputs, 0, false)]);
        assert_eq!(parsed.warnings, ["row 3, column Register Name: \"gone\" is not in the register map"]);
    }

    #[test]
    fn types_and_byte_order() {
        for (kind, registers) in
            [("int16", 1), ("UINT32", 2), ("uint64", 4), ("float", 2), ("string[5]", 3), ("array(int16, 4)", 4), (">d", 4), ("char", 1)]
        {
            assert_eq!(format(kind, false).unwrap().registers(), registers, "{kind}");
        }
        assert!(format("array(float, 4)", false).is_err());
        assert!(format("string[0]", false).is_err());
        assert!(format("decimal", false).is_err());
        assert_ne!(format("int16", true), format("int16", false));
    }

    #[test]
    fn errors_name_the_place() {
        let row = |address: &str, writable: &str| json!([{"Volttron Point Name": "A", "Register Name": "a", "Address": address, "Type": "int16", "Writable": writable}]);
        let error = parse_json(&json!({"addressing": "offset_plus"}), &row("0", "TRUE")).unwrap_err();
        assert_eq!(error.to_string(), "registry_config, row 1, column Address: 0 is out of range for holding registers of this length");
        let error = parse_json(&json!({}), &row("0", "perhaps")).unwrap_err();
        assert_eq!(error.to_string(), "registry_config, row 1, column Writable: \"perhaps\" is neither TRUE nor FALSE");
        assert!(parse_json(&json!({"endian": "middle"}), &row("0", "")).unwrap_err().to_string().contains("field endian"));
        assert!(parse_json(&json!({"register_map": 5}), &row("0", "")).unwrap_err().to_string().contains("field register_map"));
    }
}
