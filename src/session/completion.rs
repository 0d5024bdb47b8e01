//! Statements that end well: their effects, and the count of the rows that they changed.

use super::core::Core;
use super::replies::{Expect, Own};
use super::run::Run;
use super::server_side::Broken;
use crate::audit::{Event, Record};
use crate::config::Mode;
use crate::policy::{ROW_LIMIT, sqlstate};
use crate::sql::Kind;
use crate::telemetry::Limit;
use crate::upstream::{Applied, Link};
use crate::wire::{Report, tag_rows};

impl Core {
    pub(super) fn take_completion(&mut self, message: &[u8], tag: &[u8], link: &mut Link) -> Result<(), Broken> {
        let mut front = self.replies.pop_front();
        let hidden = self.is_muted;
        match &mut front {
            Some(Expect::Own(own)) => {
                if matches!(own, Own::Commit | Own::Rollback) {
                    self.state.completed(&[], tag, link);
                }
            }
            Some(Expect::Query(run)) => {
                self.complete(run, tag, link);
                if !run.is_cut_off {
                    self.out.extend_from_slice(message);
                }
                run.statement += 1;
                run.returned = 0;
            }
            Some(Expect::Step(run) | Expect::SingleStep(run)) => {
                self.complete(run, tag, link);
                if let Some(report) = self.over_limit(run, tag) {
                    run.sqlstate = Some(report.sqlstate.to_owned());
                    report.write(&mut self.out);
                    if let Some(stepwise) = &mut self.stepwise {
                        stepwise.fail();
                    }
                } else if run.is_cut_off {
                    // The cancel came too late, but the client was told of an error: what follows must not run.
                    if let Some(stepwise) = &mut self.stepwise {
                        stepwise.fail();
                    }
                } else {
                    let statements = run.judged.steps.len();
                    let is_uncounted = run.step().is_some_and(|s| s.is_uncounted);
                    match &mut self.stepwise {
                        Some(stepwise) if is_uncounted => {
                            stepwise.held.extend_from_slice(message);
                            stepwise.must_count = true;
                        }
                        Some(stepwise) if stepwise.holds_completion(run.statement, statements) => {
                            stepwise.held.extend_from_slice(message);
                        }
                        _ => self.out.extend_from_slice(message),
                    }
                }
            }
            Some(Expect::Execute(run)) => {
                self.complete(run, tag, link);
                self.state.follow_unsynced(run.effects());
                self.is_copying_in = false;
                if run.step().is_some_and(|s| s.is_uncounted) && !run.is_cut_off {
                    if let Some(Expect::Execute(run)) = front {
                        self.counting.hold(run, message);
                    }
                    return Ok(());
                }
                match self.over_limit(run, tag) {
                    Some(report) => {
                        run.sqlstate = Some(report.sqlstate.to_owned());
                        self.stop_batch(&report, link);
                    }
                    None if run.is_cut_off => {
                        // The cancel came too late, but the client was told of an error: what follows must not run.
                        self.is_muted = true;
                        if !self.replies.iter().any(|e| matches!(e, Expect::Sync)) {
                            self.is_skipping = true;
                            self.fail_batch(None, link);
                        }
                    }
                    None if hidden => {}
                    None => self.out.extend_from_slice(message),
                }
                self.finish(run);
                return Ok(());
            }
            Some(
                Expect::Parse { .. }
                | Expect::Bind { .. }
                | Expect::Describe(_)
                | Expect::Close(_)
                | Expect::Sync
                | Expect::Known(_)
                | Expect::Answer(_),
            )
            | None => {
                if let Some(front) = front {
                    self.replies.push_front(front);
                }
                return Err(self.unexpected(b'C'));
            }
        }
        self.is_copying_in = false;
        if let Some(front) = front {
            self.replies.push_front(front);
        }
        Ok(())
    }

    /// A statement ended well: its effects are the session's now.
    fn complete(&mut self, run: &mut Run, tag: &[u8], link: &mut Link) {
        if run.is_cut_off {
            // It ended by itself: a cancel would hit what comes next.
            self.wants_cancel = false;
        }
        if let Some(facts) = run.judged.script.statements.get(run.statement) {
            self.state.tables.learn(facts);
        }
        self.state.completed(run.effects(), tag, link);
        if run.step().is_some_and(|step| step.leaves_state) {
            self.state.doubt.everything();
            for name in self.judge.custom_settings() {
                self.state.doubt.setting(&name);
            }
        }
        if run
            .effects()
            .iter()
            .any(|e| matches!(e, crate::sql::Effect::DiscardAll | crate::sql::Effect::Deallocate(None)))
        {
            self.prepared.clear();
        }
        if run.judged.permit().is_some_and(|p| p.guards.single_statement) {
            link.applied = Applied::Unknown;
        }
        let makes_tables =
            run.judged.script.statements.get(run.statement).is_some_and(|facts| {
                matches!(facts.kind, Kind::Ddl | Kind::CreateTableAs | Kind::Select | Kind::Execute)
            });
        if self.state.wanted.get("search_path").is_some_and(|path| path.contains("pg_temp")) {
            self.state.tables.forget_temporary();
            if makes_tables {
                // What is made without a schema may be temporary without saying so.
                self.state.doubt.pins();
            }
        }
        self.has_created |= tag.starts_with(b"CREATE");
        // What was created is gone again, and with it the types of parameters of what was prepared meanwhile.
        self.has_changed_schema |= changes_schema(tag) || self.has_created && tag == b"ROLLBACK";
        if self.has_changed_schema {
            // What others prepare from now on is parsed anew: the cached plan of a text may have another result type.
            self.statements.forget();
        }
        run.rows += tag_rows(tag).unwrap_or(0);
    }

    /// Tells the client of the error that ends its batch, and makes the server's transaction fail.
    pub(super) fn stop_batch(&mut self, report: &Report, link: &mut Link) {
        report.write(&mut self.out);
        self.is_muted = true;
        self.is_skipping = true;
        self.state.has_failed = true;
        self.fail_batch(None, link);
    }

    /// What a write over its limit is answered with.
    fn over_limit(&mut self, run: &mut Run, tag: &[u8]) -> Option<Report> {
        let limit = run.step().filter(|s| !s.is_uncounted)?.max_rows_written?;
        let is_write =
            [&b"INSERT"[..], b"UPDATE", b"DELETE", b"MERGE", b"COPY"].iter().any(|verb| tag.starts_with(verb));
        let rows = tag_rows(tag).filter(|&rows| is_write && rows > limit)?;
        let verb = tag.split(|&b| b == b' ').next().map(String::from_utf8_lossy).unwrap_or_default();
        self.row_limit(run, &verb, rows, limit)
    }

    /// What a write is answered with whose rows were counted behind it, if they are too many.
    pub(super) fn over_count(&mut self, run: &mut Run, rows: u64) -> Option<Report> {
        let limit = run.step()?.max_rows_written.filter(|&limit| rows > limit)?;
        let writes = run.judged.script.statements.get(run.statement).map_or(&[][..], |facts| &facts.writes);
        let verb = writes.first().map_or("write", |write| write.verb.as_str());
        self.row_limit(run, verb, rows, limit)
    }

    /// A write over its limit: what it is answered with, or nothing where that is only reported.
    fn row_limit(&mut self, run: &mut Run, verb: &str, rows: u64, limit: u64) -> Option<Report> {
        const HINT: &str =
            "Write in smaller batches, for example by ranges of the primary key. SHOW pgbelay.limits tells the limits.";
        let tier = self.judge.policy.tier;
        let message = format!("{verb} of {rows} rows exceeds the limit of {limit} rows on {tier}");
        if self.judge.policy.mode(ROW_LIMIT) == Mode::Report {
            run.report(ROW_LIMIT, || {
                (message, format!("{rows} rows were changed, the limit is {limit}"), HINT.to_owned())
            });
            return None;
        }
        self.limits_hit.push(Limit::RowsWritten);
        self.records.push(Record {
            rows: Some(rows),
            sqlstate: Some(sqlstate::ROW_LIMIT.to_owned()),
            message: Some(format!(
                "the write would have changed {rows} rows, the limit is {limit}; it was rolled back"
            )),
            ..run.record(Event::Limit, &self.context)
        });
        let report = Report::error(sqlstate::ROW_LIMIT, message)
            .detail("rule row-limit: the write was rolled back; nothing has changed.")
            .hint(HINT);
        Some(report)
    }

    /// EmptyQueryResponse or PortalSuspended.
    pub(super) fn take_end_of_rows(&mut self, tag: u8, message: &[u8]) -> Result<(), Broken> {
        match self.replies.front() {
            Some(Expect::Execute(_)) => {
                self.pass_reply(message);
                if let Some(Expect::Execute(mut run)) = self.replies.pop_front() {
                    if tag == b's' {
                        self.state.suspended(run.effects(), run.step().is_some_and(|step| step.leaves_state));
                    }
                    if let Some(portal) = self.portals.get_mut(&run.portal) {
                        portal.returned = run.returned;
                    }
                    self.finish(&mut run);
                }
                Ok(())
            }
            Some(Expect::Query(_) | Expect::Step(_) | Expect::SingleStep(_)) if tag == b'I' => {
                self.pass_reply(message);
                Ok(())
            }
            Some(Expect::Own(_)) => Ok(()),
            _ => Err(self.unexpected(tag)),
        }
    }

    /// Records and counts a statement that ended.
    pub(super) fn finish(&mut self, run: &mut Run) {
        if run.is_refused {
            return;
        }
        let duration = run.started.elapsed();
        self.finished.push((std::sync::Arc::clone(&run.judged), duration));
        let is_intended = run.judged.permit().is_some_and(|p| p.guards.intent);
        self.would_deny.extend(run.would_deny.iter().map(|entry| entry.rule));
        if run.judged.is_recorded || is_intended || run.sqlstate.is_some() || !run.would_deny.is_empty() {
            self.records.push(run.result(duration, &self.context));
        }
    }
}

/// Whether a statement with this command tag may give a prepared text another result type, or another meaning.
fn changes_schema(tag: &[u8]) -> bool {
    [&b"ALTER"[..], b"DROP", b"CREATE VIEW", b"CREATE FUNCTION", b"CREATE OPERATOR", b"CREATE CAST", b"DO", b"CALL"]
        .iter()
        .any(|words| tag.starts_with(words))
}
