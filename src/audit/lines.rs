//! Reads lines in bounded memory, forwards from a stream and backwards from a file's end.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::Path;

use super::chain::MAX_LINE;

/// What [`read_line`] found; the line itself is in the buffer, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A line that ends in a newline.
    Whole,
    /// The file ends without one.
    Torn,
    /// More than [`MAX_LINE`] bytes; the buffer holds the beginning, the rest was skipped.
    TooLong,
    /// The file has ended.
    End,
}

/// Reads one line into `line`, which never holds more than [`MAX_LINE`] bytes.
pub(super) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Found> {
    line.clear();
    let n = reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', line)?;
    if n == 0 {
        return Ok(Found::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Found::Whole);
    }
    if n < MAX_LINE {
        return Ok(Found::Torn);
    }
    loop {
        let buffer = reader.fill_buf()?;
        let skip = buffer.iter().position(|&b| b == b'\n');
        let n = skip.map_or(buffer.len(), |i| i + 1);
        reader.consume(n);
        if skip.is_some() || n == 0 {
            return Ok(Found::TooLong);
        }
    }
}

/// The last `max` bytes of a file, or all of it, and its length.
pub(super) fn read_end(file: &mut File, max: u64) -> io::Result<(Vec<u8>, u64)> {
    let len = file.seek(SeekFrom::End(0))?;
    let window = len.min(max);
    file.seek(SeekFrom::Start(len - window))?;
    let mut bytes = Vec::new();
    file.take(window).read_to_end(&mut bytes)?;
    Ok((bytes, len))
}

/// The last `n` whole lines of a file, and where they end: what stands behind is a line being written.
pub(super) fn last_lines(path: &Path, n: usize) -> io::Result<(Vec<Vec<u8>>, u64)> {
    const BLOCK: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let len = file.seek(SeekFrom::End(0))?;
    let mut start = len;
    let mut bytes: Vec<u8> = Vec::new();
    // One newline more than lines: the one before the first of them.
    let mut newlines = 0;
    while start > 0 && newlines <= n {
        let step = start.min(BLOCK);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.by_ref().take(step).read_to_end(&mut block)?;
        newlines += block.iter().filter(|&&b| b == b'\n').count();
        block.extend_from_slice(&bytes);
        bytes = block;
    }
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    let end = start + whole as u64;
    let mut lines: Vec<Vec<u8>> = bytes[..whole].split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    // What follows the last newline is empty.
    lines.pop();
    let surplus = lines.len().saturating_sub(n);
    lines.drain(..surplus);
    Ok((lines, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_whole_torn_and_too_long() {
        let mut text = b"one\n\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', MAX_LINE + 5));
        text.extend(b"\ntwo\ntorn");
        let mut reader = io::BufReader::new(&text[..]);
        let mut line = Vec::new();
        let mut found = Vec::new();
        loop {
            let what = read_line(&mut reader, &mut line).unwrap();
            if what == Found::End {
                break;
            }
            found.push((what, line.len()));
        }
        assert_eq!(
            found,
            [(Found::Whole, 3), (Found::Whole, 0), (Found::TooLong, MAX_LINE), (Found::Whole, 3), (Found::Torn, 4)]
        );
    }

    #[test]
    fn the_last_lines_are_found_across_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let text: String = (0..30_000).map(|i| format!("line {i}\n")).collect();
        std::fs::write(&path, format!("{text}torn")).unwrap();
        for n in [0, 1, 20, 29_999, 30_000, 40_000] {
            let (lines, end) = last_lines(&path, n).unwrap();
            assert_eq!((lines.len(), end), (n.min(30_000), text.len() as u64));
            let expected: Vec<_> = (30_000 - n.min(30_000)..30_000).map(|i| format!("line {i}").into_bytes()).collect();
            assert_eq!(lines, expected);
        }
        std::fs::write(&path, "").unwrap();
        assert_eq!(last_lines(&path, 5).unwrap(), (vec![], 0));
    }
}
