//! A stretch of one topic's readings as JSON text that SQLite itself can read: `[[steps, value], ...]`, where a reading's time is
//! `start_us + steps * unit_us` and `unit_us` is the largest step that fits all of them (a minute for one-minute data). Pure: text in, text out.

use serde_json::value::RawValue;

use crate::{
    downsample::Summary,
    value::{Cell, RawCell},
};

/// One reading: microseconds since 1970, and the value.
pub type Point = (i64, Cell);

/// Most readings in a chunk.
pub const POINTS_MAX: usize = 512;
/// Bytes of values at which a chunk with fewer readings is closed.
const BYTES_MAX: usize = 256 * 1024;

/// A chunk ready to be stored.
#[derive(Debug, PartialEq)]
pub struct Encoded {
    pub start_us: i64,
    pub end_us: i64,
    pub unit_us: i64,
    pub count: i64,
    /// Present when every value is a number.
    pub numbers: Option<Summary>,
    pub text: String,
}

/// Cuts sorted readings into chunks.
pub fn pieces(points: &[Point]) -> Vec<&[Point]> {
    let mut pieces = Vec::with_capacity(points.len() / POINTS_MAX + 1);
    let (mut begin, mut bytes) = (0, 0);
    for (index, (_, cell)) in points.iter().enumerate() {
        bytes += cell.heap_bytes();
        if index - begin >= POINTS_MAX || (index > begin && bytes > BYTES_MAX) {
            pieces.push(&points[begin..index]);
            (begin, bytes) = (index, cell.heap_bytes());
        }
    }
    pieces.push(&points[begin..]);
    pieces
}

/// Encodes sorted readings; `None` when there are none.
pub fn encode(points: &[Point]) -> Option<Encoded> {
    let (start_us, end_us) = (points.first()?.0, points.last()?.0);
    let unit_us = points.iter().fold(0, |unit, (at, _)| gcd(unit, at - start_us)).max(1);
    let mut text = Vec::with_capacity(points.len() * 16);
    let mut numbers: Option<Summary> = None;
    let mut all_numbers = true;
    text.push(b'[');
    for (at, cell) in points {
        text.extend_from_slice(if text.len() > 1 { b",[" } else { b"[" });
        Cell::Integer((at - start_us) / unit_us).write_json(&mut text);
        text.push(b',');
        cell.write_json(&mut text);
        text.push(b']');
        match (cell.number(), &mut numbers) {
            (None, _) => all_numbers = false,
            (Some(number), Some(summary)) => summary.add(&Summary::one(*at, number)),
            (Some(number), none) => *none = Some(Summary::one(*at, number)),
        }
    }
    text.push(b']');
    let text = String::from_utf8(text).ok()?;
    Some(Encoded { start_us, end_us, unit_us, count: i64::try_from(points.len()).ok()?, numbers: numbers.filter(|_| all_numbers), text })
}

/// Hands every reading of a chunk to `each`, in time order.
///
/// # Errors
/// What was expected where the text is not what [`encode`] writes.
pub fn decode<'a>(text: &'a str, start_us: i64, unit_us: i64, mut each: impl FnMut(i64, RawCell<'a>)) -> Result<(), &'static str> {
    let mut rest = text.strip_prefix('[').ok_or("no opening bracket")?;
    if rest == "]" {
        return Ok(());
    }
    loop {
        rest = rest.strip_prefix('[').ok_or("no opening bracket of a reading")?;
        let (steps, after) = integer(rest).ok_or("no time")?;
        let (cell, after) = value(after.strip_prefix(',').ok_or("no comma after a time")?).ok_or("no value")?;
        let at = unit_us.checked_mul(steps).and_then(|offset| start_us.checked_add(offset)).ok_or("a time out of range")?;
        each(at, cell);
        rest = after.strip_prefix(']').ok_or("no closing bracket of a reading")?;
        match rest.as_bytes() {
            [b',', ..] => rest = &rest[1..],
            b"]" => return Ok(()),
            _ => return Err("no end"),
        }
    }
}

fn integer(text: &str) -> Option<(i64, &str)> {
    let mut number = 0i64;
    let mut digits = 0;
    for byte in text.bytes().take_while(u8::is_ascii_digit) {
        number = number.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
        digits += 1;
    }
    (digits > 0).then(|| (number, &text[digits..]))
}

fn value(text: &str) -> Option<(RawCell<'_>, &str)> {
    if let Some(short) = short_number(text) {
        return Some(short);
    }
    if matches!(text.as_bytes().first()?, b'-' | b'0'..=b'9') {
        let (number, rest) = text.split_at(text.as_bytes().iter().position(|byte| *byte == b']')?);
        return Some((RawCell::number(number).unwrap_or(RawCell::Json(number)), rest));
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let raw = values.next()?.ok()?.get();
    Some((RawCell::Json(raw), &text[values.byte_offset()..]))
}

/// Numbers of at most 15 characters without exponent, which is nearly all that devices send. Digits and power of ten are then exact as floats,
/// so that one division gives the nearest float, as a full parser would, in a fraction of its time.
fn short_number(text: &str) -> Option<(RawCell<'_>, &str)> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let begin = usize::from(negative);
    let (mut mantissa, mut point, mut at) = (0i64, None, begin);
    loop {
        match *bytes.get(at)? {
            digit @ b'0'..=b'9' => mantissa = mantissa * 10 + i64::from(digit - b'0'),
            b'.' if point.is_none() => point = Some(at),
            b']' => break,
            _ => return None,
        }
        at += 1;
        if at > begin + 15 {
            return None;
        }
    }
    if at == begin {
        return None;
    }
    let cell = match point {
        None => RawCell::Integer(if negative { -mantissa } else { mantissa }),
        Some(point) => {
            #[expect(clippy::cast_precision_loss, reason = "at most 15 digits")]
            let float = mantissa as f64 / POWERS.get(at - point - 1)?;
            RawCell::Float(if negative { -float } else { float })
        }
    };
    Some((cell, &text[at..]))
}

fn gcd(mut one: i64, mut other: i64) -> i64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn round_trip(points: &[Point]) -> Encoded {
        let encoded = encode(points).unwrap();
        let mut back = Vec::new();
        decode(&encoded.text, encoded.start_us, encoded.unit_us, |at, cell| back.push((at, cell.to_cell()))).unwrap();
        assert_eq!(back, points);
        encoded
    }

    #[test]
    fn every_value_and_time_survives() {
        let values = [
            json!(1.5),
            json!(-3),
            json!(null),
            json!(true),
            json!("a],[0,1"),
            json!({"b": [1, {"c": "]"}]}),
            json!(u64::MAX),
            json!(1e-300),
        ];
        let points: Vec<_> =
            values.iter().enumerate().map(|(i, value)| (i64::try_from(i * i).unwrap() - 1_000_003, Cell::of(value))).collect();
        assert_eq!(round_trip(&points).numbers, None);
    }

    #[test]
    fn regular_data_is_short_and_summed_up() {
        let points: Vec<_> = (0..512).map(|i| (i * 60_000_000, Cell::Float(20.5))).collect();
        let encoded = round_trip(&points);
        assert_eq!(encoded.unit_us, 60_000_000);
        assert!(encoded.text.len() < 512 * 12, "{}", encoded.text.len());
        let numbers = encoded.numbers.unwrap();
        assert_eq!((numbers.count, numbers.min, numbers.sum), (512, 20.5, 20.5 * 512.0));
    }

    #[test]
    fn short_numbers_are_read_as_a_full_parser_reads_them() {
        for text in
            ["0", "-0.0", "0.1", "72.4", "-3.14159", "123456789012345", "1234567.1234567", "99999.99999999", "0.0000000000001", "-17"]
        {
            let closed = format!("{text}]");
            let (short, rest) = short_number(&closed).unwrap();
            assert_eq!((short, rest), (RawCell::number(text).unwrap(), "]"));
        }
        for text in ["1e5]", "-]", "]", "1234567890123456]", "1", "1.2.3]", "null]"] {
            assert!(short_number(text).is_none(), "{text}");
        }
    }

    #[test]
    fn damaged_text_is_an_error() {
        for bad in [
            "",
            "[",
            "[[",
            "[[0",
            "[[0,",
            "[[0,1",
            "[[0,1]",
            "[[0,1],",
            "[[0,1]]x",
            "[[x,1]]",
            "[[99999999999999999999,1]]",
            "[[9223372036854775807,1]]",
        ] {
            assert!(decode(bad, 1, 2, |_, _| ()).is_err(), "{bad}");
        }
    }

    #[test]
    fn pieces_are_bounded_by_count_and_bytes() {
        let small: Vec<_> = (0..1200).map(|i| (i, Cell::Integer(i))).collect();
        assert_eq!(pieces(&small).iter().map(|piece| piece.len()).collect::<Vec<_>>(), [512, 512, 176]);
        let large: Vec<_> = (0..4).map(|i| (i, Cell::Json("x".repeat(200_000).into()))).collect();
        assert_eq!(pieces(&large).len(), 4);
    }
}
