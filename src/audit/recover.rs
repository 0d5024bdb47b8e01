//! Opens a trail: locks it, mends what a crash left at its end, and finds where its chain goes on.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::chain::{Chain, Digest, Header, MAX_LINE};
use super::checkpoint::{Checkpoint, Signer, checkpoint_path};
use super::error::AuditError;
use super::file::{FileSink, open_for_append};
use super::lines::read_end;
use super::rotation::{beside, directory, rotated_files};
use super::time;
use super::writer::MAX_UNSYNCED;

/// What a crash can have harmed, and a whole line before it.
const WINDOW: u64 = (MAX_UNSYNCED + 2 * MAX_LINE) as u64;

/// A trail that is ready to be written.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) sink: FileSink,
    /// Where the chain goes on.
    pub(super) chain: Chain,
    /// Length of the current file.
    pub(super) len: u64,
    /// Records about what was found, to be written first.
    pub(super) findings: Vec<String>,
}

/// Opens the trail at `path`, whose directory is made if need be. `signer` is what its checkpoints should be signed by.
pub(super) fn open(path: &Path, signer: Option<&Signer>) -> Result<Opened, AuditError> {
    let dir = directory(path);
    std::fs::create_dir_all(dir).map_err(|e| AuditError::io("create directory", dir, e))?;
    let lock = lock(path)?;
    let mut file = open_for_append(path).map_err(|e| AuditError::io("open file", path, e))?;
    let mut findings = Vec::new();
    let end = mend(path, &mut file, &mut findings)?;
    let rotated = rotated_files(path).map_err(|e| AuditError::io("read directory", dir, e))?.pop();
    let chain = match (end.last, rotated) {
        (Some(chain), Some((last, older))) if chain.seq <= last => {
            return Err(broken(
                path,
                format!("it ends at seq {}, before the end of \"{}\"", chain.seq, older.display()),
            ));
        }
        (Some(chain), _) => chain,
        (None, Some((last, older))) => {
            let chain = end_of_rotated(&older)?;
            if chain.seq != last {
                return Err(broken(&older, format!("its last record has seq {}, its name says {last}", chain.seq)));
            }
            findings.insert(0, continues(&older));
            chain
        }
        (None, None) => Chain::START,
    };
    findings.extend(heed_checkpoint(path, chain, signer)?);
    Ok(Opened { sink: FileSink::new(path.to_owned(), file, lock), chain, len: end.len, findings })
}

/// The message of the first record of a file that follows a rotated one.
pub(super) fn continues(rotated: &Path) -> String {
    let name = rotated.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    format!("audit.rotated: continues {name}")
}

fn broken(path: &Path, reason: String) -> AuditError {
    AuditError::Broken { path: path.to_owned(), reason }
}

/// Takes the advisory lock `<path>.lock`. It is a file of its own because the trail's file changes its name at rotation.
fn lock(path: &Path) -> Result<File, AuditError> {
    let lock_path = beside(path, ".lock");
    let io = |e| AuditError::io("lock file", &lock_path, e);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&lock_path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.take(32).read_to_string(&mut text);
            return Err(AuditError::Locked { path: path.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    // Only for the message above: failing to write it is no reason not to run.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// The end of a file after mending.
struct End {
    /// `None` when the file is empty.
    last: Option<Chain>,
    len: u64,
}

/// Cuts what a crash in the middle of a write left behind the last whole line, and reads that line.
fn mend(path: &Path, file: &mut File, findings: &mut Vec<String>) -> Result<End, AuditError> {
    let (bytes, len) = read_end(file, WINDOW).map_err(|e| AuditError::io("read file", path, e))?;
    let start = len - bytes.len() as u64;
    let good = match whole_lines(&bytes) {
        0 if start > 0 => return Err(broken(path, format!("its last {} bytes hold no whole line", bytes.len()))),
        good => good,
    };
    // Read the last line before anything is changed: a file that is refused stays as it was found.
    let last = match bytes[..good].split_last() {
        None => None,
        Some((_newline, lines)) => {
            let line = lines.rsplit(|&b| b == b'\n').next().unwrap_or_default();
            let header = Header::read(line)
                .map_err(|e| broken(path, format!("its last line is not a record of this program ({e})")))?;
            Some(header.chain())
        }
    };
    if good < bytes.len() {
        findings.push(set_aside(path, file, start + good as u64, &bytes[good..])?);
    }
    Ok(End { last, len: start + good as u64 })
}

/// How many bytes at the beginning of a file's end hold whole lines that were written completely. A line that holds a NUL was
/// not: after a power loss a file can be longer than what of it reached the disk, and reads as zeros there.
fn whole_lines(end: &[u8]) -> usize {
    let written = end.iter().position(|&b| b == 0).unwrap_or(end.len());
    end[..written].iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1)
}

/// Moves the torn end of the file into a file beside it, and says so in the words of the record.
fn set_aside(path: &Path, file: &File, at: u64, torn: &[u8]) -> Result<String, AuditError> {
    let side = beside(path, &format!(".torn-{}", time::file_name(time::now_us())));
    let write = || {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&side)?;
        out.write_all(torn)?;
        out.sync_all()
    };
    write().map_err(|e| AuditError::io("write file", &side, e))?;
    file.set_len(at).and_then(|()| file.sync_all()).map_err(|e| AuditError::io("truncate file", path, e))?;
    let name = side.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(format!(
        "audit.recovered: cut off a torn end of {} bytes (sha256 {}), kept in {name}",
        torn.len(),
        Digest::of(torn)
    ))
}

/// A rotated file was synced before it got its name, so a crash is no excuse for a bad end.
fn end_of_rotated(path: &Path) -> Result<Chain, AuditError> {
    let (bytes, _) = File::open(path)
        .and_then(|mut file| read_end(&mut file, WINDOW))
        .map_err(|e| AuditError::io("read file", path, e))?;
    let Some((&b'\n', lines)) = bytes.split_last() else {
        return Err(broken(path, "it does not end in a whole line".into()));
    };
    let line = lines.rsplit(|&b| b == b'\n').next().unwrap_or_default();
    let header = Header::read(line).map_err(|e| broken(path, format!("its last line is not a record ({e})")))?;
    Ok(header.chain())
}

/// A checkpoint is written after its records are on disk: a trail that ends before it has lost records since. Going on would
/// replace the checkpoint, the only thing that shows it. A checkpoint that is missing or not signed by our key may have been
/// taken away for that reason, or the key is new: the trail says so and goes on.
fn heed_checkpoint(path: &Path, chain: Chain, signer: Option<&Signer>) -> Result<Option<String>, AuditError> {
    let at = checkpoint_path(path);
    let unsigned = |what: &str| {
        signer
            .filter(|_| chain != Chain::START)
            .map(|_| format!("audit.unsigned: nothing vouches for the trail up to seq {}: {what}", chain.seq))
    };
    let checkpoint = match Checkpoint::read(&at) {
        Ok(None) => return Ok(unsigned("there is no checkpoint")),
        Ok(Some(checkpoint)) => checkpoint,
        Err(e) => return Err(broken(path, e.to_string())),
    };
    if checkpoint.seq > chain.seq {
        return Err(broken(
            path,
            format!("it ends at seq {}, but a checkpoint was signed at seq {}", chain.seq, checkpoint.seq),
        ));
    }
    if checkpoint.seq == chain.seq && checkpoint.hash != chain.last.to_string() {
        return Err(broken(path, format!("its record {} is not the one its checkpoint was signed for", chain.seq)));
    }
    let doubt = signer.and_then(|s| checkpoint.check(Some(&s.public_key())).err());
    Ok(doubt.and_then(|e| unsigned(&e.to_string())))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::checkpoint::tests::key_pair;
    use super::super::record::{Event, Record};
    use super::*;

    /// Lines 1..=n of a trail, each with its newline.
    fn lines(n: usize) -> Vec<Vec<u8>> {
        let mut chain = Chain::START;
        let mut line = |i| {
            let mut out = Vec::new();
            chain.seal(&Record::new(Event::Admin), i as i64, &mut out).unwrap();
            out
        };
        (0..n).map(&mut line).collect()
    }

    fn trail(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn side_files(dir: &Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for entry in dir.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().contains(".torn-") {
                found.push(std::fs::read(path).unwrap());
            }
        }
        found
    }

    #[test]
    fn a_file_cut_at_any_byte_opens_at_its_last_whole_line() {
        let lines = lines(3);
        let whole = lines.concat();
        for cut in 0..=whole.len() {
            let (dir, path) = trail(&whole[..cut]);
            let opened = open(&path, None).unwrap();
            let kept: usize = lines
                .iter()
                .map(Vec::len)
                .scan(0, |at, n| {
                    *at += n;
                    Some(*at)
                })
                .filter(|&at| at <= cut)
                .last()
                .unwrap_or(0);
            assert_eq!(opened.len, kept as u64, "cut at {cut}");
            assert_eq!(std::fs::read(&path).unwrap(), &whole[..kept]);
            if kept < cut {
                assert_eq!(side_files(dir.path()), [whole[kept..cut].to_vec()]);
                let torn = &whole[kept..cut];
                let expected = format!(
                    "audit.recovered: cut off a torn end of {} bytes (sha256 {})",
                    torn.len(),
                    Digest::of(torn)
                );
                assert!(opened.findings[0].starts_with(&expected), "{:?}", opened.findings);
            } else {
                assert!(opened.findings.is_empty() && side_files(dir.path()).is_empty());
            }
        }
    }

    #[test]
    fn zeros_that_a_power_loss_left_are_cut_with_the_line_they_stand_in() {
        let lines = lines(3);
        let mut harmed = lines.concat();
        let second = lines[0].len()..lines[0].len() + 10;
        harmed[second].fill(0);
        let (_dir, path) = trail(&harmed);
        let opened = open(&path, None).unwrap();
        assert_eq!((opened.chain.seq, opened.len), (1, lines[0].len() as u64));
    }

    #[test]
    fn a_last_line_that_is_no_record_is_refused_and_left_alone() {
        let mut bytes = lines(2).concat();
        let at = bytes.len() - 100;
        bytes[at] ^= 1;
        let (dir, path) = trail(&bytes);
        let error = open(&path, None).unwrap_err();
        assert!(matches!(&error, AuditError::Broken { path: p, .. } if *p == path), "{error}");
        assert!(error.hint().contains("audit verify"));
        // The same with a torn line behind it: nothing is cut before the refusal.
        bytes.extend(b"{\"seq");
        std::fs::write(&path, &bytes).unwrap();
        open(&path, None).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert!(side_files(dir.path()).is_empty());
    }

    #[test]
    fn a_second_opener_is_refused_until_the_first_is_gone() {
        let (_dir, path) = trail(b"");
        let first = open(&path, None).unwrap();
        let error = open(&path, None).unwrap_err();
        assert!(matches!(error, AuditError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
        drop(first);
        open(&path, None).unwrap();
    }

    #[test]
    fn a_missing_file_is_continued_from_the_newest_rotated_one() {
        let lines = lines(5);
        let (dir, path) = trail(b"");
        let rotated = |seq: usize| dir.path().join(format!("audit-{seq:020}.jsonl"));
        std::fs::write(rotated(2), lines[..2].concat()).unwrap();
        std::fs::write(rotated(5), lines[2..].concat()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let opened = open(&path, None).unwrap();
        assert_eq!((opened.chain.seq, opened.len), (5, 0));
        assert_eq!(opened.findings, ["audit.rotated: continues audit-00000000000000000005.jsonl"]);
        drop(opened);

        // A rotated file whose end is missing, and a current file from before the rotation: both would fork the trail.
        std::fs::write(rotated(5), lines[2..4].concat()).unwrap();
        assert!(open(&path, None).unwrap_err().to_string().contains("its name says 5"));
        std::fs::write(&path, lines[..4].concat()).unwrap();
        assert!(open(&path, None).unwrap_err().to_string().contains("before the end of"));
    }

    #[test]
    fn a_trail_shorter_than_its_checkpoint_is_refused() {
        let lines = lines(3);
        let (_dir, path) = trail(&lines[..2].concat());
        let checkpoint = |seq, hash: Digest| {
            let text =
                format!("{{\"seq\":{seq},\"hash\":\"{hash}\",\"time\":\"\",\"public_key\":\"\",\"signature\":\"\"}}");
            std::fs::write(checkpoint_path(&path), text).unwrap();
        };
        let hash = |i: usize| Digest::of(&lines[i][..lines[i].len() - 1]);
        checkpoint(3, hash(2));
        assert!(open(&path, None).unwrap_err().to_string().contains("signed at seq 3"));
        checkpoint(2, hash(0));
        assert!(open(&path, None).unwrap_err().to_string().contains("record 2 is not the one"));
        checkpoint(2, hash(1));
        open(&path, None).unwrap();
        checkpoint(1, hash(0));
        open(&path, None).unwrap();
    }

    #[test]
    fn a_trail_that_lost_its_checkpoint_says_so() {
        let lines = lines(2);
        let (dir, path) = trail(b"");
        let key = dir.path().join("key.pem");
        let signer = || {
            std::fs::write(&key, key_pair().0).unwrap();
            Signer::load(&key, &path).unwrap()
        };
        let ours = signer();
        let findings = |signer: &Signer| open(&path, Some(signer)).unwrap().findings;
        assert!(findings(&ours).is_empty());
        std::fs::write(&path, lines.concat()).unwrap();
        assert_eq!(
            findings(&ours),
            ["audit.unsigned: nothing vouches for the trail up to seq 2: there is no checkpoint"]
        );
        ours.write(Header::read(lines[1].trim_ascii_end()).unwrap().chain()).unwrap();
        assert!(findings(&ours).is_empty());
        assert!(findings(&signer())[0].ends_with("signed by another key than the one given"));
    }
}
