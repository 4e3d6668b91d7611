//! Walks over a JSON text without building anything: checks it and says where values begin and end. No recursion; linear in the text.

use std::ops::Range;

use super::{DEPTH_MAX, JsonError};

/// What Python reads and serde_json does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// `NaN`, `Infinity`, `-Infinity`, or a number too large for a double.
    NotFinite,
    /// Half of a surrogate pair, as a six-byte escape.
    Surrogate,
}

pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Objects and arrays that are open, one bit each; [`DEPTH_MAX`] fits.
#[derive(Default)]
struct Open {
    objects: u128,
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool) {
        self.objects = self.objects << 1 | u128::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// One value with at most `depth_max` levels; its place. Things to repair are told as they are met.
    pub(super) fn value(&mut self, depth_max: usize, repair: &mut impl FnMut(Range<usize>, Repair)) -> Result<Range<usize>, JsonError> {
        debug_assert!(depth_max <= DEPTH_MAX);
        self.space();
        let start = self.at;
        let mut open = Open::default();
        loop {
            self.space();
            match self.peek()? {
                bracket @ (b'{' | b'[') => {
                    if open.depth >= depth_max {
                        return Err(JsonError::TooDeep);
                    }
                    self.at += 1;
                    let object = bracket == b'{';
                    open.push(object);
                    if !self.close(if object { b'}' } else { b']' }) {
                        if object {
                            self.name(repair)?;
                        }
                        continue;
                    }
                    open.pop();
                }
                b'"' => self.string_telling(repair).map(drop)?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                b'-' | b'0'..=b'9' | b'N' | b'I' => self.number(repair)?,
                _ => return Err(JsonError::Unexpected { at: self.at }),
            }
            while open.depth > 0 {
                let object = open.in_object();
                if self.comma_or(if object { b'}' } else { b']' })? {
                    if object {
                        self.name(repair)?;
                    }
                    break;
                }
                open.pop();
            }
            if open.depth == 0 {
                return Ok(start..self.at);
            }
        }
    }

    /// A string token; its place, quotes included.
    pub(super) fn string(&mut self) -> Result<Range<usize>, JsonError> {
        self.space();
        self.string_telling(&mut |_, _| ())
    }

    pub(super) fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        self.space();
        self.byte(bracket)
    }

    /// Takes `bracket` if it comes next.
    pub(super) fn close(&mut self, bracket: u8) -> bool {
        self.space();
        let there = self.bytes.get(self.at) == Some(&bracket);
        self.at += usize::from(there);
        there
    }

    pub(super) fn colon(&mut self) -> Result<(), JsonError> {
        self.space();
        self.byte(b':')
    }

    /// Takes a comma (true) or the closing bracket (false).
    pub(super) fn comma_or(&mut self, bracket: u8) -> Result<bool, JsonError> {
        self.space();
        let byte = self.peek()?;
        if byte != b',' && byte != bracket {
            return Err(JsonError::Unexpected { at: self.at });
        }
        self.at += 1;
        Ok(byte == b',')
    }

    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at < self.bytes.len() { Err(JsonError::Trailing { at: self.at }) } else { Ok(()) }
    }

    fn name(&mut self, repair: &mut impl FnMut(Range<usize>, Repair)) -> Result<(), JsonError> {
        self.space();
        self.string_telling(repair)?;
        self.colon()
    }

    fn string_telling(&mut self, repair: &mut impl FnMut(Range<usize>, Repair)) -> Result<Range<usize>, JsonError> {
        let start = self.at;
        self.byte(b'"')?;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).ok_or(JsonError::Incomplete)?;
            match self.bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok(start..self.at);
                }
                b'\\' => self.escape(repair)?,
                _ => return Err(JsonError::Unexpected { at: self.at }),
            }
        }
    }

    fn escape(&mut self, repair: &mut impl FnMut(Range<usize>, Repair)) -> Result<(), JsonError> {
        let start = self.at;
        self.at += 1;
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                return Ok(());
            }
            b'u' => self.at += 1,
            _ => return Err(JsonError::Unexpected { at: self.at }),
        }
        let unit = self.hex()?;
        if (0xd800..0xdc00).contains(&unit) && self.bytes[self.at..].starts_with(br"\u") {
            let second = self.at;
            self.at += 2;
            if (0xdc00..0xe000).contains(&self.hex()?) {
                return Ok(());
            }
            // Not the other half: looked at again as an escape of its own.
            self.at = second;
        }
        if (0xd800..0xe000).contains(&unit) {
            repair(start..self.at, Repair::Surrogate);
        }
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.peek()?).to_digit(16).ok_or(JsonError::Unexpected { at: self.at })?;
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number(&mut self, repair: &mut impl FnMut(Range<usize>, Repair)) -> Result<(), JsonError> {
        let start = self.at;
        if self.peek()? == b'N' {
            self.literal(b"NaN")?;
            repair(start..self.at, Repair::NotFinite);
            return Ok(());
        }
        self.at += usize::from(self.peek()? == b'-');
        match self.peek()? {
            b'I' => {
                self.literal(b"Infinity")?;
                repair(start..self.at, Repair::NotFinite);
                return Ok(());
            }
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = matches!(self.bytes.get(self.at), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        // Short numbers without exponent are always within a double.
        let text = &self.bytes[start..self.at];
        if (exponent || text.len() > 300) && !str::from_utf8(text).ok().and_then(|text| text.parse().ok()).is_some_and(f64::is_finite) {
            repair(start..self.at, Repair::NotFinite);
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        match count {
            0 => self.peek().and(Err(JsonError::Unexpected { at: self.at })),
            _ => Ok(()),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        word.iter().try_for_each(|byte| self.byte(*byte))
    }

    fn byte(&mut self, wanted: u8) -> Result<(), JsonError> {
        if self.peek()? != wanted {
            return Err(JsonError::Unexpected { at: self.at });
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Result<u8, JsonError> {
        self.bytes.get(self.at).copied().ok_or(JsonError::Incomplete)
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}
