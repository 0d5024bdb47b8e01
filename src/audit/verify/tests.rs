use std::path::PathBuf;

use super::super::chain::Chain;
use super::super::checkpoint::Signer;
use super::super::checkpoint::tests::key_pair;
use super::super::record::{Event, Record};
use super::*;

/// Lines 1..=n of a trail, each with its newline.
fn trail(n: i64) -> Vec<Vec<u8>> {
    let mut chain = Chain::START;
    let now = time::now_us();
    let mut line = |i| {
        let mut out = Vec::new();
        let record = Record { message: Some(format!("number {i}")), ..Record::new(Event::Admin) };
        chain.seal(&record, now + i, &mut out).unwrap();
        out
    };
    (0..n).map(&mut line).collect()
}

struct Fixture {
    dir: tempfile::TempDir,
    files: Vec<PathBuf>,
}

impl Fixture {
    fn new(contents: &[Vec<u8>]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = (0..contents.len()).map(|i| dir.path().join(format!("{i}.jsonl"))).collect();
        let fixture = Self { dir, files };
        for (path, content) in fixture.files.iter().zip(contents) {
            std::fs::write(path, content).unwrap();
        }
        fixture
    }

    /// The problems as `file:line message`, and the summary.
    fn verify(&self, options: &Options) -> (Vec<String>, Summary) {
        let mut problems = Vec::new();
        let summary = verify(&self.files, options, &mut |finding| match finding {
            Finding::Problem(place, problem) => {
                problems.push(format!("{place} {problem}").replace(&format!("{}/", self.dir.path().display()), ""));
            }
            Finding::Note(_) => {}
        })
        .unwrap();
        assert_eq!(summary.problems, problems.len() as u64);
        (problems, summary)
    }

    fn sign(&self, line: &[u8]) -> PublicKey {
        let (private, public) = key_pair();
        let key = self.dir.path().join("key.pem");
        std::fs::write(&key, private).unwrap();
        let signer = Signer::load(&key, &self.files[0]).unwrap();
        signer.write(Header::read(line.trim_ascii_end()).unwrap().chain()).unwrap();
        PublicKey::from_pem(public.as_bytes()).unwrap()
    }
}

fn problems(content: &[Vec<u8>]) -> Vec<String> {
    Fixture::new(&[content.concat()]).verify(&Options::default()).0
}

#[test]
fn a_whole_trail_is_fine_in_any_order_of_its_files() {
    let lines = trail(9);
    let fixture = Fixture::new(&[lines[5..].concat(), lines[..2].concat(), lines[2..5].concat(), vec![]]);
    let (found, summary) = fixture.verify(&Options::default());
    assert_eq!(found, Vec::<String>::new());
    assert_eq!((summary.records, summary.first, summary.last), (9, Some(1), Some(9)));
    assert_eq!(summary.last_hash, Some(Digest::of(lines[8].trim_ascii_end())));
    // The same file under two names is read once.
    let mut twice = fixture;
    twice.files.push(twice.dir.path().join(".").join("1.jsonl"));
    assert_eq!(twice.verify(&Options::default()).1.records, 9);
}

#[test]
fn every_changed_byte_is_found_where_it_is() {
    let lines = trail(3);
    let whole = lines.concat();
    let line_of = |i: usize| 1 + whole[..i].iter().filter(|&&b| b == b'\n').count();
    for i in 0..whole.len() {
        for change in [1, 0x80] {
            let mut bad = whole.clone();
            bad[i] ^= change;
            let (found, _) = Fixture::new(&[bad]).verify(&Options::default());
            let expected = format!("0.jsonl:{} ", line_of(i));
            assert!(found.iter().any(|f| f.starts_with(&expected)), "byte {i} ^ {change:#x}: {found:?}");
            let ends_line = whole[i] == b'\n';
            assert!(found.len() == 1 || ends_line, "one change, one problem: byte {i}: {found:?}");
        }
    }
}

#[test]
fn every_removed_or_added_byte_is_found() {
    let whole = trail(2).concat();
    for i in 0..whole.len() {
        let mut bad = whole.clone();
        bad.remove(i);
        assert!(!Fixture::new(&[bad]).verify(&Options::default()).0.is_empty(), "byte {i} removed");
        for added in [b'\n', b' ', b'0', 0] {
            let mut bad = whole.clone();
            bad.insert(i, added);
            assert!(!Fixture::new(&[bad]).verify(&Options::default()).0.is_empty(), "{added} added at {i}");
        }
    }
}

#[test]
fn every_removed_line_is_named() {
    let lines = trail(5);
    for i in 0..4 {
        let mut cut = lines.clone();
        cut.remove(i);
        let found = problems(&cut);
        let expected = match i {
            0 => "0.jsonl:1 record 1 is missing: the trail's head was cut off".to_owned(),
            _ => format!("0.jsonl:{} record {} is missing before this line", i + 1, i + 1),
        };
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{i}: {found:?}");
    }
    let found = problems(&[&lines[..1], &lines[4..]].concat());
    assert!(found.len() == 1 && found[0].starts_with("0.jsonl:2 records 2 to 4 are missing"), "{found:?}");
}

#[test]
fn every_swapped_pair_is_named() {
    let lines = trail(5);
    for i in 0..4 {
        let mut swapped = lines.clone();
        swapped.swap(i, i + 1);
        let expected =
            format!("0.jsonl:{} seq {} stands behind seq {}: lines were swapped or moved", i + 2, i + 1, i + 2);
        assert_eq!(problems(&swapped), [expected]);
    }
    // Not only neighbours.
    let mut swapped = lines.clone();
    swapped.swap(1, 3);
    assert_eq!(problems(&swapped).len(), 2, "3 behind 4, 2 behind 4");
}

#[test]
fn repeated_and_forged_lines_are_found() {
    let lines = trail(3);
    let mut repeated = lines.clone();
    repeated.insert(2, lines[1].clone());
    assert_eq!(problems(&repeated), ["0.jsonl:3 seq 2 was there before: a line was repeated or inserted"]);

    // A record changed by somebody who can make its own hash fit again.
    let mut chain = Header::read(lines[0].trim_ascii_end()).unwrap().chain();
    let mut forged = Vec::new();
    chain.seal(&Record::new(Event::Deny), time::now_us(), &mut forged).unwrap();
    let found = problems(&[lines[0].clone(), forged, lines[2].clone()]);
    assert!(found.len() == 1 && found[0].starts_with("0.jsonl:3 seq 3 does not continue"), "{found:?}");

    // A beginning that claims a line before it, and the largest number there is.
    for (seq, expected) in
        [(0, "seq 1 names a line before it"), (u64::MAX - 1, "records 1 to 18446744073709551614 are")]
    {
        let mut chain = Chain { seq, last: Digest::of(b"x") };
        let mut line = Vec::new();
        chain.seal(&Record::new(Event::Admin), time::now_us(), &mut line).unwrap();
        let found = problems(&[line.clone(), line]);
        assert!(found.iter().any(|f| f.contains(expected)), "{found:?}");
    }
}

#[test]
fn a_missing_head_is_a_problem_unless_it_is_archived() {
    let lines = trail(4);
    let fixture = Fixture::new(&[lines[2..].concat()]);
    let (found, _) = fixture.verify(&Options::default());
    assert!(
        found.len() == 1 && found[0].starts_with("0.jsonl:1 records 1 to 2 are missing: the trail's head"),
        "{found:?}"
    );
    let archived = Options { head: Head::Archived, ..Options::default() };
    assert_eq!(
        fixture.verify(&archived),
        (
            vec![],
            Summary {
                records: 2,
                first: Some(3),
                last: Some(4),
                last_hash: Some(Digest::of(lines[3].trim_ascii_end())),
                problems: 0,
            }
        )
    );
}

#[test]
fn a_torn_tail_is_found_in_any_file() {
    let lines = trail(3);
    let whole = lines.concat();
    for cut in 1..lines[2].len() {
        let (found, summary) = Fixture::new(&[whole[..whole.len() - cut].to_vec()]).verify(&Options::default());
        assert!(found.len() == 1 && found[0].starts_with("0.jsonl:3 file ends in a torn line"), "{cut}: {found:?}");
        assert_eq!(found[0].contains("only its newline"), cut == 1);
        assert_eq!(summary.records, if cut == 1 { 3 } else { 2 });
    }
    let (found, _) = Fixture::new(&[whole[..whole.len() - 1].to_vec(), vec![]]).verify(&Options::default());
    assert_eq!(found.len(), 1);
}

#[test]
fn a_checkpoint_shows_a_cut_or_rewritten_tail() {
    let lines = trail(5);
    let fixture = Fixture::new(&[lines.concat()]);
    let public_key = Some(fixture.sign(&lines[3]));
    let options = Options { public_key, ..Options::default() };
    assert_eq!(fixture.verify(&options).0, Vec::<String>::new());
    for keep in 1..4 {
        std::fs::write(&fixture.files[0], lines[..keep].concat()).unwrap();
        let (found, _) = fixture.verify(&Options::default());
        let expected =
            format!("0.jsonl.checkpoint trail ends at seq {keep}, but its checkpoint was signed at seq 4 on ");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}");
    }
    // A whole new trail, consistent in itself.
    let other = Fixture::new(&[trail(5).concat()]);
    std::fs::copy(&other.files[0], &fixture.files[0]).unwrap();
    let (found, _) = fixture.verify(&options);
    assert!(
        found.len() == 1 && found[0].contains("seq 4 is not the record that the checkpoint was signed for"),
        "{found:?}"
    );
}

#[test]
fn a_removed_or_foreign_checkpoint_is_a_problem_when_a_key_is_given() {
    let lines = trail(2);
    let fixture = Fixture::new(&[lines.concat()]);
    let foreign = PublicKey::from_pem(key_pair().1.as_bytes()).unwrap();
    let options = Options { public_key: Some(foreign), ..Options::default() };
    let (found, _) = fixture.verify(&options);
    assert!(found.len() == 1 && found[0].contains("there is no checkpoint"), "{found:?}");
    let ours = fixture.sign(&lines[1]);
    let (found, _) = fixture.verify(&options);
    assert!(found.len() == 1 && found[0].contains("signed by another key"), "{found:?}");

    // One that was kept elsewhere counts instead of the one beside the trail.
    let kept = fixture.dir.path().join("kept");
    std::fs::rename(checkpoint_path(&fixture.files[0]), &kept).unwrap();
    std::fs::write(&fixture.files[0], &lines[0]).unwrap();
    fixture.sign(&lines[0]);
    assert_eq!(fixture.verify(&Options::default()).0, Vec::<String>::new());
    let options = Options { public_key: Some(ours), checkpoint: Some(kept), ..Options::default() };
    let (found, _) = fixture.verify(&options);
    assert!(found.len() == 1 && found[0].starts_with("kept trail ends at seq 1"), "{found:?}");
}

#[test]
fn an_empty_trail_and_odd_lines_are_problems() {
    assert!(problems(&[])[0].starts_with("trail there are no records"));
    let lines = trail(3);
    let odd =
        [lines[0].clone(), b"\n".to_vec(), vec![b'x'; 3 << 20], b"\n".to_vec(), lines[1].clone(), lines[2].clone()];
    let found = problems(&odd);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("0.jsonl:2 line was changed (it should be seq 2)"), "{found:?}");
    assert!(found[1].starts_with("0.jsonl:3 line is longer than any record"), "{found:?}");
}

#[test]
fn odd_times_are_noted_but_no_problem() {
    let mut chain = Chain::START;
    let mut bytes = Vec::new();
    for time_us in [time::now_us(), 0, time::now_us(), time::now_us() - 5_000_000, 4_000_000_000_000_000] {
        chain.seal(&Record::new(Event::Admin), time_us, &mut bytes).unwrap();
    }
    let fixture = Fixture::new(&[bytes]);
    let mut notes = Vec::new();
    let summary = verify(&fixture.files, &Options::default(), &mut |f| match f {
        Finding::Note(note) => notes.push(note),
        Finding::Problem(..) => {}
    })
    .unwrap();
    assert_eq!(summary.problems, 0);
    assert!(notes.iter().any(|n| matches!(n, Note::TimeBackwards { seq: 2, count: 2, .. })), "{notes:?}");
    assert!(notes.iter().any(|n| matches!(n, Note::TimeAbsurd { seq: 2, count: 2, .. })), "{notes:?}");
}
