//! Counting rows that no command tag tells: `WITH d AS (DELETE … RETURNING …) SELECT …` says how many rows it returned, not how
//! many it deleted (DESIGN §5). The server's own statistics of the transaction are read before the write and behind it.

use bytes::BytesMut;

use super::core::Core;
use super::replies::Stage;
use super::run::Run;
use crate::upstream::Link;
use crate::wire::Reader;

/// Rows changed so far in this transaction (Postgres documentation, "The Cumulative Statistics System"); what triggers and
/// foreign keys changed is in it.
pub(super) const COUNT: &str = "SELECT pg_catalog.sum(n_tup_ins), pg_catalog.sum(n_tup_upd), pg_catalog.sum(n_tup_del) \
                                FROM pg_catalog.pg_stat_xact_user_tables";

/// Counts of one statement.
#[derive(Debug, Default)]
pub(super) struct Counting {
    before: u64,
    latest: u64,
    /// A statement of the extended protocol whose completion is told once its rows are counted.
    held: Option<(Box<Run>, BytesMut)>,
}

impl Counting {
    /// A DataRow of [`COUNT`].
    pub(super) fn learn(&mut self, row: &[u8]) {
        self.latest = read_sum(row).unwrap_or(u64::MAX);
    }

    /// Keeps a completion back until the rows are counted.
    pub(super) fn hold(&mut self, run: Box<Run>, message: &[u8]) {
        self.held = Some((run, BytesMut::from(message)));
    }

    /// What is held when the batch fails or its connection is lost.
    pub(super) fn take_held(&mut self) -> Option<Box<Run>> {
        self.held.take().map(|(run, _)| run)
    }
}

impl Core {
    /// A count inside a batch is complete.
    pub(super) fn counted_in_batch(&mut self, stage: Stage, link: &mut Link) {
        let Some(rows) = self.count(stage) else { return };
        let Some((mut run, message)) = self.counting.held.take() else { return };
        match self.over_count(&mut run, rows) {
            Some(report) => {
                run.sqlstate = Some(report.sqlstate.to_owned());
                self.stop_batch(&report, link);
            }
            None if self.is_muted => {}
            None => self.out.extend_from_slice(&message),
        }
        run.rows = rows;
        self.finish(&mut run);
    }

    /// A count between the steps of a text is complete.
    pub(super) fn counted_step(&mut self, stage: Stage) {
        let Some(rows) = self.count(stage) else { return };
        let Some(mut stepwise) = self.stepwise.take() else { return };
        if let Some(mut run) = stepwise.run.take() {
            match self.over_count(&mut run, rows) {
                Some(report) => {
                    run.sqlstate = Some(report.sqlstate.to_owned());
                    report.write(&mut self.out);
                    stepwise.held.clear();
                    stepwise.fail();
                }
                None if !stepwise.holds_completion(run.statement, run.judged.steps.len()) => {
                    self.out.extend_from_slice(&stepwise.held.split());
                }
                None => {}
            }
            run.rows = rows;
            stepwise.run = Some(run);
        }
        self.stepwise = Some(stepwise);
    }

    fn count(&mut self, stage: Stage) -> Option<u64> {
        match stage {
            Stage::Before => {
                self.counting.before = self.counting.latest;
                None
            }
            Stage::After => Some(self.counting.latest.saturating_sub(self.counting.before)),
        }
    }
}

/// The sum of a row's values; NULL is none.
fn read_sum(row: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(row);
    let columns = reader.i16().ok()?;
    let mut sum = 0_u64;
    for _ in 0..columns {
        let Ok(length) = usize::try_from(reader.i32().ok()?) else { continue };
        let value = std::str::from_utf8(reader.bytes(length).ok()?).ok()?;
        sum = sum.checked_add(value.parse().ok()?)?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_added_and_null_is_none() {
        assert_eq!(read_sum(b"\0\x03\0\0\0\x011\xff\xff\xff\xff\0\0\0\x0210"), Some(11));
        assert_eq!(read_sum(b"\0\x01\0\0\0\x01x"), None);
        assert_eq!(read_sum(b"\0\x02\0\0\0\x011"), None);
    }
}
