//! The state of a verification: one line at a time, as constant memory allows.

use std::path::PathBuf;

use super::super::chain::{Digest, Header};
use super::super::checkpoint::{Checkpoint, PublicKey};
use super::{Finding, Head, Note, Place, Problem, Summary, time};

/// Gaps that may still be filled by lines further on; more are reported at once.
const MAX_GAPS: usize = 1000;
/// The clock may be a little off between the machine that wrote and the one that verifies, in microseconds.
const FUTURE_US: i64 = 24 * 3600 * 1_000_000;
/// 2020-01-01: older than this program.
const PAST_US: i64 = 1_577_836_800_000_000;
/// Times of one process come in order; a small step back is the clock being kept right, in microseconds.
const BACKWARDS_US: i64 = 1_000_000;

pub(super) struct Walk<'a> {
    report: &'a mut dyn FnMut(Finding),
    summary: Summary,
    head: Head,
    /// The unharmed record with the highest `seq` so far.
    good: Option<Header>,
    /// Lines since `good` that were not records: each stands for one.
    harmed: u64,
    gaps: Vec<Gap>,
    signed: Vec<Signed>,
    now_us: i64,
    backwards: Option<(Place, u64, u64)>,
    absurd: Option<(Place, u64, u64)>,
}

/// Records that were skipped, unless they turn up further on.
struct Gap {
    place: Place,
    from: u64,
    to: u64,
}

/// A checkpoint that the trail must agree with.
struct Signed {
    path: PathBuf,
    seq: u64,
    hash: Digest,
    time: String,
    /// What the trail has at that place.
    found: Option<Digest>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(head: Head, report: &'a mut dyn FnMut(Finding)) -> Self {
        Self {
            report,
            summary: Summary::default(),
            head,
            good: None,
            harmed: 0,
            gaps: Vec::new(),
            signed: Vec::new(),
            now_us: time::now_us(),
            backwards: None,
            absurd: None,
        }
    }

    pub(super) fn problem(&mut self, place: Place, problem: Problem) {
        self.summary.problems += 1;
        (self.report)(Finding::Problem(place, problem));
    }

    pub(super) fn note(&mut self, note: Note) {
        (self.report)(Finding::Note(note));
    }

    /// Holds the trail against a checkpoint, if that is what it says it is.
    pub(super) fn expect(&mut self, (path, checkpoint): (PathBuf, Checkpoint), key: Option<&PublicKey>) {
        match checkpoint.check(key) {
            Ok(hash) => {
                if key.is_none() {
                    self.note(Note::EmbeddedKey { seq: checkpoint.seq });
                }
                self.signed.push(Signed { path, seq: checkpoint.seq, hash, time: checkpoint.time, found: None });
            }
            Err(error) => self.problem(Place::file(&path), Problem::Checkpoint(error)),
        }
    }

    /// Whether no checkpoint, good or bad, has been met.
    pub(super) fn expects_nothing(&self) -> bool {
        self.signed.is_empty() && self.summary.problems == 0
    }

    /// A whole line.
    pub(super) fn line(&mut self, place: &Place, line: &[u8]) {
        match Header::read(line) {
            Ok(header) => self.record(place, header),
            Err(error) => {
                self.harmed += 1;
                let seq = self.good.map(|g| g.seq.saturating_add(self.harmed));
                self.problem(place.clone(), Problem::Changed { seq, error });
            }
        }
    }

    /// The end of a file that has no newline.
    pub(super) fn torn(&mut self, place: &Place, line: &[u8]) {
        let header = Header::read(line);
        self.problem(place.clone(), Problem::Torn { whole: header.is_ok() });
        match header {
            Ok(header) => self.record(place, header),
            Err(_) => self.harmed += 1,
        }
    }

    pub(super) fn too_long(&mut self, place: &Place) {
        self.harmed += 1;
        self.problem(place.clone(), Problem::TooLong);
    }

    fn record(&mut self, place: &Place, header: Header) {
        let seq = header.seq;
        self.summary.records += 1;
        self.summary.first = Some(self.summary.first.map_or(seq, |first| first.min(seq)));
        for signed in self.signed.iter_mut().filter(|s| s.seq == seq) {
            signed.found = Some(header.digest);
        }
        self.look_at_time(place, &header);
        // Before the first record stands the empty trail.
        let last = self.good.map_or(0, |g| g.seq);
        if seq <= last || seq == 0 {
            return self.out_of_order(place, seq, last);
        }
        // The highest number that the harmed lines before this one leave for it.
        let expected = last.saturating_add(1).saturating_add(self.harmed);
        if seq > expected {
            if self.good.is_some() || self.head == Head::Required {
                self.gap(Gap { place: place.clone(), from: expected, to: seq - 1 });
            }
        } else if self.harmed == 0 {
            let before = self.good.map_or(Digest::ZERO, |g| g.digest);
            if header.prev != before {
                let problem = if seq == 1 { Problem::FirstNamesPrevious } else { Problem::Broken { seq } };
                self.problem(place.clone(), problem);
            }
        }
        // Behind a harmed line or a gap `prev` names something that is not there: that has been reported.
        self.good = Some(header);
        self.harmed = 0;
    }

    fn gap(&mut self, gap: Gap) {
        if self.gaps.len() < MAX_GAPS {
            self.gaps.push(gap);
        } else {
            self.problem(gap.place, Problem::Missing { from: gap.from, to: gap.to });
        }
    }

    fn out_of_order(&mut self, place: &Place, seq: u64, after: u64) {
        let Some(i) = self.gaps.iter().position(|g| (g.from..=g.to).contains(&seq)) else {
            return self.problem(place.clone(), Problem::Repeated { seq });
        };
        // It has turned up: what is missing are the records on both sides of it.
        let gap = self.gaps.remove(i);
        if seq < gap.to {
            self.gaps.insert(i, Gap { place: gap.place.clone(), from: seq + 1, to: gap.to });
        }
        if gap.from < seq {
            self.gaps.insert(i, Gap { to: seq - 1, ..gap });
        }
        self.problem(place.clone(), Problem::Moved { seq, after });
    }

    fn look_at_time(&mut self, place: &Place, header: &Header) {
        let count = |found: &mut Option<(Place, u64, u64)>| {
            found.get_or_insert_with(|| (place.clone(), header.seq, 0)).2 += 1;
        };
        if header.time_us < PAST_US || header.time_us > self.now_us + FUTURE_US {
            count(&mut self.absurd);
        }
        if self.good.is_some_and(|g| header.time_us < g.time_us - BACKWARDS_US) {
            count(&mut self.backwards);
        }
    }

    /// What can only be said at the end.
    pub(super) fn finish(mut self) -> Summary {
        if self.summary.records == 0 {
            self.problem(Place::default(), Problem::Empty);
        }
        for gap in std::mem::take(&mut self.gaps) {
            let problem = if gap.from == 1 {
                Problem::CutHead { first: gap.to + 1 }
            } else {
                Problem::Missing { from: gap.from, to: gap.to }
            };
            self.problem(gap.place, problem);
        }
        let last = self.good.map_or(0, |g| g.seq);
        for signed in std::mem::take(&mut self.signed) {
            let Signed { path, seq, hash, time, found } = signed;
            match found {
                Some(found) if found == hash => self.note(Note::CheckpointFits { seq, time }),
                Some(_) => self.problem(Place::file(&path), Problem::Rewritten { seq }),
                None if seq > last => {
                    self.problem(Place::file(&path), Problem::CutTail { last, checkpoint: seq, time });
                }
                None if self.summary.first.is_some_and(|first| seq < first) => {
                    self.note(Note::CheckpointBefore { seq });
                }
                // Its record is missing or changed, which has been reported where it should stand.
                None => {}
            }
        }
        if let Some((place, seq, count)) = self.backwards.take() {
            self.note(Note::TimeBackwards { place, seq, count });
        }
        if let Some((place, seq, count)) = self.absurd.take() {
            self.note(Note::TimeAbsurd { place, seq, count });
        }
        self.summary.last = self.good.map(|g| g.seq);
        self.summary.last_hash = self.good.map(|g| g.digest);
        self.summary
    }
}
