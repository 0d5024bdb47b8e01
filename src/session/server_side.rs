//! What the server answers: passed on, kept back or acted on, in the order of what was asked.

use bytes::{Buf, BytesMut};

use super::core::{Core, HIGH_WATER};
use super::prepared::learn_of_connection;
use super::replies::{Aside, Expect, Own};
use super::simple::failing_statement;
use crate::audit::{Event, Record};
use crate::config::Mode;
use crate::policy::{READ_LIMIT, reads_texts_otherwise, sqlstate};
use crate::telemetry::Limit;
use crate::upstream::{Applied, Link};
use crate::wire::{
    HEADER, Header, MAX_BUFFERED, Report, TransactionState, backend_header, error_field, put_parameter_status,
    put_ready,
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
    Fatal { sqlstate: String, message: String, response: BytesMut },
    #[error("a message {tag:?} of {size} bytes", tag = *tag as char)]
    TooLong { tag: u8, size: usize },
    #[error("{name} became {value}, so the server reads texts otherwise than they are judged")]
    ReadsOtherwise { name: &'static str, value: String },
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
            if is_whole && matches!(header.tag, b'D' | b'd' | b'V') && self.pass_row(header) {
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
            } else if matches!(header.tag, b'D' | b'd' | b'V') && inbox.len() > HIGH_WATER && !self.awaits_plan(header)
            {
                self.partial =
                    if self.pass_row(header) { Partial::Forward(header.size) } else { Partial::Drop(header.size) };
            } else if header.size > MAX_BUFFERED && !matches!(header.tag, b'D' | b'd' | b'V') {
                // Held whole before it is understood: it must not fill the memory.
                return Err(Broken::TooLong { tag: header.tag, size: header.size });
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

    /// Counts a row, COPY data or a function's result; returns whether it is the client's.
    fn pass_row(&mut self, header: Header) -> bool {
        const HINT: &str =
            "Add a LIMIT or a narrower WHERE, or aggregate on the server. SHOW pgbelay.limits tells the limits.";
        if self.is_muted || header.tag == b'V' && !matches!(self.replies.front(), Some(Expect::Query(_))) {
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
        let (what, limit, hit) = match (rows, bytes) {
            (None, None) => return true,
            (Some(limit), _) => ("rows", limit, Limit::RowsReturned),
            (None, Some(limit)) => ("bytes", limit, Limit::BytesReturned),
        };
        let tier = self.judge.policy.tier;
        let message = || format!("the read returned more than {limit} {what}, the limit on {tier}");
        if self.judge.policy.mode(READ_LIMIT) == Mode::Report {
            run.report(READ_LIMIT, || (message(), format!("more than {limit} {what} were returned"), HINT.to_owned()));
            return true;
        }
        self.limits_hit.push(hit);
        run.is_cut_off = true;
        run.sqlstate = Some(sqlstate::ROW_LIMIT.to_owned());
        self.records.push(Record {
            message: Some(format!("the read was ended after {limit} {what}")),
            sqlstate: Some(sqlstate::ROW_LIMIT.to_owned()),
            ..run.record(Event::Limit, &self.context)
        });
        self.wants_cancel = true;
        self.cut_off.push(
            Report::error(sqlstate::ROW_LIMIT, message())
                .detail(
                    "rule read-limit: the statement was cancelled on the server; the rows already sent are not all.",
                )
                .hint(HINT),
        );
        false
    }

    /// A function may have set what no statement may. Nothing more is judged then: the connection and its session end.
    fn reads_otherwise(&self, link: &Link) -> Option<Broken> {
        if !self.judge.policy.is_guarded() {
            return None;
        }
        ["standard_conforming_strings", "client_encoding"].into_iter().find_map(|name| {
            let value = link.parameters.get(name)?;
            reads_texts_otherwise(name, value).then(|| Broken::ReadsOtherwise { name, value: value.to_owned() })
        })
    }

    fn take_answer(&mut self, header: Header, message: &[u8], link: &mut Link) -> Result<(), Broken> {
        for report in std::mem::take(&mut self.cut_off) {
            report.write(&mut self.out);
        }
        let body = &message[HEADER..];
        match header.tag {
            b'S' => {
                link.learn(body);
                if let Some(broken) = self.reads_otherwise(link) {
                    return Err(broken);
                }
                if !matches!(self.replies.front(), Some(Expect::Own(Own::Settings))) {
                    self.tell_parameters(link);
                }
                Ok(())
            }
            b'N' => {
                let is_own_block = self.stepwise.as_ref().is_some_and(|s| s.opens_block)
                    && error_field(body, b'C').as_deref() == Some(sqlstate::ACTIVE_TRANSACTION);
                if !self.is_muted && !is_own_block && !self.replies.front().is_some_and(Expect::is_own) {
                    self.out.extend_from_slice(message);
                }
                Ok(())
            }
            b'A' => {
                self.pass_notification(message, link);
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
            b'H' | b'W' | b'T' | b'D' | b'd' | b'V' | b'c' | b't' | b'n' | b'1' | b'2' | b'3' => {
                self.take_piece(header.tag, message, link)
            }
            _ => Err(self.unexpected(header.tag)),
        }
    }

    /// NotificationResponse. A client knows who has sent it by the process id that was told at login, which is another one upstream.
    fn pass_notification(&mut self, message: &[u8], link: &Link) {
        match message[HEADER..].split_first_chunk() {
            Some((pid, rest)) => {
                self.out.extend_from_slice(&message[..HEADER]);
                self.out.extend_from_slice(&link.told_pid(u32::from_be_bytes(*pid)).to_be_bytes());
                self.out.extend_from_slice(rest);
            }
            None => self.out.extend_from_slice(message),
        }
    }

    /// A message that is one whole answer, or a piece of one, and changes nothing.
    fn take_piece(&mut self, tag: u8, message: &[u8], link: &mut Link) -> Result<(), Broken> {
        if let Some(Expect::Own(Own::Aside { what, closes })) = self.replies.front_mut() {
            let what = *what;
            match tag {
                b'3' => *closes -= 1,
                b'D' if what == Aside::Plan => self.planning.learn(&message[HEADER..]),
                b'D' => self.counting.learn(&message[HEADER..]),
                _ => {}
            }
            if *closes == 0 {
                self.replies.pop_front();
                match what {
                    Aside::Count(stage) => self.counted_in_batch(stage, link),
                    Aside::Plan => self.planning.complete(),
                    Aside::ReadOnly | Aside::ForgetSequences => {}
                }
            }
            return Ok(());
        }
        match (self.replies.front(), tag) {
            (Some(Expect::Describe(Some(described))), b't' | b'T' | b'n') => {
                let described = described.clone();
                self.learn_description(&described, tag, &message[HEADER..], link);
            }
            (Some(Expect::Own(Own::Describe(id))), b't' | b'T' | b'n') => {
                learn_of_connection(*id, tag, &message[HEADER..], link);
            }
            _ => {}
        }
        let ends = match (self.replies.front(), tag) {
            (Some(Expect::Parse { .. }), b'1') | (Some(Expect::Bind { .. }), b'2') | (Some(Expect::Close(_)), b'3') => {
                true
            }
            (Some(Expect::Describe(_) | Expect::Own(Own::Describe(_))), b'T' | b'n') => true,
            (Some(Expect::Own(Own::Parse(_))), b'1') | (Some(Expect::Own(Own::Close)), b'3') => true,
            (Some(Expect::Describe(_) | Expect::Own(Own::Describe(_))), b't') => false,
            // The answer to a FunctionCall; ReadyForQuery follows it.
            (Some(Expect::Query(_)), b'V') => false,
            // As if it were a simple query: no answers to Parse, Bind and Describe.
            (Some(Expect::SingleStep(_)), b'1' | b'2' | b'n') => return Ok(()),
            (
                Some(Expect::Query(_) | Expect::Step(_) | Expect::SingleStep(_) | Expect::Execute(_)),
                b'T' | b'D' | b'd' | b'c' | b'H' | b'W',
            ) => false,
            // Rows of the proxy's own queries.
            (Some(Expect::Own(Own::Settings)), b'T' | b'D') | (Some(Expect::Own(Own::Doubt | Own::Count(_))), b'T') => {
                return Ok(());
            }
            (Some(Expect::Own(Own::Plan)), b'1' | b'2' | b'3') => return Ok(()),
            (Some(Expect::Own(Own::Plan)), b'D') => {
                self.planning.learn(&message[HEADER..]);
                return Ok(());
            }
            (Some(Expect::Own(Own::Count(_))), b'D') => {
                self.counting.learn(&message[HEADER..]);
                return Ok(());
            }
            (Some(Expect::Own(Own::Doubt)), b'D') => {
                self.state.doubt.learn(&message[HEADER..]);
                return Ok(());
            }
            _ => return Err(self.unexpected(tag)),
        };
        self.pass_reply(message);
        if ends
            && let Some(Expect::Parse { statement, .. } | Expect::Own(Own::Parse(statement))) = self.replies.pop_front()
        {
            link.prepared.parse_ended();
            if let Some(statement) = statement {
                statement.set_valid(true);
            }
        }
        Ok(())
    }

    /// Passes on an answer, unless the client is to hear nothing of it.
    pub(super) fn pass_reply(&mut self, message: &[u8]) {
        let is_hidden = self.is_muted
            || match self.replies.front_mut() {
                Some(Expect::Own(_)) | None => true,
                Some(expected) => expected.run().is_some_and(|run| run.is_cut_off),
            };
        if !is_hidden {
            self.out.extend_from_slice(message);
        }
    }

    fn take_ready(&mut self, now: TransactionState, link: &mut Link) -> Result<(), Broken> {
        let Some(front) = self.replies.pop_front() else { return Err(self.unexpected(b'Z')) };
        link.transaction = now;
        match front {
            Expect::Query(mut run) => {
                self.state.ready(now, link);
                self.has_reset = false;
                if now == TransactionState::Idle {
                    self.portals.clear();
                }
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
                self.syncs.1 += 1;
                self.state.ready(now, link);
                self.is_muted = false;
                put_ready(now, &mut self.out);
            }
            Expect::Own(own) => {
                let (is_settings, is_doubt) = (matches!(own, Own::Settings), matches!(own, Own::Doubt));
                if matches!(own, Own::Plan) {
                    self.planning.complete();
                }
                let counted = match own {
                    Own::Count(stage) => Some(stage),
                    _ => None,
                };
                if !Expect::Own(own).is_simple() {
                    return Err(self.unexpected(b'Z'));
                }
                self.state.ready(now, link);
                if is_settings && self.refusal.is_none() {
                    self.has_retried_settings = false;
                    link.applied = Applied::Known(self.state.wanted.clone());
                    if now == TransactionState::Idle {
                        self.state.mark_boundary(link);
                    }
                    self.tell_parameters(link);
                }
                if is_doubt {
                    self.state.resolve(link);
                }
                if let Some(stage) = counted {
                    self.counted_step(stage);
                }
            }
            front => {
                self.replies.push_front(front);
                return Err(self.unexpected(b'Z'));
            }
        }
        if now == TransactionState::Idle {
            self.has_created = false;
            if std::mem::take(&mut self.has_changed_schema) {
                self.statements.forget();
            }
            self.state.check_read_only(link);
            // Portals end with their transaction; those of batches behind it have just begun.
            let answered = self.syncs.1;
            self.portals.retain(|_, portal| portal.batch >= answered);
        }
        self.ask_doubt(link);
        link.in_sync = !self.is_server_busy() && !self.is_unsynced;
        Ok(())
    }

    /// Tells the client the parameters that differ from what it was told.
    pub(super) fn tell_parameters(&mut self, link: &Link) {
        for (name, value) in link.parameters.iter() {
            // After a RESET the server has its own default until the session's is set again.
            let value = match self.greeting.get(name) {
                Some(initial) if self.state.is_reset(name, link) => initial,
                _ => value,
            };
            if self.told.set(name, value) {
                put_parameter_status(name, value, &mut self.out);
            }
        }
    }

    pub(super) fn unexpected(&self, tag: u8) -> Broken {
        Broken::Unexpected { tag, expected: format!("{:?}", self.replies.front().map(std::mem::discriminant)) }
    }
}
