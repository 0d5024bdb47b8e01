//! Cutting messages: a type byte, then a length that counts itself (Postgres documentation, "Message Formats").

use std::ffi::CStr;

use bytes::{Buf, BytesMut};

/// Bytes of a message's header: type and length.
pub const HEADER: usize = 5;

/// Largest message that must be read as a whole (Query, Parse …). Postgres allows 1 GiB; a statement that long is refused
/// with SQLSTATE 54000 rather than held in memory.
pub const MAX_BUFFERED: usize = 64 * 1024 * 1024;

/// Largest message of any kind: Postgres's own limit (`PQ_LARGE_MESSAGE_LIMIT`, MaxAllocSize - 1).
pub const MAX_MESSAGE: usize = 0x3fff_fffe;

/// Largest message whose size does not depend on data (`PQ_SMALL_MESSAGE_LIMIT`).
pub const MAX_SMALL: usize = 10_000;

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub tag: u8,
    /// Whole size in bytes, header included.
    pub size: usize,
}

/// A header that no well-behaved peer sends (SQLSTATE 08P01; the connection ends, since the next header cannot be found).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is less than the four bytes it counts itself with, or beyond the limit of its type.
    #[error("invalid message length {length} for message type {tag:?}", tag = *tag as char)]
    Length {
        /// Message type.
        tag: u8,
        /// The length as sent.
        length: i32,
    },
    /// Not a message type of this direction.
    #[error("invalid frontend message type {0}")]
    Type(u8),
}

/// Reads the header at the front of `buf`; `None` when fewer than five bytes are there.
///
/// The length is checked against the limit of its type before anybody allocates for it.
pub fn frontend_header(buf: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(&tag) = buf.first() else { return Ok(None) };
    let limit = match tag {
        b'Q' | b'P' | b'B' | b'd' | b'F' => MAX_MESSAGE,
        b'p' | b'D' | b'C' | b'E' | b'S' | b'H' | b'c' | b'f' | b'X' => MAX_SMALL,
        other => return Err(FrameError::Type(other)),
    };
    header(buf, limit)
}

/// Reads the header of a message of the server.
pub fn backend_header(buf: &[u8]) -> Result<Option<Header>, FrameError> {
    // What the server sends is bounded by its own MaxAllocSize; nothing is allocated for it here.
    header(buf, i32::MAX as usize - 1)
}

fn header(buf: &[u8], limit: usize) -> Result<Option<Header>, FrameError> {
    let Some((&[tag, a, b, c, d], _)) = buf.split_first_chunk::<HEADER>() else { return Ok(None) };
    let length = i32::from_be_bytes([a, b, c, d]);
    match usize::try_from(length) {
        Ok(size) if size >= 4 && size <= limit => Ok(Some(Header { tag, size: size + 1 })),
        _ => Err(FrameError::Length { tag, length }),
    }
}

/// Reads fields off the body of one message and never beyond it.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// The body of a message is not what its type says (SQLSTATE 08P01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It ends too early.
    #[error("insufficient data left in message")]
    Short,
    /// Bytes are left behind its last field.
    #[error("invalid message format: bytes left over")]
    Leftover,
    /// A string has no terminating NUL.
    #[error("invalid string in message")]
    Unterminated,
    /// A string is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    Encoding,
    /// A field has a value that is not defined.
    #[error("invalid field in message")]
    Field,
}

impl<'a> Reader<'a> {
    /// Reads `body` from its start.
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, BodyError> {
        let (&byte, rest) = self.rest.split_first().ok_or(BodyError::Short)?;
        self.rest = rest;
        Ok(byte)
    }

    /// A 16-bit integer.
    pub fn i16(&mut self) -> Result<i16, BodyError> {
        self.chunk().map(i16::from_be_bytes)
    }

    /// A 32-bit integer.
    pub fn i32(&mut self) -> Result<i32, BodyError> {
        self.chunk().map(i32::from_be_bytes)
    }

    /// `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], BodyError> {
        if count > self.rest.len() {
            return Err(BodyError::Short);
        }
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(bytes)
    }

    /// A NUL-terminated string, as bytes.
    pub fn cstr(&mut self) -> Result<&'a [u8], BodyError> {
        let text = CStr::from_bytes_until_nul(self.rest).map_err(|_| BodyError::Unterminated)?.to_bytes();
        self.rest = &self.rest[text.len() + 1..];
        Ok(text)
    }

    /// A NUL-terminated string that must be UTF-8.
    pub fn str(&mut self) -> Result<&'a str, BodyError> {
        std::str::from_utf8(self.cstr()?).map_err(|_| BodyError::Encoding)
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), BodyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(BodyError::Leftover) }
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], BodyError> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or(BodyError::Short)?;
        self.rest = rest;
        Ok(*chunk)
    }
}

/// Drops the message at the front of `buf`.
pub fn skip(buf: &mut BytesMut, header: Header) {
    buf.advance(header.size.min(buf.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_needs_five_bytes() {
        assert_eq!(frontend_header(b""), Ok(None));
        assert_eq!(frontend_header(b"Q\0\0\0"), Ok(None));
        assert_eq!(frontend_header(b"Q\0\0\0\x05\0"), Ok(Some(Header { tag: b'Q', size: 6 })));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for length in [i32::MIN, -1, 0, 3, i32::MAX] {
            let mut buf = vec![b'Q'];
            buf.extend(length.to_be_bytes());
            assert_eq!(frontend_header(&buf), Err(FrameError::Length { tag: b'Q', length }));
        }
        let mut sync = vec![b'S'];
        sync.extend(20_000_i32.to_be_bytes());
        assert!(frontend_header(&sync).is_err());
    }

    #[test]
    fn unknown_types_are_refused() {
        assert_eq!(frontend_header(b"!"), Err(FrameError::Type(b'!')));
    }

    #[test]
    fn strings_end_inside_their_message() {
        assert_eq!(Reader::new(b"abc").str(), Err(BodyError::Unterminated));
        assert_eq!(Reader::new(b"\xff\0").str(), Err(BodyError::Encoding));
        let mut reader = Reader::new(b"abc\0d");
        assert_eq!(reader.str(), Ok("abc"));
        assert_eq!(reader.finish(), Err(BodyError::Leftover));
    }
}
