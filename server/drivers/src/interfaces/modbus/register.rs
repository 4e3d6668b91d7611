//! One value of a Modbus device: in which table and where it lies, and how its registers become JSON and back.

use serde_json::Value;

use super::format::{Format, Raw};
use super::transform::Transform;
use crate::interface::ValueType;

/// The four tables of Modbus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Bits that can be written.
    Coils,
    /// Bits that cannot.
    DiscreteInputs,
    /// Registers that cannot be written.
    InputRegisters,
    /// Registers that can.
    HoldingRegisters,
}

impl Table {
    /// In plural, for error texts.
    pub fn words(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::DiscreteInputs => "discrete inputs",
            Self::InputRegisters => "input registers",
            Self::HoldingRegisters => "holding registers",
        }
    }

    /// Whether its elements are bits.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }
}

/// What lies there.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// One bit of a bit table.
    Bit,
    /// A value in one or more registers.
    Words {
        /// How it is packed.
        format: Format,
        /// Whether the order of its registers is reversed.
        mixed_endian: bool,
        /// What turns its number into units.
        transform: Option<Transform>,
        /// Index of the register that [`Transform::other_register`] names.
        other: Option<usize>,
    },
}

/// One value of the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// Which table.
    pub table: Table,
    /// First address, from 0.
    pub address: u16,
    /// What lies there.
    pub content: Content,
}

/// What was read at some addresses.
#[derive(Debug, Clone, Copy)]
pub enum Data<'a> {
    /// Of a bit table.
    Bits(&'a [bool]),
    /// Of a register table.
    Words(&'a [u16]),
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// To a coil.
    Bit(bool),
    /// To holding registers.
    Words(Vec<u16>),
}

impl Register {
    /// How many addresses it takes.
    pub fn count(&self) -> u16 {
        match &self.content {
            Content::Bit => 1,
            // A format has at most 100 registers.
            Content::Words { format, .. } => u16::try_from(format.registers()).unwrap_or(u16::MAX),
        }
    }

    /// The type of its values.
    pub fn value_type(&self) -> ValueType {
        match &self.content {
            Content::Bit => ValueType::Boolean,
            Content::Words { transform: Some(transform), format, .. } if format.value_type() == ValueType::Integer => {
                transform.value_type()
            }
            Content::Words { format, .. } => format.value_type(),
        }
    }

    /// The register whose value its transform needs.
    pub fn other(&self) -> Option<usize> {
        match &self.content {
            Content::Words { other, .. } => *other,
            Content::Bit => None,
        }
    }

    /// What may be written, in words.
    pub fn expected(&self) -> String {
        match &self.content {
            Content::Bit => "true or false".into(),
            Content::Words { transform: Some(_), format, .. } => {
                format!("a number that the transform turns into {}", format.expected())
            }
            Content::Words { format, .. } => format.expected(),
        }
    }

    /// The value in `data`, which starts at this register's address; `None` when it holds none. `other` is the value of [`Self::other`].
    pub fn decode(&self, data: Data<'_>, other: Option<f64>) -> Option<Value> {
        match (&self.content, data) {
            (Content::Bit, Data::Bits(bits)) => bits.first().copied().map(Value::from),
            (Content::Words { format, mixed_endian, transform, .. }, Data::Words(words)) => {
                let words = words.get(..format.registers())?;
                let raw =
                    if *mixed_endian { format.decode(&words.iter().rev().copied().collect::<Vec<_>>())? } else { format.decode(words)? };
                match transform {
                    // VOLTTRON leaves 0 alone; so its type is that of the register.
                    Some(transform) if raw != Raw::Integer(0) || transform.value_type() == ValueType::Float => {
                        transform.apply(&raw, other)?.to_json()
                    }
                    _ => raw.to_json(),
                }
            }
            _ => None,
        }
    }

    /// What to write for `value`; `None` when it does not fit.
    pub fn encode(&self, value: &Value, other: Option<f64>) -> Option<Written> {
        match &self.content {
            Content::Bit => truth(value).map(Written::Bit),
            Content::Words { format, mixed_endian, transform, .. } => {
                let raw = match transform {
                    Some(transform) => {
                        let integral = format.value_type() != ValueType::Float;
                        transform.invert(&raw(value, ValueType::Float)?, other, integral)?
                    }
                    None => raw(value, format.value_type())?,
                };
                let mut words = format.encode(&raw)?;
                if *mixed_endian {
                    words.reverse();
                }
                Some(Written::Words(words))
            }
        }
    }
}

/// A JSON value as a register of type `wanted` takes it. Numbers may come as text, and whole numbers with a fraction of 0.
fn raw(value: &Value, wanted: ValueType) -> Option<Raw> {
    match (wanted, value) {
        (ValueType::Boolean, _) => truth(value).map(Raw::Boolean),
        (ValueType::String, Value::String(text)) => Some(Raw::Text(text.clone())),
        (ValueType::String, _) | (_, Value::Null | Value::Object(_)) => None,
        (ValueType::Integer, Value::Array(items)) => {
            let numbers = items.iter().map(|item| match raw(item, ValueType::Integer)? {
                Raw::Integer(number) => Some(number),
                _ => None,
            });
            numbers.collect::<Option<Vec<_>>>().map(Raw::Array)
        }
        (_, Value::Array(_)) => None,
        (_, Value::Bool(flag)) => Some(Raw::Integer(i128::from(*flag))),
        (_, Value::Number(number)) => {
            let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            whole.map(Raw::Integer).or_else(|| float(number.as_f64()?, wanted))
        }
        (_, Value::String(text)) => {
            let text = text.trim();
            text.parse::<i128>().ok().map(Raw::Integer).or_else(|| float(text.parse().ok()?, wanted))
        }
    }
}

fn float(number: f64, wanted: ValueType) -> Option<Raw> {
    if !number.is_finite() {
        return None;
    }
    if wanted == ValueType::Integer {
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        return (number.fract() == 0.0 && number.abs() < 1.0e30).then_some(Raw::Integer(number as i128));
    }
    Some(Raw::Float(number))
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Some(true),
            "false" | "off" | "0" => Some(false),
            _ => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(format: &str, mixed_endian: bool, transform: &str) -> Register {
        let format = Format::parse(format).unwrap();
        let transform = Transform::parse(transform).unwrap();
        let content = Content::Words { format, mixed_endian, transform, other: None };
        Register { table: Table::HoldingRegisters, address: 0, content }
    }

    #[test]
    fn mixed_endian_reverses_the_registers() {
        let register = words(">f", true, "");
        assert_eq!(register.encode(&json!(1.5), None), Some(Written::Words(vec![0, 0x3fc0])));
        assert_eq!(register.decode(Data::Words(&[0, 0x3fc0]), None), Some(json!(1.5)));
    }

    #[test]
    fn scaled_values() {
        let register = words(">h", false, "scale(0.1)");
        assert_eq!(register.value_type(), ValueType::Float);
        assert_eq!(register.decode(Data::Words(&[215]), None), Some(json!(21.5)));
        assert_eq!(register.decode(Data::Words(&[0]), None), Some(json!(0.0)));
        assert_eq!(register.encode(&json!("21.5"), None), Some(Written::Words(vec![215])));
        assert_eq!(register.encode(&json!(4000), None), None);
    }

    #[test]
    fn lenient_where_the_meaning_is_plain_and_strict_elsewhere() {
        let integer = words(">H", false, "");
        for value in [json!(54), json!(54.0), json!("54"), json!("54.0")] {
            assert_eq!(integer.encode(&value, None), Some(Written::Words(vec![54])), "{value}");
        }
        for value in [json!(54.5), json!("warm"), json!(null), json!([]), json!({}), json!(-1), json!(65_536), json!("NaN")] {
            assert_eq!(integer.encode(&value, None), None, "{value}");
        }
        let bit = Register { table: Table::Coils, address: 0, content: Content::Bit };
        assert_eq!(bit.encode(&json!("on"), None), Some(Written::Bit(true)));
        assert_eq!(bit.encode(&json!(2), None), None);
        assert_eq!(words(">f", false, "").decode(Data::Words(&[0x7fc0, 0]), None), None);
    }
}
