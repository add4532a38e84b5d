//! Lines of a text file of any usual encoding, read as a stream: UTF-8 and UTF-16 with or without a byte
//! order mark; lines end with a line feed, a carriage return, or both.
//!
//! Other characters that Unicode calls line breaks (next line, line separator) end no line, since they may
//! stand inside a text.

use std::io::{self, BufRead};

/// Bytes of the longest line that is read.
const MAX_LINE: usize = 1 << 26;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// Why a line cannot be read.
#[derive(Debug)]
pub enum LineError {
    /// The file cannot be read.
    Io(io::Error),
    /// The line is not text.
    NotText(String),
}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> LineError {
        LineError::Io(error)
    }
}

/// The lines of `reader`.
pub struct Lines<R> {
    reader: R,
    encoding: Encoding,
    /// The bytes of the line.
    bytes: Vec<u8>,
    number: usize,
    /// The line before ended with a carriage return, which a line feed may follow.
    after_return: bool,
}

impl<R: BufRead> Lines<R> {
    /// Finds the encoding and skips the byte order mark. A reader that gives less than four bytes at first is
    /// taken for UTF-8.
    pub fn new(mut reader: R) -> Result<Lines<R>, LineError> {
        let begin = reader.fill_buf()?;
        let (encoding, mark) = match begin {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
                return Err(LineError::NotText("is UTF-32; save the file as UTF-8".into()));
            }
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16Le, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16Be, 2),
            _ => (without_mark(begin), 0),
        };
        reader.consume(mark);
        let bytes = Vec::new();
        Ok(Lines { reader, encoding, bytes, number: 0, after_return: false })
    }

    /// The number of the line read last, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The next line without its end; `None` after the last. A file that ends with a line end has no
    /// empty line after it.
    pub fn next(&mut self) -> Result<Option<&str>, LineError> {
        let found = match self.encoding {
            Encoding::Utf8 => self.read_bytes()?,
            Encoding::Utf16Le | Encoding::Utf16Be => self.read_units()?,
        };
        if !found {
            return Ok(None);
        }
        let text = std::str::from_utf8(&self.bytes).map_err(|error| {
            let at = error.valid_up_to() + 1;
            LineError::NotText(format!("byte {at} of the line is not UTF-8; save the file as UTF-8"))
        })?;
        if let Some(at) = text.bytes().position(|byte| byte == 0) {
            let why = format!("byte {} of the line is NUL; is this a text file?", at + 1);
            return Err(LineError::NotText(why));
        }
        Ok(Some(text))
    }

    /// All lines that are left, as UTF-8, each with a line feed.
    pub fn rest(&mut self) -> Result<Vec<u8>, LineError> {
        let mut all = Vec::new();
        while let Some(line) = self.next()? {
            all.extend(line.as_bytes());
            all.push(b'\n');
        }
        Ok(all)
    }

    /// Reads a line of UTF-8 into `bytes`; `false` at the end.
    fn read_bytes(&mut self) -> Result<bool, LineError> {
        self.begin_line();
        loop {
            let mut buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(self.end_of_file());
            }
            if std::mem::take(&mut self.after_return) && buffer[0] == b'\n' {
                self.reader.consume(1);
                buffer = self.reader.fill_buf()?;
                if buffer.is_empty() {
                    return Ok(self.end_of_file());
                }
            }
            let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.bytes.extend_from_slice(&buffer[..end.unwrap_or(buffer.len())]);
            match end {
                Some(end) => {
                    self.after_return = buffer[end] == b'\r';
                    self.reader.consume(end + 1);
                    return Ok(true);
                }
                None => {
                    let n = buffer.len();
                    self.reader.consume(n);
                }
            }
            self.check_length()?;
        }
    }

    /// The same of UTF-16.
    fn read_units(&mut self) -> Result<bool, LineError> {
        self.begin_line();
        let mut high = None;
        let half = |unit: u16| {
            LineError::NotText(format!("{unit:04x} is half of a character of UTF-16; save the file as UTF-8"))
        };
        loop {
            let Some(unit) = self.unit()? else {
                return match high {
                    Some(high) => Err(half(high)),
                    None => Ok(self.end_of_file()),
                };
            };
            let after_return = std::mem::take(&mut self.after_return);
            let before = high.take();
            let text = match (before, unit) {
                (None, 0xd800..0xdc00) => {
                    high = Some(unit);
                    continue;
                }
                (None, 0x0a) if after_return => continue,
                (None, 0x0a | 0x0d) => {
                    self.after_return = unit == 0x0d;
                    return Ok(true);
                }
                (Some(high), low) => char::decode_utf16([high, low]).next(),
                (None, unit) => char::decode_utf16([unit]).next(),
            };
            let character = text.and_then(Result::ok).ok_or_else(|| half(before.unwrap_or(unit)))?;
            self.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            self.check_length()?;
        }
    }

    fn unit(&mut self) -> Result<Option<u16>, LineError> {
        let mut bytes = [0; 2];
        for (n, place) in bytes.iter_mut().enumerate() {
            match self.reader.fill_buf()?.first() {
                Some(byte) => *place = *byte,
                None if n == 0 => return Ok(None),
                None => {
                    return Err(LineError::NotText(
                        "half a character of UTF-16 is missing at the end".into(),
                    ));
                }
            }
            self.reader.consume(1);
        }
        Ok(Some(match self.encoding {
            Encoding::Utf16Be => u16::from_be_bytes(bytes),
            _ => u16::from_le_bytes(bytes),
        }))
    }

    fn begin_line(&mut self) {
        self.bytes.clear();
        self.number += 1;
    }

    /// Whether the file ends with a line, which has no end.
    fn end_of_file(&mut self) -> bool {
        !self.bytes.is_empty()
    }

    fn check_length(&self) -> Result<(), LineError> {
        match self.bytes.len() > MAX_LINE {
            true => Err(LineError::NotText(format!(
                "the line is longer than {} MB; expected one question a line",
                MAX_LINE >> 20
            ))),
            false => Ok(()),
        }
    }
}

/// The encoding of a text without a byte order mark: UTF-16 where it begins with two ASCII characters of 16
/// bits, whose NUL bytes no text in UTF-8 has.
fn without_mark(begin: &[u8]) -> Encoding {
    match *begin {
        [1..=0x7f, 0, 1..=0x7f, 0, ..] => Encoding::Utf16Le,
        [0, 1..=0x7f, 0, 1..=0x7f, ..] => Encoding::Utf16Be,
        _ => Encoding::Utf8,
    }
}
