//! Which line a byte of a text stands in, so that errors name the line that a person's editor shows. Parsers count records, or skip blank
//! lines and the second half of CRLF without counting them.

/// Counts lines forward through one text.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    /// At the start of `text`, line 1.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, line: 1 }
    }

    /// The line, from 1, of the first byte at or after `offset` that does not end a line. Offsets must not decrease between calls; a
    /// smaller one gets the line of the last. LF, CRLF and CR end a line.
    pub fn at(&mut self, offset: usize) -> u64 {
        while let Some(byte) = self.text.get(self.at) {
            let ends = matches!(byte, b'\n' | b'\r');
            if self.at >= offset && !ends {
                break;
            }
            self.at += 1;
            if *byte == b'\n' || (*byte == b'\r' && self.text.get(self.at) != Some(&b'\n')) {
                self.line += 1;
            }
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_end_counts_once() {
        for text in ["a\nb\n\nc", "a\r\nb\r\n\r\nc", "a\rb\r\rc"] {
            let mut lines = Lines::new(text);
            let (b, c) = (text.find('b').unwrap(), text.find('c').unwrap());
            assert_eq!((lines.at(0), lines.at(b), lines.at(b + 1), lines.at(c), lines.at(c + 9)), (1, 2, 4, 4, 4), "{text:?}");
        }
    }

    #[test]
    fn an_offset_within_line_ends_belongs_to_the_text_after_them() {
        let mut lines = Lines::new("a\r\n\r\nb");
        assert_eq!(lines.at(2), 3);
        assert_eq!(Lines::new("").at(5), 1);
    }
}
