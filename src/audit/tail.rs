//! Reads the newest records of a trail, follows it across rotation, and shows a record to a person in one line.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::MAX_LINE;
use super::lines::last_lines;
use super::rotation::rotated_files;

/// Longest SQL text or message in a line for people, in characters.
const MAX_SHOWN: usize = 120;

/// Reads a trail from its newest records on, across rotation.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// `None` while there is no current file, as between rotation and the next record.
    file: Option<File>,
    position: u64,
    /// A line whose end has not been written yet.
    partial: Vec<u8>,
    /// `seq` of the last line passed on, or what the name of a rotated file that was read says it was.
    last: u64,
    /// The `seq` that the name of the file being read says it ends with; 0 when it is the current one.
    ends: u64,
}

impl Follower {
    /// Opens the trail whose current file is `path` and returns its last `n` lines, oldest first. Those that the current file
    /// does not hold come from the rotated ones.
    pub fn open(path: &Path, n: usize) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let file = File::open(path)?;
        let (mut lines, position) = last_lines(path, n.max(1))?;
        let rotated = rotated_files(path)?;
        let newest = lines.last().and_then(|l| seq(l)).or(rotated.last().map(|(last, _)| *last));
        lines.drain(..lines.len().saturating_sub(n));
        for (_, older) in rotated.iter().rev() {
            if lines.len() >= n {
                break;
            }
            let (mut before, _) = last_lines(older, n - lines.len())?;
            before.append(&mut lines);
            lines = before;
        }
        let (path, last) = (path.to_owned(), newest.unwrap_or(0));
        Ok((Self { path, file: Some(file), position, partial: Vec::new(), last, ends: 0 }, lines))
    }

    /// Passes on every line that was written since the last call; returns at the trail's end without waiting.
    pub fn poll(&mut self, line: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            // Asked before reading: what the file gets afterwards, the next call reads.
            let current = self.is_current()?;
            self.read_on(line)?;
            if current || !self.open_next()? {
                return Ok(());
            }
        }
    }

    /// Whether the file being read is still the one at the trail's path.
    fn is_current(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let ours = file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(theirs) => Ok((theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn read_on(&mut self, line: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let len = file.metadata()?.len();
        if len < self.position {
            // A write failed and was cut back to whole lines.
            self.position = len;
            self.partial.clear();
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut block = Vec::new();
        loop {
            block.clear();
            let n = file.by_ref().take(64 << 10).read_to_end(&mut block)?;
            if n == 0 {
                return Ok(());
            }
            self.position += n as u64;
            for piece in block.split_inclusive(|&b| b == b'\n') {
                // What is longer than any record is passed on in pieces rather than gathered.
                if self.partial.len() < MAX_LINE {
                    self.partial.extend_from_slice(piece);
                }
                if self.partial.last() == Some(&b'\n') || self.partial.len() >= MAX_LINE {
                    let whole = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
                    self.last = seq(whole).unwrap_or(self.last);
                    line(whole);
                    self.partial.clear();
                }
            }
        }
    }

    /// Goes on to the file that holds the record after the last one: a rotated one, named for its last record, or the current.
    fn open_next(&mut self) -> io::Result<bool> {
        // Even if it did not hold what its name says, it is not read again.
        self.last = self.last.max(self.ends);
        let next = rotated_files(&self.path)?.into_iter().find(|(last, _)| *last > self.last);
        let path = next.as_ref().map_or(&self.path, |(_, path)| path);
        let opened = match File::open(path) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let found = opened.is_some();
        self.ends = next.map_or(0, |(last, _)| last);
        self.file = opened;
        self.position = 0;
        self.partial.clear();
        Ok(found)
    }
}

/// The `seq` a line begins with.
fn seq(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"{\"seq\":")?;
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// The fields that a person is shown.
#[derive(Deserialize)]
struct Shown {
    time: String,
    event: String,
    user: Option<String>,
    database: Option<String>,
    tier: Option<String>,
    verdict: Option<String>,
    rule: Option<String>,
    #[serde(default)]
    would_deny: Vec<WouldDeny>,
    rows: Option<u64>,
    duration_us: Option<u64>,
    sqlstate: Option<String>,
    sql: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct WouldDeny {
    rule: String,
    verdict: String,
}

/// One line for people: time, user and database, event, verdict and rule, outcome, text. What is not a record is shown as it is.
/// Nothing in it can move the cursor or change colours of a terminal.
pub fn human(line: &[u8]) -> String {
    let Ok(record) = serde_json::from_slice::<Shown>(line) else {
        return format!("not a record: {}", shortened(&String::from_utf8_lossy(line)));
    };
    let mut words = vec![record.time];
    if let Some(user) = record.user {
        let database = record.database.unwrap_or_default();
        let tier = record.tier.map(|t| format!(":{t}")).unwrap_or_default();
        words.push(format!("{user}@{database}{tier}"));
    }
    words.push(record.event);
    match (record.verdict, record.rule) {
        (Some(verdict), Some(rule)) => words.push(format!("{verdict}/{rule}")),
        (Some(word), None) | (None, Some(word)) => words.push(word),
        (None, None) => {}
    }
    words.extend(record.would_deny.iter().map(|w| format!("would:{}/{}", w.verdict, w.rule)));
    words.extend(record.sqlstate.map(|s| format!("SQLSTATE={s}")));
    words.extend(record.rows.map(|n| format!("rows={n}")));
    words.extend(record.duration_us.map(|us| format!("{}.{:03}ms", us / 1000, us % 1000)));
    words.extend(record.sql.map(|s| shortened(&s)));
    words.extend(record.message.map(|m| format!("-- {}", shortened(&m))));
    words
        .iter()
        .map(|w| w.chars().map(|c| if is_plain(c) { c } else { '�' }).collect())
        .collect::<Vec<String>>()
        .join(" ")
}

/// White space folded, at most [`MAX_SHOWN`] characters.
fn shortened(text: &str) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match folded.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &folded[..end]),
        None => folded,
    }
}

/// No control characters, and none that turn the direction of writing: a text must not look like another.
fn is_plain(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::super::rotation::rotated_path;
    use super::*;

    fn line(seq: u64) -> String {
        format!("{{\"seq\":{seq},\"prev\":\"\"}}\n")
    }

    fn append(path: &Path, text: &str) {
        use std::io::Write;
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn polled(follower: &mut Follower) -> Vec<u64> {
        let mut found = Vec::new();
        follower.poll(&mut |l| found.push(seq(l).unwrap())).unwrap();
        found
    }

    #[test]
    fn the_last_lines_reach_back_into_rotated_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        append(&rotated_path(&path, 2), &(line(1) + &line(2)));
        append(&rotated_path(&path, 3), &line(3));
        append(&path, &(line(4) + &line(5) + "{\"seq\":6"));
        for n in 0..7 {
            let seqs: Vec<_> = Follower::open(&path, n).unwrap().1.iter().map(|l| seq(l).unwrap()).collect();
            assert_eq!(seqs, (6 - n.min(5) as u64..6).collect::<Vec<_>>());
        }
    }

    #[test]
    fn following_sees_every_line_once_across_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        append(&path, &line(1));
        let (mut follower, lines) = Follower::open(&path, 10).unwrap();
        assert_eq!((lines.len(), polled(&mut follower)), (1, vec![]));
        // A line in two pieces.
        append(&path, "{\"seq\":2");
        assert_eq!(polled(&mut follower), [0; 0]);
        append(&path, &line(2)[8..]);
        assert_eq!(polled(&mut follower), [2]);
        // Rotated once, the new file not made yet; then twice between two looks.
        append(&path, &line(3));
        std::fs::rename(&path, rotated_path(&path, 3)).unwrap();
        assert_eq!(polled(&mut follower), [3]);
        assert_eq!(polled(&mut follower), [0; 0]);
        for last in [5, 7] {
            append(&path, &(line(last - 1) + &line(last)));
            std::fs::rename(&path, rotated_path(&path, last)).unwrap();
        }
        append(&path, &line(8));
        assert_eq!(polled(&mut follower), [4, 5, 6, 7, 8]);
        append(&path, &line(9));
        assert_eq!(polled(&mut follower), [9]);
        // A failed write that was cut back.
        append(&path, "{\"seq\":10,\"x");
        assert_eq!(polled(&mut follower), [0; 0]);
        File::options().write(true).open(&path).unwrap().set_len((line(8) + &line(9)).len() as u64).unwrap();
        assert_eq!(polled(&mut follower), [0; 0]);
        append(&path, &line(10));
        assert_eq!(polled(&mut follower), [10]);
    }

    #[test]
    fn following_begins_at_the_end_and_does_not_hang_on_a_broken_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        append(&rotated_path(&path, 2), &(line(1) + &line(2)));
        append(&path, &line(3));
        let (mut follower, lines) = Follower::open(&path, 0).unwrap();
        assert!(lines.is_empty());
        std::fs::rename(&path, rotated_path(&path, 3)).unwrap();
        append(&rotated_path(&path, 9), &line(4));
        append(&path, &line(10));
        assert_eq!(polled(&mut follower), [4, 10]);
    }

    #[test]
    fn a_record_in_one_line() {
        let text = br#"{"seq":1,"prev":"","time":"2026-01-02T03:04:05.000006Z","event":"deny","user":"alice","database":"app",
            "tier":"prod","verdict":"deny","rule":"unbounded-write","sql":"DELETE\n  FROM t","duration_us":1500,"sqlstate":"42501"}"#;
        assert_eq!(
            human(text),
            "2026-01-02T03:04:05.000006Z alice@app:prod deny deny/unbounded-write SQLSTATE=42501 1.500ms DELETE FROM t"
        );
        let text = br#"{"time":"T","event":"admin","message":"audit.started: x"}"#;
        assert_eq!(human(text), "T admin -- audit.started: x");
        assert_eq!(human(b"{broken"), "not a record: {broken");
    }

    #[test]
    fn a_text_cannot_play_tricks_on_the_terminal() {
        let text = format!(
            "{{\"time\":\"T\",\"event\":\"deny\",\"user\":\"a\\u001b[2J\",\"sql\":\"SELECT \\u001b[31m\\u202e{}\"}}",
            "x".repeat(500)
        );
        let shown = human(text.as_bytes());
        assert!(shown.chars().all(is_plain) && shown.chars().count() < 200, "{shown}");
    }
}
