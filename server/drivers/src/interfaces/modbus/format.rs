//! Python's `struct` formats for exactly one value, as registries name them: `>H`, `<f`, `>xB`, `20s`.
//! Sizes and alignment are those of Python on 64-bit Linux. Refused: several values, `e`, `p`, `P`, `n`, `N`.
//! Source: Python documentation, "struct"; VOLTTRON `interfaces/modbus.py`.
//!
//! Differs from VOLTTRON: an odd number of bytes, which its Modbus driver cannot read, is filled up to whole registers. The fill goes
//! before a big-endian number (`>B` is the low byte of its register) and behind everything else.

use serde_json::{Number, Value};

use crate::interface::ValueType;

/// Most registers of one value: a read asks for at most 100 registers.
pub const REGISTERS_MAX: usize = 100;

/// A value of a device, before JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Any integer of at most 64 bits.
    Integer(i128),
    /// A floating point number; may be NaN.
    Float(f64),
    /// A truth value.
    Boolean(bool),
    /// Text, without its trailing NULs.
    Text(String),
    /// Several integers (arrays of the `modbus_tk` interface).
    Array(Vec<i128>),
}

impl Raw {
    /// As JSON; `None` for NaN and infinities.
    pub fn to_json(&self) -> Option<Value> {
        match self {
            Self::Integer(number) => integer(*number),
            Self::Float(number) => Number::from_f64(*number).map(Value::Number),
            Self::Boolean(flag) => Some((*flag).into()),
            Self::Text(text) => Some(text.as_str().into()),
            Self::Array(numbers) => numbers.iter().copied().map(integer).collect(),
        }
    }
}

fn integer(number: i128) -> Option<Value> {
    i64::try_from(number).map(Value::from).or_else(|_| u64::try_from(number).map(Value::from)).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Bytes,
    Boolean,
    Signed,
    Unsigned,
    Float,
}

/// Where in a run of bytes the value lies and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    code: Code,
    little: bool,
    /// Offset of the value in bytes.
    offset: usize,
    /// Bytes of one element.
    size: usize,
    /// Elements; more than one only for arrays.
    elements: usize,
    /// Bytes in all, even.
    total: usize,
}

impl Format {
    /// Parses `text`.
    ///
    /// # Errors
    /// A sentence that says what is not accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let prefix = text.chars().next().filter(|c| "@=<>!".contains(*c));
        let native = matches!(prefix, None | Some('@'));
        let little = !matches!(prefix, Some('>' | '!'));
        let (mut total, mut found, mut count) = (0_usize, None, None::<usize>);
        for c in text.chars().skip(usize::from(prefix.is_some())) {
            if let Some(digit) = c.to_digit(10) {
                let next = count.unwrap_or(0) * 10 + usize::try_from(digit).unwrap_or(0);
                if next > REGISTERS_MAX * 2 {
                    return Err(format!("the format {text:?} is longer than {REGISTERS_MAX} registers"));
                }
                count = Some(next);
                continue;
            }
            if c.is_ascii_whitespace() && count.is_none() {
                continue;
            }
            let repeat = count.take().unwrap_or(1);
            let (code, size) = match c {
                'x' => {
                    total += repeat;
                    continue;
                }
                's' => (Code::Bytes, repeat),
                'c' => (Code::Bytes, 1),
                '?' => (Code::Boolean, 1),
                'b' => (Code::Signed, 1),
                'B' => (Code::Unsigned, 1),
                'h' => (Code::Signed, 2),
                'H' => (Code::Unsigned, 2),
                'i' => (Code::Signed, 4),
                'I' => (Code::Unsigned, 4),
                'l' => (Code::Signed, if native { 8 } else { 4 }),
                'L' => (Code::Unsigned, if native { 8 } else { 4 }),
                'q' => (Code::Signed, 8),
                'Q' => (Code::Unsigned, 8),
                'f' => (Code::Float, 4),
                'd' => (Code::Float, 8),
                'e' | 'p' | 'P' | 'n' | 'N' => return Err(format!("the format code {c:?} is not supported for registers")),
                _ => return Err(format!("{text:?} is no format: {c:?} is unknown; write BOOL or a struct format such as >H or >f")),
            };
            if found.is_some() || (c != 's' && repeat != 1) {
                return Err(format!("the format {text:?} holds several values; use one row per value"));
            }
            if native && c != 's' {
                total = total.next_multiple_of(size);
            }
            found = Some((code, total, size));
            total += size;
        }
        match found {
            Some((code, offset, size)) if size > 0 && count.is_none() => Self::filled(code, little, offset, size, 1, total, text),
            _ => Err(format!("the format {text:?} holds no value; write BOOL or a struct format such as >H or >f")),
        }
    }

    /// `elements` 16-bit integers in a row.
    ///
    /// # Errors
    /// A sentence when they are too many.
    pub fn array(signed: bool, little: bool, elements: usize) -> Result<Self, String> {
        let code = if signed { Code::Signed } else { Code::Unsigned };
        Self::filled(code, little, 0, 2, elements.max(1), elements.saturating_mul(2).max(2), "array")
    }

    fn filled(
        code: Code,
        little: bool,
        mut offset: usize,
        size: usize,
        elements: usize,
        mut total: usize,
        text: &str,
    ) -> Result<Self, String> {
        if total % 2 == 1 {
            if !little && code != Code::Bytes {
                offset += 1;
            }
            total += 1;
        }
        if total > REGISTERS_MAX * 2 {
            return Err(format!("the format {text:?} is longer than {REGISTERS_MAX} registers"));
        }
        Ok(Self { code, little, offset, size, elements, total })
    }

    /// How many registers the value takes.
    pub fn registers(&self) -> usize {
        self.total / 2
    }

    /// The type of its values.
    pub fn value_type(&self) -> ValueType {
        match self.code {
            Code::Bytes => ValueType::String,
            Code::Boolean => ValueType::Boolean,
            Code::Signed | Code::Unsigned => ValueType::Integer,
            Code::Float => ValueType::Float,
        }
    }

    /// What may be written, in words.
    pub fn expected(&self) -> String {
        let (low, high) = self.range();
        match self.code {
            Code::Bytes => format!("text of at most {} bytes", self.size),
            Code::Boolean => "true or false".into(),
            Code::Float if self.size == 4 => "a number that fits 32 bits".into(),
            Code::Float => "a number".into(),
            Code::Signed | Code::Unsigned if self.elements > 1 => {
                format!("a list of {} integers from {low} to {high}", self.elements)
            }
            Code::Signed | Code::Unsigned => format!("an integer from {low} to {high}"),
        }
    }

    /// Reads the value out of `words`; `None` when they are too few.
    pub fn decode(&self, words: &[u16]) -> Option<Raw> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let field = bytes.get(self.offset..self.offset + self.size * self.elements)?;
        if self.elements > 1 {
            return Some(Raw::Array(field.chunks_exact(self.size).map(|chunk| self.integer(chunk)).collect()));
        }
        Some(match self.code {
            Code::Bytes => {
                let end = field.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                Raw::Text(String::from_utf8_lossy(field.get(..end)?).into_owned())
            }
            Code::Boolean => Raw::Boolean(field.iter().any(|byte| *byte != 0)),
            Code::Signed | Code::Unsigned => Raw::Integer(self.integer(field)),
            Code::Float if self.size == 4 => Raw::Float(f64::from(f32::from_bits(u32::try_from(self.unsigned(field)).ok()?))),
            Code::Float => Raw::Float(f64::from_bits(u64::try_from(self.unsigned(field)).ok()?)),
        })
    }

    /// The registers that hold `value`; `None` when it does not fit.
    pub fn encode(&self, value: &Raw) -> Option<Vec<u16>> {
        let mut bytes = vec![0_u8; self.total];
        let field = bytes.get_mut(self.offset..self.offset + self.size * self.elements)?;
        match (self.code, value) {
            (Code::Bytes, Raw::Text(text)) if text.len() <= self.size => field.get_mut(..text.len())?.copy_from_slice(text.as_bytes()),
            (Code::Boolean, Raw::Boolean(flag)) => field.fill(u8::from(*flag)),
            (Code::Boolean, Raw::Integer(number @ (0 | 1))) => field.fill(u8::from(*number == 1)),
            (Code::Signed | Code::Unsigned, Raw::Array(numbers)) if numbers.len() == self.elements && self.elements > 1 => {
                for (chunk, number) in field.chunks_exact_mut(self.size).zip(numbers) {
                    self.put(chunk, *number)?;
                }
            }
            (Code::Signed | Code::Unsigned, Raw::Integer(number)) if self.elements == 1 => self.put(field, *number)?,
            (Code::Signed | Code::Unsigned, Raw::Boolean(flag)) if self.elements == 1 => self.put(field, i128::from(*flag))?,
            (Code::Float, Raw::Float(number)) => self.put_float(field, *number)?,
            #[expect(clippy::cast_precision_loss, reason = "a register of this type cannot hold more precision")]
            (Code::Float, Raw::Integer(number)) => self.put_float(field, *number as f64)?,
            _ => return None,
        }
        Some(bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
    }

    fn range(&self) -> (i128, i128) {
        let bits = self.size * 8;
        match self.code {
            Code::Signed => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            _ if bits < 127 => (0, (1 << bits) - 1),
            _ => (0, i128::MAX),
        }
    }

    fn unsigned(&self, field: &[u8]) -> u128 {
        let fold = |sum: u128, byte: &u8| (sum << 8) | u128::from(*byte);
        if self.little { field.iter().rev().fold(0, fold) } else { field.iter().fold(0, fold) }
    }

    fn integer(&self, field: &[u8]) -> i128 {
        let value = i128::try_from(self.unsigned(field)).unwrap_or_default();
        let (_, high) = self.range();
        if value > high { value - (1 << (self.size * 8)) } else { value }
    }

    fn put(&self, field: &mut [u8], number: i128) -> Option<()> {
        let (low, high) = self.range();
        (low..=high).contains(&number).then(|| self.put_bits(field, &number.to_le_bytes()))
    }

    fn put_float(&self, field: &mut [u8], number: f64) -> Option<()> {
        #[expect(clippy::cast_possible_truncation, reason = "the next line refuses what does not fit")]
        let single = number as f32;
        if self.size == 8 {
            self.put_bits(field, &number.to_bits().to_le_bytes());
        } else if number.is_finite() && !single.is_finite() {
            return None;
        } else {
            self.put_bits(field, &single.to_bits().to_le_bytes());
        }
        Some(())
    }

    fn put_bits(&self, field: &mut [u8], little_endian: &[u8]) {
        let len = field.len();
        for (index, byte) in little_endian.iter().take(len).enumerate() {
            let at = if self.little { index } else { len - 1 - index };
            if let Some(slot) = field.get_mut(at) {
                *slot = *byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(format: &str, value: Raw, words: &[u16]) {
        let format = Format::parse(format).unwrap();
        assert_eq!(format.encode(&value).as_deref(), Some(words), "{format:?}");
        assert_eq!(format.decode(words), Some(value), "{format:?}");
    }

    #[test]
    fn every_code_and_byte_order() {
        round_trip(">H", Raw::Integer(0x1234), &[0x1234]);
        round_trip("!H", Raw::Integer(0x1234), &[0x1234]);
        round_trip("<H", Raw::Integer(0x1234), &[0x3412]);
        round_trip("=H", Raw::Integer(0x1234), &[0x3412]);
        round_trip("@H", Raw::Integer(0x1234), &[0x3412]);
        round_trip("H", Raw::Integer(0x1234), &[0x3412]);
        round_trip(">h", Raw::Integer(-2), &[0xfffe]);
        round_trip(">i", Raw::Integer(-2), &[0xffff, 0xfffe]);
        round_trip("<I", Raw::Integer(0x0102_0304), &[0x0403, 0x0201]);
        round_trip(">l", Raw::Integer(70_000), &[1, 4464]);
        round_trip("l", Raw::Integer(1), &[0x0100, 0, 0, 0]);
        round_trip(">L", Raw::Integer(0xffff_ffff), &[0xffff, 0xffff]);
        round_trip(">q", Raw::Integer(-1), &[0xffff; 4]);
        round_trip(">Q", Raw::Integer(i128::from(u64::MAX)), &[0xffff; 4]);
        round_trip(">f", Raw::Float(1.5), &[0x3fc0, 0]);
        round_trip("<f", Raw::Float(1.5), &[0, 0xc03f]);
        round_trip(">d", Raw::Float(-2.0), &[0xc000, 0, 0, 0]);
        round_trip(">b", Raw::Integer(-1), &[0x00ff]);
        round_trip("<B", Raw::Integer(7), &[0x0700]);
        round_trip(">Bx", Raw::Integer(7), &[0x0700]);
        round_trip(">xB", Raw::Integer(7), &[0x0007]);
        round_trip(">?", Raw::Boolean(true), &[1]);
        round_trip(">c", Raw::Text("A".into()), &[0x4100]);
        round_trip(">5s", Raw::Text("abc".into()), &[0x6162, 0x6300, 0]);
        assert_eq!(Format::parse("@xxH").unwrap().registers(), 2);
    }

    #[test]
    fn what_is_no_single_value_is_refused_in_words() {
        for (text, part) in [
            (">2H", "several values"),
            (">HH", "several values"),
            ("", "no value"),
            (">", "no value"),
            (">4x", "no value"),
            (">0s", "no value"),
            (">e", "not supported"),
            ("uint16", "is unknown"),
            (">300s", "longer than 100 registers"),
            (">99999999999999999999s", "longer than 100 registers"),
            (">3", "no value"),
        ] {
            let error = Format::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let format = Format::parse(">H").unwrap();
        assert_eq!(format.encode(&Raw::Integer(65_536)), None);
        assert_eq!(format.encode(&Raw::Integer(-1)), None);
        assert_eq!(format.encode(&Raw::Float(1.0)), None);
        assert_eq!(format.expected(), "an integer from 0 to 65535");
        assert_eq!(Format::parse(">f").unwrap().encode(&Raw::Float(1e300)), None);
        assert_eq!(Format::parse(">2s").unwrap().encode(&Raw::Text("abc".into())), None);
    }

    #[test]
    fn arrays() {
        let format = Format::array(true, false, 3).unwrap();
        assert_eq!(format.decode(&[1, 0xffff, 3]), Some(Raw::Array(vec![1, -1, 3])));
        assert_eq!(format.encode(&Raw::Array(vec![1, -1, 3])), Some(vec![1, 0xffff, 3]));
        assert_eq!(format.encode(&Raw::Array(vec![1])), None);
        assert!(Format::array(true, false, 101).is_err());
    }

    #[test]
    fn no_number_is_no_json() {
        assert_eq!(Raw::Float(f64::NAN).to_json(), None);
        assert_eq!(Raw::Integer(i128::from(u64::MAX)).to_json(), Some(u64::MAX.into()));
        assert_eq!(Format::parse(">H").unwrap().decode(&[]), None);
    }
}
