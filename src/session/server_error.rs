//! Errors of the server: whose they are, and what will not be answered any more because of them.

use bytes::BytesMut;

use super::core::Core;
use super::replies::{Aside, Expect, Own};
use super::server_side::Broken;
use crate::policy::sqlstate;
use crate::upstream::{Applied, Link, Statement};
use crate::wire::{HEADER, Report, error_field, put_renamed_error, put_shifted_error};

impl Core {
    pub(super) fn take_error(&mut self, message: &[u8], link: &mut Link) -> Result<(), Broken> {
        let completed = completed(&message[HEADER..]);
        let message = completed.as_deref().unwrap_or(message);
        let body = &message[HEADER..];
        let code = error_field(body, b'C').unwrap_or_else(|| sqlstate::INTERNAL.to_owned());
        if matches!(error_field(body, b'V').or_else(|| error_field(body, b'S')).as_deref(), Some("FATAL" | "PANIC")) {
            let response = BytesMut::from(message);
            let message = error_field(body, b'M').unwrap_or_default();
            return Err(Broken::Fatal { sqlstate: code, message, response });
        }
        self.is_copying_in = false;
        self.state.has_failed = true;
        self.has_changed_schema |= self.has_created;
        // A session that may write was told that it may not: by its own wish, or because the server is no primary any more.
        link.is_suspect |= code == sqlstate::READ_ONLY && !self.judge.policy.is_read_only();
        let is_outdated = code == sqlstate::INTERNAL && matches!(self.replies.front(), Some(Expect::Bind { .. }));
        if is_outdated || is_about_prepared(&code, body) {
            // What the connection has is not what it is thought to have, or it can never run again.
            self.retire_lease = true;
            // A session that keeps its connection recovers by preparing the text again, under a new name.
            self.statements.forget();
        }
        let Some(front) = self.replies.front_mut() else { return Err(self.unexpected(b'E')) };
        let is_simple = front.is_simple();
        match front {
            Expect::Query(run) | Expect::Step(run) | Expect::SingleStep(run) | Expect::Execute(run) => {
                if !run.is_cut_off && !self.is_muted {
                    let at = run.judged.script.statements.get(run.statement).map_or(0, |facts| facts.span.start);
                    let shift = match front {
                        Expect::Step(run) if at > 0 => {
                            run.judged.text.get(..at).map_or(0, |t| t.chars().count().cast_signed())
                        }
                        _ => 0,
                    };
                    if shift > 0 {
                        put_shifted_error(body, shift, &mut self.out);
                    } else {
                        self.out.extend_from_slice(message);
                    }
                }
                if let Some(run) = self.replies.front_mut().and_then(Expect::run) {
                    run.sqlstate.get_or_insert(code);
                }
                if let Some(stepwise) = &mut self.stepwise {
                    stepwise.has_failed = true;
                }
            }
            Expect::Own(own) => match own {
                Own::FailQuery => {}
                Own::FailParse(report) => {
                    if let Some(report) = report.take() {
                        report.write(&mut self.out);
                    }
                }
                Own::Settings => {
                    self.refusal = Some(cancelled(&code, body).unwrap_or_else(|| settings_refused(body)));
                    link.applied = Applied::Unknown;
                    self.drop_lease = true;
                }
                // Without an answer everything that may be there counts as there.
                Own::Doubt if code == sqlstate::QUERY_CANCELED => self.state.doubt.ask_again(),
                Own::Doubt => self.state.doubt.unanswered(),
                Own::Begin | Own::Savepoint | Own::EndBatch | Own::Count(_) => {
                    self.refusal = Some(cancelled(&code, body).unwrap_or_else(|| own_failed(body)));
                }
                Own::Commit | Own::Rollback => {
                    // What the client was to hear of success is not true.
                    if let Some(stepwise) = &mut self.stepwise {
                        stepwise.held.clear();
                        stepwise.has_failed = true;
                    }
                    self.out.extend_from_slice(message);
                    if let Some(run) = self.stepwise.as_mut().and_then(|s| s.run.as_mut()) {
                        run.sqlstate.get_or_insert(code);
                    }
                }
                Own::Parse(_) | Own::Describe(_) | Own::Close => self.out.extend_from_slice(message),
                Own::Plan => {
                    self.pass_plan_error(body);
                    if let Some(stepwise) = &mut self.stepwise {
                        stepwise.has_failed = true;
                        if let Some(run) = &mut stepwise.run {
                            run.sqlstate.get_or_insert(code);
                        }
                    }
                }
                Own::Aside { what: Aside::Plan, .. } => self.pass_plan_error(body),
                Own::Aside { what: Aside::ReadOnly | Aside::Count(_) | Aside::ForgetSequences, .. } => {
                    // Its name may still be there.
                    self.retire_lease = true;
                    self.out.extend_from_slice(message);
                }
            },
            Expect::Parse { undo, .. } => {
                undo.failed();
                self.pass_reply(message);
            }
            Expect::Bind { statement: name, .. } => match self.prepared.get(name) {
                Some(prepared) if !self.is_muted => {
                    put_renamed_error(body, &prepared.statement.name, name, &mut self.out);
                }
                _ => self.pass_reply(message),
            },
            Expect::Describe(_) | Expect::Close(_) => self.pass_reply(message),
            // An error at Sync: a deferred constraint failed at the commit.
            Expect::Sync => {
                self.out.extend_from_slice(message);
                return Ok(());
            }
            Expect::Answer(_) | Expect::Known(_) => return Err(self.unexpected(b'E')),
        }
        if !is_simple && !matches!(self.replies.front(), Some(Expect::SingleStep(_))) {
            self.skip_to_sync(link);
        }
        Ok(())
    }

    /// The server skips everything up to the next Sync, so nothing before it will be answered.
    fn skip_to_sync(&mut self, link: &mut Link) {
        if let Some(mut held) = self.counting.take_held() {
            held.sqlstate.get_or_insert_with(|| sqlstate::FAILED_TRANSACTION.to_owned());
            self.finish(&mut held);
        }
        let mut skipped = vec![];
        let mut has_sync = false;
        while let Some(expected) = self.replies.pop_front() {
            match expected {
                Expect::Sync => {
                    self.replies.push_front(Expect::Sync);
                    has_sync = true;
                    break;
                }
                Expect::Parse { .. } => {
                    link.prepared.parse_ended();
                    skipped.push(expected);
                }
                Expect::Bind { .. } | Expect::Close(_) | Expect::Known(_) => skipped.push(expected),
                Expect::Execute(mut run) => {
                    run.sqlstate.get_or_insert_with(|| sqlstate::FAILED_TRANSACTION.to_owned());
                    self.finish(&mut run);
                }
                Expect::Own(Own::Parse(statement)) => {
                    link.prepared.parse_ended();
                    forget(statement.as_deref(), link);
                }
                // The server still has what was to be closed.
                Expect::Own(Own::Close) => self.retire_lease = true,
                Expect::Own(Own::Aside { what: Aside::ForgetSequences, .. }) => Self::keep_foreign_sequences(link),
                Expect::Answer(bytes) => self.queued = self.queued.saturating_sub(bytes.len()),
                Expect::Query(_) | Expect::Step(_) | Expect::SingleStep(_) | Expect::Describe(_) | Expect::Own(_) => {}
            }
        }
        // What the last of them has replaced comes back first.
        for expected in skipped.into_iter().rev() {
            match expected {
                Expect::Bind { undo, .. } | Expect::Close(undo) => self.undo_portal(undo),
                Expect::Parse { statement, undo } => {
                    forget(statement.as_deref(), link);
                    self.prepared.undo(undo);
                }
                Expect::Known(undo) => self.prepared.undo(undo),
                _ => {}
            }
        }
        if has_sync {
            return;
        }
        // The client's Sync is still to come.
        self.is_skipping = true;
        self.is_unflushed = false;
    }
}

/// Whether an error speaks of a prepared statement that is missing, already there, or outdated by DDL.
fn is_about_prepared(code: &str, body: &[u8]) -> bool {
    match code {
        sqlstate::UNKNOWN_STATEMENT | sqlstate::DUPLICATE_STATEMENT => true,
        sqlstate::NOT_SUPPORTED => error_field(body, b'R').as_deref() == Some("RevalidateCachedQuery"),
        _ => false,
    }
}

/// The server refused to parse it: the connection does not have it, and whoever prepares it next asks the server again.
fn forget(statement: Option<&Statement>, link: &mut Link) {
    match statement {
        Some(statement) => {
            statement.set_valid(false);
            link.prepared.remove(statement.id);
        }
        None => link.prepared.unnamed = None,
    }
}

/// A cancel or a time limit meant the client's statement, whatever ran for its sake when it came.
fn cancelled(code: &str, body: &[u8]) -> Option<Report> {
    let message = || error_field(body, b'M').unwrap_or_default();
    (code == sqlstate::QUERY_CANCELED).then(|| Report::error(sqlstate::QUERY_CANCELED, message()))
}

fn settings_refused(body: &[u8]) -> Report {
    let message = error_field(body, b'M').unwrap_or_default();
    Report::error(sqlstate::CONNECTION_FAILURE, "the session's settings cannot be applied")
        .detail(format!("The server says: {message}"))
        .hint("RESET the setting that is no longer valid, or connect again.")
}

fn own_failed(body: &[u8]) -> Report {
    let message = error_field(body, b'M').unwrap_or_default();
    Report::error(sqlstate::CONNECTION_FAILURE, "the statement could not be guarded, so it was not run")
        .detail(format!("The server says: {message}"))
        .hint("Send it again.")
}

/// An ErrorResponse without SQLSTATE or primary message, which Postgres never sends, with what its clients rely on.
fn completed(body: &[u8]) -> Option<BytesMut> {
    let (code, primary) = (error_field(body, b'C'), error_field(body, b'M'));
    if code.is_some_and(|code| code.len() == 5) && primary.is_some() {
        return None;
    }
    let primary = primary.unwrap_or_else(|| "the server sent an error without a message".to_owned());
    let is_fatal = matches!(error_field(body, b'S').as_deref(), Some("FATAL" | "PANIC"));
    let report =
        if is_fatal { Report::fatal(sqlstate::INTERNAL, primary) } else { Report::error(sqlstate::INTERNAL, primary) };
    let mut message = BytesMut::new();
    report.write(&mut message);
    Some(message)
}
