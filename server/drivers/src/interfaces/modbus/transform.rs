//! Column `Transform`: how a register's number becomes a value in its units, and back.
//! Source: VOLTTRON `interfaces/modbus_tk/helpers.py`.
//!
//! Differs from VOLTTRON: the inverse of `scale_decimal_int_signed` undoes its reading (there it writes numbers out of range), and the
//! `mod10k` family can be written.

use super::format::Raw;
use crate::interface::ValueType;

/// A transform with its argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// `scale(n)`: value·n, rounded to the digits that n and the value have.
    Scale(f64),
    /// `scale_int(n)`: the same without fraction.
    ScaleInt(f64),
    /// `scale_decimal_int_signed(n)`: sign and magnitude, as in PM800 power factors.
    ScaleDecimalIntSigned(f64),
    /// `mod10k(r)`, `mod10k48(r)`, `mod10k64(r)`: each register holds four decimal digits.
    Mod10k {
        /// Registers of the value: 2 or 4.
        words: usize,
        /// How many of them count (`mod10k48` leaves one out).
        used: usize,
        /// Whether the first register holds the low digits.
        reverse: bool,
    },
    /// `scale_reg(name)`: divided by the value of another register.
    ScaleReg(String),
    /// `scale_reg_pow_10(name)`: times ten to the power of another register.
    ScaleRegPow10(String),
}

impl Transform {
    /// Parses `text`; `None` for an empty one.
    ///
    /// # Errors
    /// A sentence that says what is not accepted.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let (name, argument) = text
            .strip_suffix(')')
            .and_then(|call| call.split_once('('))
            .map(|(name, argument)| (name.trim(), argument.trim()))
            .ok_or_else(|| format!("{text:?} is no transform; write one such as scale(0.1)"))?;
        let number = || match argument.parse::<f64>() {
            Ok(number) if number.is_finite() && number != 0.0 => Ok(number),
            _ => Err(format!("{name} needs a number other than 0, not {argument:?}")),
        };
        let flag = || match argument.to_ascii_lowercase().as_str() {
            "t" | "y" | "true" | "yes" | "1" => Ok(true),
            "f" | "n" | "false" | "no" | "0" | "" => Ok(false),
            _ => Err(format!("{name} needs True or False, not {argument:?}")),
        };
        let register = || if argument.is_empty() { Err(format!("{name} needs the name of a register")) } else { Ok(argument.to_owned()) };
        Ok(Some(match name {
            "scale" => Self::Scale(number()?),
            "scale_int" => Self::ScaleInt(number()?),
            "scale_decimal_int_signed" => Self::ScaleDecimalIntSigned(number()?),
            "mod10k" => Self::Mod10k { words: 2, used: 2, reverse: flag()? },
            "mod10k48" => Self::Mod10k { words: 4, used: 3, reverse: flag()? },
            "mod10k64" => Self::Mod10k { words: 4, used: 4, reverse: flag()? },
            "scale_reg" => Self::ScaleReg(register()?),
            "scale_reg_pow_10" => Self::ScaleRegPow10(register()?),
            _ => return Err(format!("the transform {name:?} is unknown")),
        }))
    }

    /// The register whose value it needs.
    pub fn other_register(&self) -> Option<&str> {
        match self {
            Self::ScaleReg(name) | Self::ScaleRegPow10(name) => Some(name),
            _ => None,
        }
    }

    /// The type of values after the transform.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::ScaleInt(_) | Self::Mod10k { .. } => ValueType::Integer,
            Self::Scale(n) | Self::ScaleDecimalIntSigned(n) if n.fract() == 0.0 => ValueType::Integer,
            _ => ValueType::Float,
        }
    }

    /// From the register's number to the value; `None` when there is no value (division by 0, not a number). `other` is the value of
    /// [`Self::other_register`].
    pub fn apply(&self, raw: &Raw, other: Option<f64>) -> Option<Raw> {
        let number = number(raw)?;
        let value = match self {
            Self::Scale(n) => round(number * n, decimals(*n) + fraction_digits(raw)),
            Self::ScaleInt(n) => (number * n).trunc(),
            Self::ScaleDecimalIntSigned(n) if number < 0.0 => round(-(number + 32_768.0) * n, decimals(*n)),
            Self::ScaleDecimalIntSigned(n) => round(number * n, decimals(*n)),
            Self::Mod10k { words, used, reverse } => return mod10k(raw, *words, *used, *reverse),
            Self::ScaleReg(_) => number / other.filter(|other| *other != 0.0)?,
            Self::ScaleRegPow10(_) => {
                let exponent = other?;
                round(
                    number * 10_f64.powf(exponent),
                    if exponent < 0.0 { to_digits(-exponent) + fraction_digits(raw) } else { fraction_digits(raw) },
                )
            }
        };
        self.typed(value, raw)
    }

    /// From a value to the register's number.
    pub fn invert(&self, value: &Raw, other: Option<f64>, integral: bool) -> Option<Raw> {
        let number = number(value)?;
        let raw = match self {
            Self::Scale(n) | Self::ScaleInt(n) => number / n,
            Self::ScaleDecimalIntSigned(n) if number < 0.0 => -(number / n) - 32_768.0,
            Self::ScaleDecimalIntSigned(n) => number / n,
            Self::Mod10k { words, used, reverse } => return unmod10k(value, *words, *used, *reverse),
            Self::ScaleReg(_) => number * other?,
            Self::ScaleRegPow10(_) => number / 10_f64.powf(other?),
        };
        if integral { integer(raw.round()) } else { Some(Raw::Float(raw)) }
    }

    fn typed(&self, value: f64, raw: &Raw) -> Option<Raw> {
        let integral = match self {
            Self::ScaleInt(_) => true,
            Self::Scale(n) | Self::ScaleDecimalIntSigned(n) => n.fract() == 0.0 && matches!(raw, Raw::Integer(_)),
            _ => false,
        };
        if integral { integer(value) } else { Some(Raw::Float(value)) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "scaled values are floating point")]
fn number(raw: &Raw) -> Option<f64> {
    match raw {
        Raw::Integer(number) => Some(*number as f64),
        Raw::Float(number) => Some(*number),
        Raw::Boolean(_) | Raw::Text(_) | Raw::Array(_) => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn integer(number: f64) -> Option<Raw> {
    (number.is_finite() && number.abs() < 1.0e30).then_some(Raw::Integer(number as i128))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn to_digits(number: f64) -> usize {
    if (0.0..300.0).contains(&number) { number.ceil() as usize } else { 300 }
}

/// Digits behind the decimal point of the shortest text of `n`.
fn decimals(n: f64) -> usize {
    n.to_string().split_once('.').map_or(0, |(_, fraction)| fraction.len())
}

fn fraction_digits(raw: &Raw) -> usize {
    match raw {
        Raw::Float(number) => decimals(*number),
        _ => 0,
    }
}

/// Rounds away what multiplication in binary added; leaves numbers alone that have no digits to spare.
fn round(number: f64, digits: usize) -> f64 {
    match i32::try_from(digits) {
        Ok(digits @ 0..=15) if number.is_finite() && number.abs() < 1.0e15 => {
            let unit = 10_f64.powi(digits);
            let rounded = (number * unit).round() / unit;
            if rounded.is_finite() { rounded } else { number }
        }
        _ => number,
    }
}

fn mod10k(raw: &Raw, words: usize, used: usize, reverse: bool) -> Option<Raw> {
    let Raw::Integer(number) = raw else { return None };
    // From the most significant register to the least.
    let registers = (0..words).rev().map(|index| (number >> (16 * index)) & 0xffff);
    let fold = |sum: i128, register: i128| sum * 10_000 + register;
    // Of mod10k48's four registers the first counts only in reverse order, the last only in normal order: that is how PM800 lays them out.
    let ordered: Vec<i128> = registers.collect();
    let value = match (reverse, used < words) {
        (false, false) if words == 4 => ordered.iter().rev().copied().fold(0, fold),
        (false, false) => ordered.iter().copied().fold(0, fold),
        (true, false) if words == 4 => ordered.iter().copied().fold(0, fold),
        (true, false) => ordered.iter().rev().copied().fold(0, fold),
        (false, true) => [ordered.get(2)?, ordered.get(1)?, ordered.first()?].into_iter().copied().fold(0, fold),
        (true, true) => [ordered.get(3)?, ordered.get(2)?, ordered.get(1)?].into_iter().copied().fold(0, fold),
    };
    Some(Raw::Integer(value))
}

fn unmod10k(value: &Raw, words: usize, used: usize, reverse: bool) -> Option<Raw> {
    let number = match value {
        Raw::Integer(number) => *number,
        Raw::Float(number) if number.fract() == 0.0 => match integer(*number)? {
            Raw::Integer(number) => number,
            _ => return None,
        },
        _ => return None,
    };
    if !(0..10_000_i128.pow(u32::try_from(used).ok()?)).contains(&number) {
        return None;
    }
    // The digit groups are tried in the two orders in which reading may take them; the one that reads back is right.
    let groups: Vec<i128> = (0..used).map(|index| number / 10_000_i128.pow(u32::try_from(index).unwrap_or(0)) % 10_000).collect();
    let pack = |groups: &mut dyn Iterator<Item = i128>, shift: usize| {
        groups.enumerate().fold(0_i128, |sum, (index, group)| sum | (group << (16 * (index + shift))))
    };
    let candidates = [
        pack(&mut groups.iter().copied(), 0),
        pack(&mut groups.iter().rev().copied(), 0),
        pack(&mut groups.iter().copied(), words - used),
        pack(&mut groups.iter().rev().copied(), words - used),
    ];
    candidates.into_iter().map(Raw::Integer).find(|raw| mod10k(raw, words, used, reverse) == Some(Raw::Integer(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Transform {
        Transform::parse(text).unwrap().unwrap()
    }

    #[test]
    fn scaling_there_and_back() {
        let tenth = parse("scale(0.1)");
        assert_eq!(tenth.apply(&Raw::Integer(123), None), Some(Raw::Float(12.3)));
        assert_eq!(tenth.apply(&Raw::Integer(3), None), Some(Raw::Float(0.3)));
        assert_eq!(tenth.invert(&Raw::Float(12.3), None, true), Some(Raw::Integer(123)));
        assert_eq!(tenth.value_type(), ValueType::Float);
        assert_eq!(parse("scale(10)").apply(&Raw::Integer(5), None), Some(Raw::Integer(50)));
        assert_eq!(parse("scale_int(0.001)").apply(&Raw::Integer(1999), None), Some(Raw::Integer(1)));
        assert_eq!(parse("scale( -0.5 )").apply(&Raw::Integer(3), None), Some(Raw::Float(-1.5)));
    }

    #[test]
    fn sign_and_magnitude() {
        let factor = parse("scale_decimal_int_signed(0.001)");
        assert_eq!(factor.apply(&Raw::Integer(-32_000), None), Some(Raw::Float(-0.768)));
        assert_eq!(factor.invert(&Raw::Float(-0.768), None, true), Some(Raw::Integer(-32_000)));
        assert_eq!(factor.apply(&Raw::Integer(768), None), Some(Raw::Float(0.768)));
    }

    #[test]
    fn ten_thousands() {
        // Two registers 12 and 3456.
        let raw = Raw::Integer((12 << 16) | 3456);
        assert_eq!(parse("mod10k(False)").apply(&raw, None), Some(Raw::Integer(123_456)));
        assert_eq!(parse("mod10k(True)").apply(&raw, None), Some(Raw::Integer(34_560_012)));
        for transform in ["mod10k()", "mod10k(true)", "mod10k48()", "mod10k48(True)", "mod10k64()", "mod10k64(1)"] {
            let transform = parse(transform);
            let written = transform.invert(&Raw::Integer(123_456), None, true).unwrap();
            assert_eq!(transform.apply(&written, None), Some(Raw::Integer(123_456)), "{transform:?}");
        }
        assert_eq!(parse("mod10k()").invert(&Raw::Integer(100_000_000), None, true), None);
    }

    #[test]
    fn other_registers() {
        let divided = parse("scale_reg(factor)");
        assert_eq!(divided.other_register(), Some("factor"));
        assert_eq!(divided.apply(&Raw::Integer(50), Some(10.0)), Some(Raw::Float(5.0)));
        assert_eq!(divided.apply(&Raw::Integer(50), Some(0.0)), None);
        assert_eq!(divided.invert(&Raw::Integer(5), Some(10.0), true), Some(Raw::Integer(50)));
        let power = parse("scale_reg_pow_10(exponent)");
        assert_eq!(power.apply(&Raw::Integer(123), Some(-1.0)), Some(Raw::Float(12.3)));
        assert_eq!(power.invert(&Raw::Float(12.3), Some(-1.0), true), Some(Raw::Integer(123)));
    }

    #[test]
    fn what_is_no_transform_is_refused_in_words() {
        assert_eq!(Transform::parse(""), Ok(None));
        for text in ["scale", "scale(0)", "scale(x)", "scale(inf)", "mod10k(maybe)", "scale_reg()", "exec(1)", "scale(1)x"] {
            assert!(Transform::parse(text).is_err(), "{text}");
        }
    }
}
