//! The hash chain: every line names the SHA-256 of the line before it and carries one over itself.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::Deserialize;

use super::line;
use super::record::Record;
use super::time;

/// Longest line in bytes, its newline included. `line` keeps every text bounded so that none comes near.
pub const MAX_LINE: usize = 1 << 20;

/// What stands between a line's content and its own hash.
const SEAL: &[u8] = b",\"hash\":\"";
/// Bytes from [`SEAL`] to the end of the line: the seal, 64 hex digits, `"}`.
const SEAL_LEN: usize = SEAL.len() + 64 + 2;

/// A SHA-256; shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Stands for the line before the first.
    pub const ZERO: Digest = Digest([0; 32]);

    /// The SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(bytes);
        Self::finish(context)
    }

    fn finish(context: Context) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        Self(out)
    }

    pub(super) fn hex(self) -> [u8; 64] {
        // Reckoned rather than looked up: many digits at once.
        let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
        let mut out = [0; 64];
        for (i, byte) in self.0.into_iter().enumerate() {
            out[2 * i] = digit(byte >> 4);
            out[2 * i + 1] = digit(byte & 15);
        }
        out
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hex().iter().try_for_each(|&b| fmt::Write::write_char(f, char::from(b)))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = LineError;

    /// Takes exactly what `Display` writes: upper-case digits would be a changed byte.
    fn from_str(text: &str) -> Result<Self, LineError> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return Err(LineError::Digest);
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(out))
    }
}

fn nibble(digit: u8) -> Result<u8, LineError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(LineError::Digest),
    }
}

/// Where a trail stands: what the next line must continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `seq` of the last line; 0 before the first.
    pub seq: u64,
    /// SHA-256 of the last line without its newline; zero before the first.
    pub last: Digest,
}

impl Chain {
    /// An empty trail.
    pub const START: Chain = Chain { seq: 0, last: Digest::ZERO };

    /// Appends the record's line, newline included, to `out` and advances.
    pub(super) fn seal(&mut self, record: &Record, time_us: i64, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        line::write(self.seq + 1, self.last, time_us, record, out)?;
        // The closing brace makes room for the hash, which is the last field.
        out.pop();
        let mut context = Context::new(&SHA256);
        context.update(&out[start..]);
        let own = Digest::finish(context.clone());
        let sealed_at = out.len();
        out.extend_from_slice(SEAL);
        out.extend_from_slice(&own.hex());
        out.extend_from_slice(b"\"}");
        context.update(&out[sealed_at..]);
        out.push(b'\n');
        self.last = Digest::finish(context);
        self.seq += 1;
        Ok(())
    }
}

/// What a whole, unharmed line says of its place in the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its number.
    pub seq: u64,
    /// SHA-256 of the line before it.
    pub prev: Digest,
    /// Its time, in microseconds since 1970.
    pub time_us: i64,
    /// SHA-256 of the line itself: the next one's `prev`.
    pub digest: Digest,
}

impl Header {
    /// Reads a line without its newline, and checks the hash that it carries.
    pub fn read(line: &[u8]) -> Result<Self, LineError> {
        let content_len = line.len().checked_sub(SEAL_LEN).ok_or(LineError::NoHash)?;
        let (content, seal) = line.split_at(content_len);
        let hex = seal
            .strip_prefix(SEAL)
            .and_then(|s| s.strip_suffix(b"\"}"))
            .and_then(|s| std::str::from_utf8(s).ok())
            .ok_or(LineError::NoHash)?;
        if hex.parse::<Digest>()? != Digest::of(content) {
            return Err(LineError::Hash);
        }
        let fields: Fields<'_> = serde_json::from_slice(line).map_err(|e| LineError::Json(e.to_string()))?;
        Ok(Self {
            seq: fields.seq,
            prev: fields.prev.parse()?,
            time_us: time::parse(&fields.time).ok_or(LineError::Time)?,
            digest: Digest::of(line),
        })
    }
}

impl Header {
    /// Where the trail stands after this line.
    pub fn chain(&self) -> Chain {
        Chain { seq: self.seq, last: self.digest }
    }
}

/// The fields that every line must have; serde refuses a line that has one twice.
#[derive(Deserialize)]
struct Fields<'a> {
    seq: u64,
    #[serde(borrow)]
    prev: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow, rename = "event")]
    _event: Cow<'a, str>,
}

/// Why a line is not a record as this program writes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It does not end in a `hash` field.
    #[error("it does not end in a hash field")]
    NoHash,
    /// A hash is not 64 lower-case hex digits.
    #[error("a hash in it is not 64 lower-case hex digits")]
    Digest,
    /// It is not what its hash was made of.
    #[error("its content does not match its own hash")]
    Hash,
    /// It is not a JSON object with the fields that every record has.
    #[error("it is not a record in JSON: {0}")]
    Json(String),
    /// Its time is not RFC 3339 UTC.
    #[error("its time is not RFC 3339 UTC")]
    Time,
}

#[cfg(test)]
mod tests {
    use super::super::record::Event;
    use super::*;

    fn trail(n: usize) -> Vec<Vec<u8>> {
        let mut chain = Chain::START;
        (0..n)
            .map(|i| {
                let mut out = Vec::new();
                chain.seal(&Record::new(Event::Admin), i as i64, &mut out).unwrap();
                assert_eq!(out.pop(), Some(b'\n'));
                out
            })
            .collect()
    }

    #[test]
    fn sha256_of_a_known_text() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), hex);
        assert_eq!(hex.parse::<Digest>(), Ok(Digest::of(b"abc")));
        assert_eq!(hex.to_uppercase().parse::<Digest>(), Err(LineError::Digest));
    }

    #[test]
    fn lines_name_the_line_before_them() {
        let lines = trail(3);
        let headers: Vec<_> = lines.iter().map(|l| Header::read(l).unwrap()).collect();
        assert_eq!(headers.iter().map(|h| h.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(headers[0].prev, Digest::ZERO);
        assert_eq!(headers[1].prev, Digest::of(&lines[0]));
        assert_eq!(headers[2].prev, Digest::of(&lines[1]));
        assert_eq!(headers[2].digest, Digest::of(&lines[2]));
    }

    #[test]
    fn every_changed_byte_of_a_line_is_found_in_the_line_itself() {
        let line = trail(1).remove(0);
        for i in 0..line.len() {
            for change in [1, 0x20, 0x80] {
                let mut bad = line.clone();
                bad[i] ^= change;
                assert!(Header::read(&bad).is_err(), "byte {i} ^ {change:#x}: {}", String::from_utf8_lossy(&bad));
            }
            let mut short = line.clone();
            short.remove(i);
            assert!(Header::read(&short).is_err(), "byte {i} removed");
        }
    }

    #[test]
    fn a_line_with_a_good_hash_but_no_record_is_refused() {
        for content in ["{\"seq\":1", "{\"seq\":1,\"seq\":2,\"prev\":\"\",\"time\":\"\",\"event\":\"x\"", "[", ""] {
            let line = format!("{content},\"hash\":\"{}\"}}", Digest::of(content.as_bytes()));
            assert!(matches!(Header::read(line.as_bytes()), Err(LineError::Json(_))), "{line}");
        }
    }
}
