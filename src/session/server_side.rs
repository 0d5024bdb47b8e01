//! What the server answers: passed on, kept back or acted on, in the order of what was asked.

use bytes::{Buf, BytesMut};

use super::core::{Core, HIGH_WATER};
use super::replies::{Expect, Own};
use super::run::Run;
use super::simple::failing_statement;
use crate::audit::{Event, Record};
use crate::policy::sqlstate;
use crate::sql::Kind;
use crate::upstream::{Applied, Link, Statement};
use crate::wire::{
    HEADER, Header, Report, TransactionState, backend_header, error_field, put_parameter_status, put_ready,
    put_shifted_error, tag_rows,
};

/// The rest of a message that is passed on, or dropped, piece by piece.
#[derive(Debug, Default)]
pub(super) enum Partial {
    #[default]
    Nothing,
    Forward(usize),
    Drop(usize),
}

/// The connection's protocol state is in doubt: it must be closed (TRAPS: "doubt means drop").
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Frame(#[from] crate::wire::FrameError),
    #[error("message {tag:?} while {expected} was expected", tag = *tag as char)]
    Unexpected { tag: u8, expected: String },
    #[error("the server ended the connection: {message} (SQLSTATE {sqlstate})")]
    Fatal { sqlstate: String, message: String },
}

impl Core {
    /// Takes in what the server sent.
    pub(super) fn upstream(&mut self, link: &mut Link) -> Result<(), Broken> {
        let mut inbox = std::mem::take(&mut link.inbox);
        let taken = self.take_answers(&mut inbox, link);
        link.inbox = inbox;
        self.answer_in_turn();
        taken
    }

    fn take_answers(&mut self, inbox: &mut BytesMut, link: &mut Link) -> Result<(), Broken> {
        // Rows are passed on in runs: `run` bytes at the front of the inbox are the client's and not copied yet.
        let mut run = 0;
        loop {
            if self.take_partial(inbox, run == 0) {
                break;
            }
            let Some(header) = backend_header(&inbox[run..])? else { break };
            let is_whole = inbox.len() - run >= header.size;
            if is_whole && matches!(header.tag, b'D' | b'd') && self.pass_row(header) {
                run += header.size;
                continue;
            }
            self.out.extend_from_slice(&inbox[..run]);
            inbox.advance(run);
            run = 0;
            if is_whole {
                let message = inbox.split_to(header.size);
                self.answer_in_turn();
                self.take_answer(header, &message, link)?;
            } else if matches!(header.tag, b'D' | b'd') && inbox.len() > HIGH_WATER {
                self.partial =
                    if self.pass_row(header) { Partial::Forward(header.size) } else { Partial::Drop(header.size) };
            } else {
                break;
            }
        }
        self.out.extend_from_slice(&inbox[..run]);
        inbox.advance(run);
        Ok(())
    }

    /// Passes on the rest of a large message. Returns true when more of it is to come.
    fn take_partial(&mut self, inbox: &mut BytesMut, may_take: bool) -> bool {
        let (left, forward) = match &mut self.partial {
            Partial::Nothing => return false,
            Partial::Forward(left) => (left, true),
            Partial::Drop(left) => (left, false),
        };
        debug_assert!(may_take, "a run ends before a partial message begins");
        let now = inbox.len().min(*left);
        if forward {
            self.out.extend_from_slice(&inbox[..now]);
        }
        inbox.advance(now);
        *left -= now;
        let more = *left > 0;
        if !more {
            self.partial = Partial::Nothing;
        }
        more
    }

    /// Counts a row or COPY data; returns whether it is the client's.
    fn pass_row(&mut self, header: Header) -> bool {
        if self.is_muted {
            return false;
        }
        let Some(Expect::Query(run) | Expect::Step(run) | Expect::SingleStep(run) | Expect::Execute(run)) =
            self.replies.front_mut()
        else {
            return false;
        };
        if run.is_cut_off {
            return false;
        }
        run.returned += 1;
        run.bytes += header.size as u64;
        let rows = run.max_rows_returned().filter(|&limit| run.returned > limit);
        let bytes = self.judge.policy.max_bytes_returned.filter(|&limit| run.bytes > limit);
        let (what, limit) = match (rows, bytes) {
            (None, None) => return true,
            (Some(limit), _) => ("rows", limit),
            (None, Some(limit)) => ("bytes", limit),
        };
        run.is_cut_off = true;
        run.sqlstate = Some(sqlstate::ROW_LIMIT.to_owned());
        let tier = self.judge.policy.tier;
        self.records.push(Record {
            message: Some(format!("the read was ended after {limit} {what}")),
            sqlstate: Some(sqlstate::ROW_LIMIT.to_owned()),
            ..run.record(Event::Limit, &self.context)
        });
        self.wants_cancel = true;
        self.cut_off.push(
            Report::error(
                sqlstate::ROW_LIMIT,
                format!("the read returned more than {limit} {what}, the limit on {tier}"),
            )
            .detail("The statement was cancelled on the server; the rows already sent are not all of them.")
            .hint("Add a LIMIT or a narrower WHERE, or aggregate on the server. SHOW pgbelay.limits tells the limits."),
        );
        false
    }

    fn take_answer(&mut self, header: Header, message: &[u8], link: &mut Link) -> Result<(), Broken> {
        for report in std::mem::take(&mut self.cut_off) {
            report.write(&mut self.out);
        }
        let body = &message[HEADER..];
        match header.tag {
            b'S' => {
                link.parameters.learn(body);
                if !matches!(self.replies.front(), Some(Expect::Own(Own::Settings))) {
                    self.tell_parameters(link);
                }
                Ok(())
            }
            b'N' => {
                if !self.is_muted && !self.replies.front().is_some_and(Expect::is_own) {
                    self.out.extend_from_slice(message);
                }
                Ok(())
            }
            b'A' => {
                self.out.extend_from_slice(message);
                Ok(())
            }
            b'E' => self.take_error(message, link),
            b'Z' => {
                let state = body.first().copied().and_then(TransactionState::from_byte);
                match state {
                    Some(state) => self.take_ready(state, link),
                    None => Err(self.unexpected(header.tag)),
                }
            }
            b'C' => {
                let tag = body.strip_suffix(&[0]).unwrap_or(body);
                self.take_completion(message, tag, link)
            }
            b'I' | b's' => self.take_end_of_rows(header.tag, message),
            b'G' => {
                self.is_copying_in = true;
                self.pass_reply(message);
                Ok(())
            }
            b'H' | b'W' | b'T' | b'D' | b'd' | b'c' | b't' | b'n' | b'1' | b'2' | b'3' => {
                self.take_piece(header.tag, message)
            }
            _ => Err(self.unexpected(header.tag)),
        }
    }

    /// A message that is one whole answer, or a piece of one, and changes nothing.
    fn take_piece(&mut self, tag: u8, message: &[u8]) -> Result<(), Broken> {
        if let Some(Expect::Own(Own::ReadOnly { closes })) = self.replies.front_mut() {
            if tag == b'3' {
                *closes -= 1;
            }
            if *closes == 0 {
                self.replies.pop_front();
            }
            return Ok(());
        }
        let ends = match (self.replies.front(), tag) {
            (Some(Expect::Parse { .. }), b'1') | (Some(Expect::Bind), b'2') | (Some(Expect::Close), b'3') => true,
            (Some(Expect::Describe), b'T' | b'n') => true,
            (Some(Expect::Own(Own::Parse(_))), b'1') | (Some(Expect::Own(Own::Close)), b'3') => true,
            (Some(Expect::Describe), b't') => false,
            // As if it were a simple query: no answers to Parse, Bind and Describe.
            (Some(Expect::SingleStep(_)), b'1' | b'2' | b'n') => return Ok(()),
            (
                Some(Expect::Query(_) | Expect::Step(_) | Expect::SingleStep(_) | Expect::Execute(_)),
                b'T' | b'D' | b'd' | b'c' | b'H' | b'W',
            ) => false,
            // Rows of the proxy's own queries.
            (Some(Expect::Own(Own::Settings)), b'T' | b'D') | (Some(Expect::Own(Own::Doubt)), b'T') => return Ok(()),
            (Some(Expect::Own(Own::Doubt)), b'D') => {
                self.state.doubt.learn(&message[HEADER..]);
                return Ok(());
            }
            _ => return Err(self.unexpected(tag)),
        };
        self.pass_reply(message);
        if ends
            && let Some(Expect::Parse { statement: Some(statement), .. } | Expect::Own(Own::Parse(Some(statement)))) =
                self.replies.pop_front()
        {
            statement.set_valid(true);
        }
        Ok(())
    }

    /// Passes on an answer, unless the client is to hear nothing of it.
    fn pass_reply(&mut self, message: &[u8]) {
        let is_hidden = self.is_muted
            || match self.replies.front_mut() {
                Some(Expect::Own(_)) | None => true,
                Some(expected) => expected.run().is_some_and(|run| run.is_cut_off),
            };
        if !is_hidden {
            self.out.extend_from_slice(message);
        }
    }

    fn take_completion(&mut self, message: &[u8], tag: &[u8], link: &mut Link) -> Result<(), Broken> {
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
                        stepwise.has_failed = true;
                        stepwise.must_fail = stepwise.is_in_clients_block();
                    }
                } else if run.is_cut_off {
                    // The cancel came too late, but the client was told of an error: what follows must not run.
                    if let Some(stepwise) = &mut self.stepwise {
                        stepwise.has_failed = true;
                        stepwise.must_fail = stepwise.is_in_clients_block();
                    }
                } else {
                    let statements = run.judged.steps.len();
                    match &mut self.stepwise {
                        Some(stepwise) if stepwise.holds_completion(run.statement, statements) => {
                            stepwise.held.extend_from_slice(message);
                        }
                        _ => self.out.extend_from_slice(message),
                    }
                }
            }
            Some(Expect::Execute(run)) => {
                self.complete(run, tag, link);
                match self.over_limit(run, tag) {
                    Some(report) => {
                        run.sqlstate = Some(report.sqlstate.to_owned());
                        report.write(&mut self.out);
                        self.is_muted = true;
                        self.is_skipping = true;
                        self.state.has_failed = true;
                        self.fail_batch(None, link);
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
                self.is_copying_in = false;
                self.finish(run);
                return Ok(());
            }
            Some(
                Expect::Parse { .. }
                | Expect::Bind
                | Expect::Describe
                | Expect::Close
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
        self.state.completed(run.effects(), tag, link);
        if run.step().is_some_and(|step| step.leaves_state) {
            self.state.doubt.everything();
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
        if makes_tables && self.state.wanted.get("search_path").is_some_and(|path| path.contains("pg_temp")) {
            // What is made without a schema may be temporary without saying so.
            self.state.doubt.pins();
        }
        run.rows += tag_rows(tag).unwrap_or(0);
    }

    /// What a write over its limit is answered with.
    fn over_limit(&mut self, run: &Run, tag: &[u8]) -> Option<Report> {
        let limit = run.step()?.max_rows_written?;
        let is_write =
            [&b"INSERT"[..], b"UPDATE", b"DELETE", b"MERGE", b"COPY"].iter().any(|verb| tag.starts_with(verb));
        let rows = tag_rows(tag).filter(|&rows| is_write && rows > limit)?;
        let tier = self.judge.policy.tier;
        self.records.push(Record {
            rows: Some(rows),
            sqlstate: Some(sqlstate::ROW_LIMIT.to_owned()),
            message: Some(format!(
                "the write would have changed {rows} rows, the limit is {limit}; it was rolled back"
            )),
            ..run.record(Event::Limit, &self.context)
        });
        let verb = tag.split(|&b| b == b' ').next().map(String::from_utf8_lossy).unwrap_or_default();
        Some(
            Report::error(
                sqlstate::ROW_LIMIT,
                format!("{verb} of {rows} rows exceeds the limit of {limit} rows on {tier}"),
            )
            .detail("rule row-limit: the write was rolled back; nothing has changed.")
            .hint("Write in smaller batches, for example by ranges of the primary key. SHOW pgbelay.limits tells the limits."),
        )
    }

    /// EmptyQueryResponse or PortalSuspended.
    fn take_end_of_rows(&mut self, tag: u8, message: &[u8]) -> Result<(), Broken> {
        match self.replies.front() {
            Some(Expect::Execute(_)) => {
                self.pass_reply(message);
                if let Some(Expect::Execute(mut run)) = self.replies.pop_front() {
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

    fn take_error(&mut self, message: &[u8], link: &mut Link) -> Result<(), Broken> {
        let body = &message[HEADER..];
        let code = error_field(body, b'C').unwrap_or_else(|| sqlstate::INTERNAL.to_owned());
        if matches!(error_field(body, b'V').as_deref(), Some("FATAL" | "PANIC")) {
            let message = error_field(body, b'M').unwrap_or_default();
            return Err(Broken::Fatal { sqlstate: code, message });
        }
        self.is_copying_in = false;
        self.state.has_failed = true;
        if is_about_prepared(&code, body) {
            // What the connection has is not what it is thought to have, or it can never run again.
            self.retire_lease = true;
        }
        let Some(front) = self.replies.front_mut() else { return Err(self.unexpected(b'E')) };
        let is_simple = front.is_simple();
        match front {
            Expect::Query(run) | Expect::Step(run) | Expect::SingleStep(run) | Expect::Execute(run) => {
                if !run.is_cut_off && !self.is_muted {
                    let at = run.judged.script.statements.get(run.statement).map_or(0, |facts| facts.span.start);
                    let shift = match front {
                        Expect::Step(run) if at > 0 => run.judged.text.get(..at).map_or(0, |t| t.chars().count()),
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
                    let message = error_field(body, b'M').unwrap_or_default();
                    self.refusal = Some(
                        Report::error(sqlstate::CONNECTION_FAILURE, "the session's settings cannot be applied")
                            .detail(format!("The server says: {message}"))
                            .hint("RESET the setting that is no longer valid, or connect again."),
                    );
                    link.applied = Applied::Unknown;
                    self.drop_lease = true;
                }
                // Without an answer everything that may be there counts as there.
                Own::Doubt => self.state.doubt.unanswered(),
                Own::Begin | Own::Savepoint => self.refusal = Some(own_failed(body)),
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
                Own::Parse(statement) => {
                    forget(statement.as_deref(), link);
                    self.out.extend_from_slice(message);
                }
                Own::Close | Own::ReadOnly { .. } => self.out.extend_from_slice(message),
            },
            Expect::Parse { statement, name } => {
                forget(statement.as_deref(), link);
                self.prepared.remove(name);
                self.pass_reply(message);
            }
            Expect::Bind | Expect::Describe | Expect::Close => self.pass_reply(message),
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
        while let Some(expected) = self.replies.pop_front() {
            match expected {
                Expect::Sync => {
                    self.replies.push_front(Expect::Sync);
                    return;
                }
                Expect::Execute(mut run) => {
                    run.sqlstate.get_or_insert_with(|| sqlstate::FAILED_TRANSACTION.to_owned());
                    self.finish(&mut run);
                }
                // A statement that was to be parsed is not.
                Expect::Parse { statement, name } => {
                    forget(statement.as_deref(), link);
                    self.prepared.remove(&name);
                }
                Expect::Own(Own::Parse(statement)) => forget(statement.as_deref(), link),
                Expect::Known(name) => {
                    self.prepared.remove(&name);
                }
                // The server still has what was to be closed.
                Expect::Own(Own::Close | Own::ReadOnly { .. }) => self.retire_lease = true,
                Expect::Answer(bytes) => self.queued = self.queued.saturating_sub(bytes.len()),
                Expect::Query(_)
                | Expect::Step(_)
                | Expect::SingleStep(_)
                | Expect::Bind
                | Expect::Describe
                | Expect::Close
                | Expect::Own(_) => {}
            }
        }
        // The client's Sync is still to come.
        self.is_skipping = true;
        self.is_unflushed = false;
    }

    fn take_ready(&mut self, now: TransactionState, link: &mut Link) -> Result<(), Broken> {
        let Some(front) = self.replies.pop_front() else { return Err(self.unexpected(b'Z')) };
        link.transaction = now;
        match front {
            Expect::Query(mut run) => {
                self.state.ready(now, link);
                self.is_unsynced = false;
                if run.is_cut_off && now == TransactionState::InBlock {
                    // The client was told of an error, so its block has failed.
                    self.send_own(&failing_statement(None), Own::FailQuery, link);
                    self.answer(|out| put_ready(TransactionState::Failed, out));
                } else {
                    put_ready(now, &mut self.out);
                }
                self.finish(&mut run);
            }
            Expect::Step(run) | Expect::SingleStep(run) => {
                self.state.ready(now, link);
                if let Some(stepwise) = &mut self.stepwise {
                    stepwise.run = Some(run);
                }
            }
            Expect::Sync => {
                self.state.ready(now, link);
                self.is_muted = false;
                put_ready(now, &mut self.out);
            }
            Expect::Own(own) => {
                let (is_settings, is_doubt) = (matches!(own, Own::Settings), matches!(own, Own::Doubt));
                if !Expect::Own(own).is_simple() {
                    return Err(self.unexpected(b'Z'));
                }
                self.state.ready(now, link);
                if is_settings && self.refusal.is_none() {
                    link.applied = Applied::Known(self.state.wanted.clone());
                    if now == TransactionState::Idle {
                        self.state.mark_boundary(link);
                    }
                    self.tell_parameters(link);
                }
                if is_doubt {
                    self.state.resolve(link);
                }
            }
            front => {
                self.replies.push_front(front);
                return Err(self.unexpected(b'Z'));
            }
        }
        if now == TransactionState::Idle {
            // Portals end with their transaction.
            self.portals.clear();
        }
        if now == TransactionState::Idle
            && self.stepwise.is_none()
            && self.replies.iter().all(|expected| matches!(expected, Expect::Answer(_) | Expect::Known(_)))
            && let Some(question) = self.state.doubt.question()
        {
            self.send_own(&question, Own::Doubt, link);
        }
        link.in_sync =
            !self.replies.iter().any(|e| !matches!(e, Expect::Answer(_) | Expect::Known(_))) && !self.is_unsynced;
        Ok(())
    }

    /// Tells the client the parameters that differ from what it was told.
    pub(super) fn tell_parameters(&mut self, link: &Link) {
        for (name, value) in link.parameters.iter() {
            if self.told.set(name, value) {
                put_parameter_status(name, value, &mut self.out);
            }
        }
    }

    /// Records and counts a statement that ended.
    pub(super) fn finish(&mut self, run: &mut Run) {
        self.finished.push((std::sync::Arc::clone(&run.judged), run.started.elapsed()));
        let is_intended = run.judged.permit().is_some_and(|p| p.guards.intent);
        if run.judged.is_recorded || is_intended || run.sqlstate.is_some() {
            self.records.push(run.result(&self.context));
        }
    }

    fn unexpected(&self, tag: u8) -> Broken {
        Broken::Unexpected { tag, expected: format!("{:?}", self.replies.front().map(std::mem::discriminant)) }
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

fn own_failed(body: &[u8]) -> Report {
    let message = error_field(body, b'M').unwrap_or_default();
    Report::error(sqlstate::CONNECTION_FAILURE, "the statement could not be guarded, so it was not run")
        .detail(format!("The server says: {message}"))
        .hint("Send it again.")
}
