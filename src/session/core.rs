//! The state machine of one client, without sockets: bytes in, bytes and requests out.
//!
//! `client` looks at what the client sent and `upstream` at what the server answered. Neither waits: what needs waiting for
//! (a connection, an audit record on disk) is returned as a [`Step`] and the same message is looked at again afterwards.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BytesMut};

use super::confirm::Confirm;
use super::count::Counting;
use super::intent::Intent;
use super::made::MadeHere;
use super::plan::Planning;
use super::portals::Portal;
use super::prepared::PreparedStatements;
use super::replies::{Expect, Own};
use super::run::Run;
use super::state::SessionState;
use super::stepwise::Stepwise;
use crate::audit::{Record, SessionContext};
use crate::guard::{Judge, Judged};
use crate::policy::{RuleId, sqlstate};
use crate::sql::Class;
use crate::telemetry::Limit;
use crate::upstream::{Link, Parameters, Reach, Settings, Statements};
use crate::wire::{BodyError, FrameError, HEADER, Header, MAX_BUFFERED, Report, TransactionState, frontend_header};

/// Output beyond this many bytes is sent before more is taken in.
pub(super) const HIGH_WATER: usize = 64 * 1024;

/// What has to happen before the machine can go on.
#[derive(Debug)]
pub(super) enum Step {
    /// More bytes from the client.
    NeedInput,
    /// Answers of the server.
    AwaitReplies,
    /// The output is to be sent first.
    Drain,
    /// An upstream connection, to such a server; one that is held is given back for it.
    NeedLease(Reach),
    /// The server's catalog, loaded anew; then [`Core::catalog_loaded`] or [`Core::catalog_asked`].
    NeedCatalog,
    /// This record on disk; then [`Core::intent_recorded`].
    NeedIntent(Box<Record>),
    /// The session is over; what is in `out` is still to be sent.
    End,
}

/// What is being read of a message too large to be held.
#[derive(Debug, Default)]
enum Passing {
    #[default]
    Nothing,
    /// So many bytes go to the server as they are.
    Forward(usize),
    /// So many bytes are dropped.
    Discard(usize),
}

pub(super) struct Core {
    pub(super) judge: Arc<Judge>,
    pub(super) context: Arc<SessionContext>,
    pub(super) statements: Arc<Statements>,
    /// Bytes for the client.
    pub(super) out: BytesMut,
    /// Records to be queued, in order.
    pub(super) records: Vec<Record>,
    /// Statements that ended, for metrics.
    pub(super) finished: Vec<(Arc<Judged>, std::time::Duration)>,
    /// Rules in report mode that would have refused a statement that ended, to be counted.
    pub(super) would_deny: Vec<RuleId>,
    /// Limits of rows and bytes that ended a statement, to be counted.
    pub(super) limits_hit: Vec<Limit>,
    /// Refusals for metrics: class, rule, verdict.
    pub(super) denied: Vec<(Class, &'static str, &'static str)>,
    /// The audit trail could not be written lately: what has to be recorded is not run, where the policy says so.
    pub(super) is_audit_failing: bool,
    /// The client broke the protocol, for metrics.
    pub(super) has_violated: bool,
    /// The statement in flight is to be cancelled upstream.
    pub(super) wants_cancel: bool,
    /// The connection's state is in doubt: it must be closed.
    pub(super) drop_lease: bool,
    pub(super) state: SessionState,
    /// What it has made that runs code.
    pub(super) made: MadeHere,
    pub(super) replies: VecDeque<Expect>,
    /// ParameterStatus as the client knows it.
    pub(super) told: Parameters,
    /// Those that were told at the start and follow from the session's own initial settings.
    pub(super) greeting: Parameters,
    /// The reason given with `SET pgbelay.reason`.
    pub(super) reason: Option<Arc<str>>,
    /// The judgement of the text at hand, which is looked at again once there is a connection.
    pub(super) at_hand: Option<Arc<Judged>>,
    /// The text at hand was confirmed.
    pub(super) confirmed: Option<Arc<Judged>>,
    /// Confirmation asked for and given.
    pub(super) confirm: Confirm,
    /// After an error in the extended protocol: messages are dropped until Sync.
    pub(super) is_skipping: bool,
    /// Extended messages were sent upstream since the last Sync.
    pub(super) is_unsynced: bool,
    /// Such messages were sent since the last Flush or Sync.
    pub(super) is_unflushed: bool,
    /// The server takes COPY data.
    pub(super) is_copying_in: bool,
    /// Syncs sent upstream, and answered: portals live up to the one that follows them.
    pub(super) syncs: (u64, u64),
    /// A function that may leave state was called since the last Sync.
    pub(super) is_batch_opaque: bool,
    /// Rows of writes that no command tag tells.
    pub(super) counting: Counting,
    /// The plan of the statement at hand.
    pub(super) planning: Planning,
    /// A statement that takes away what the policy forces, or every prepared statement, was sent in this batch: nothing may
    /// follow it before Sync.
    pub(super) has_reset: bool,
    /// The transaction has changed what prepared texts mean; others see that once it has ended.
    pub(super) has_changed_schema: bool,
    /// Something was created in the transaction.
    pub(super) has_created: bool,
    /// The connection has something that must not be used again: it is closed instead of returned.
    pub(super) retire_lease: bool,
    /// Bytes of the proxy's own answers that wait for their turn.
    pub(super) queued: usize,
    /// Errors of reads that ran over a limit, to be told before the next answer.
    pub(super) cut_off: Vec<Report>,
    /// After a write over its limit in the extended protocol: the client was told, and hears nothing more until Sync.
    pub(super) is_muted: bool,
    /// The session's settings could not be applied: the message at hand is refused with this.
    pub(super) refusal: Option<Report>,
    /// The session's settings were refused on a connection, and another one was tried.
    pub(super) has_retried_settings: bool,
    pub(super) prepared: PreparedStatements,
    pub(super) portals: HashMap<Box<str>, Portal>,
    pub(super) stepwise: Option<Box<Stepwise>>,
    pub(super) partial: super::server_side::Partial,
    passing: Passing,
    pub(super) intent: Intent,
    pub(super) statement_no: u64,
    /// Tells its sequence values from those of other sessions.
    pub(super) serial: u64,
    /// It has asked for currval or lastval.
    pub(super) reads_sequences: bool,
    /// A message was looked at and has to be looked at again: the connection stays until it is done with.
    is_message_waiting: bool,
}

impl Core {
    pub(super) fn new(
        judge: Arc<Judge>,
        context: Arc<SessionContext>,
        statements: Arc<Statements>,
        initial: Settings,
        told: Parameters,
        reason: Option<Arc<str>>,
    ) -> Self {
        let greeting = told.only(|name| initial.get(&name.to_lowercase()).is_some());
        Self {
            context,
            statements,
            out: BytesMut::new(),
            records: vec![],
            finished: vec![],
            would_deny: vec![],
            limits_hit: vec![],
            denied: vec![],
            is_audit_failing: false,
            has_violated: false,
            wants_cancel: false,
            drop_lease: false,
            state: SessionState::new(judge.forced.clone(), initial),
            judge,
            made: MadeHere::default(),
            replies: VecDeque::new(),
            greeting,
            told,
            reason,
            at_hand: None,
            confirmed: None,
            confirm: Confirm::default(),
            is_skipping: false,
            is_unsynced: false,
            is_unflushed: false,
            is_copying_in: false,
            syncs: (0, 0),
            is_batch_opaque: false,
            counting: Counting::default(),
            planning: Planning::default(),
            has_reset: false,
            retire_lease: false,
            queued: 0,
            cut_off: vec![],
            is_muted: false,
            refusal: None,
            has_retried_settings: false,
            prepared: PreparedStatements::default(),
            portals: HashMap::new(),
            stepwise: None,
            partial: super::server_side::Partial::default(),
            passing: Passing::Nothing,
            intent: Intent::NotAsked,
            statement_no: 0,
            serial: next_serial(),
            has_changed_schema: false,
            has_created: false,
            reads_sequences: false,
            is_message_waiting: false,
        }
    }

    /// Takes in what the client sent, as far as it can go.
    pub(super) fn client(&mut self, input: &mut BytesMut, link: Option<&mut Link>) -> Step {
        let step = self.advance(input, link);
        self.is_message_waiting =
            matches!(step, Step::AwaitReplies | Step::NeedIntent(_) | Step::NeedLease(_) | Step::Drain);
        step
    }

    fn advance(&mut self, input: &mut BytesMut, mut link: Option<&mut Link>) -> Step {
        loop {
            if self.out.len() > HIGH_WATER || link.as_ref().is_some_and(|l| l.outbox.len() > HIGH_WATER) {
                return Step::Drain;
            }
            self.answer_in_turn();
            if self.queued > HIGH_WATER || self.replies.len() > MAX_IN_FLIGHT {
                // A client that asks without end and reads nothing waits for the server, too.
                return match self.await_replies(link) {
                    Progress::Stop(step) => step,
                    Progress::Consumed => Step::AwaitReplies,
                };
            }
            if self.pass(input, link.as_deref_mut()) {
                return Step::NeedInput;
            }
            if let Some(link) = link.as_deref_mut() {
                self.ask_doubt(link);
            }
            if self.stepwise.is_some() && !self.is_copying_in {
                if !self.replies.is_empty() {
                    return Step::AwaitReplies;
                }
                match self.next_step(link.as_deref_mut()) {
                    Some(step) => return step,
                    None => continue,
                }
            }
            let header = match frontend_header(input) {
                Ok(Some(header)) => header,
                Ok(None) => return Step::NeedInput,
                Err(error) => return self.protocol_violation(&error),
            };
            let is_whole = input.len() >= header.size;
            if !is_whole && !streams(header) {
                if header.size > MAX_BUFFERED {
                    return self.too_long(header);
                }
                return Step::NeedInput;
            }
            if self.waits_for_catalog() {
                return Step::NeedCatalog;
            }
            match self.message(header, input, link.as_deref_mut()) {
                Progress::Consumed => {
                    self.intent = Intent::NotAsked;
                    self.at_hand = None;
                    self.confirmed = None;
                    self.planning = Planning::NotAsked;
                }
                Progress::Stop(step) => return step,
            }
        }
    }

    fn message(&mut self, header: Header, input: &mut BytesMut, link: Option<&mut Link>) -> Progress {
        if self.is_skipping && !matches!(header.tag, b'S' | b'X') {
            return self.discard(header, input);
        }
        if matches!(header.tag, b'P' | b'B' | b'D' | b'E') {
            if !self.state.is_orphaned
                && let Some(report) = self.refusal.take()
            {
                self.refuse_extended(&report, link);
                return self.discard(header, input);
            }
            if self.has_reset {
                self.refuse_extended(&behind_reset(), link);
                return self.discard(header, input);
            }
            if header.tag == b'P' && self.has_opaque_in_flight() {
                self.refuse_extended(&behind_opaque(), link);
                return self.discard(header, input);
            }
            if !self.is_unsynced && self.has_effects_in_flight() {
                // What the batch before does to transaction and settings must be known.
                return self.await_replies(link);
            }
        }
        match header.tag {
            b'd' | b'c' | b'f' => self.copy_data(header, input, link),
            b'S' | b'H' if self.is_copying_in => {
                // The server ignores them while it reads COPY data, so they get no answer.
                input.advance(header.size);
                Progress::Consumed
            }
            // A COPY that is not ended by its client is not done.
            b'X' if self.is_copying_in => Progress::Stop(Step::End),
            // What was sent before it is done first, as by a server that reads one message after the other.
            b'X' if !self.is_idle() => self.await_replies(link),
            b'X' => Progress::Stop(Step::End),
            _ if self.is_copying_in => Progress::Stop(
                self.fatal(
                    Report::fatal(
                        sqlstate::PROTOCOL_VIOLATION,
                        format!("unexpected message type {:?} during COPY from stdin", header.tag as char),
                    )
                    .hint("End the COPY with CopyDone or CopyFail first."),
                ),
            ),
            b'Q' => self.framed(header, input, |core, body| core.query(body, link)),
            b'P' => self.framed(header, input, |core, body| core.parse(body, link)),
            b'B' => self.framed(header, input, |core, body| core.bind(body, link)),
            b'D' => self.framed(header, input, |core, body| core.describe(body, link)),
            b'E' => self.framed(header, input, |core, body| core.execute(body, link)),
            b'C' => self.framed(header, input, |core, body| core.close(body, link)),
            b'S' => self.framed(header, input, |core, body| core.sync(body, link)),
            b'H' => self.framed(header, input, |core, body| core.flush(body, link)),
            b'F' => self.framed(header, input, |core, body| core.function_call(body, link)),
            // 'p': a password outside authentication.
            tag => Progress::Stop(self.fatal(Report::fatal(
                sqlstate::PROTOCOL_VIOLATION,
                format!("unexpected message type {:?} after authentication", tag as char),
            ))),
        }
    }

    /// Handles the body of a whole message and takes it off the input unless it has to be looked at again.
    fn framed(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        handle: impl FnOnce(&mut Self, &[u8]) -> Progress,
    ) -> Progress {
        let progress = handle(self, &input[HEADER..header.size]);
        if matches!(progress, Progress::Consumed) {
            input.advance(header.size);
        }
        progress
    }

    fn copy_data(&mut self, header: Header, input: &mut BytesMut, link: Option<&mut Link>) -> Progress {
        if !self.is_copying_in && self.has_copy_in() {
            // Sent before the server has asked for it: whether it will is known first.
            return self.await_replies(link);
        }
        let Some(link) = link.filter(|_| self.is_copying_in) else {
            // Sent before the client knew that the COPY had failed: Postgres ignores them, too.
            return self.discard(header, input);
        };
        let held = input.len().min(header.size);
        link.outbox.extend_from_slice(&input[..held]);
        input.advance(held);
        self.passing = Passing::Forward(header.size - held);
        if header.tag != b'd' {
            self.is_copying_in = false;
            // The server ignored any Flush while it read COPY data.
            self.is_unflushed = self.is_unsynced;
        }
        Progress::Consumed
    }

    fn discard(&mut self, header: Header, input: &mut BytesMut) -> Progress {
        let held = input.len().min(header.size);
        input.advance(held);
        self.passing = Passing::Discard(header.size - held);
        Progress::Consumed
    }

    /// Passes on, or drops, the rest of a message that is read piece by piece. Returns true when more of it is to come.
    fn pass(&mut self, input: &mut BytesMut, link: Option<&mut Link>) -> bool {
        let (left, target) = match &mut self.passing {
            Passing::Nothing => return false,
            Passing::Forward(left) => (left, link),
            Passing::Discard(left) => (left, None),
        };
        let now = input.len().min(*left);
        if let Some(link) = target {
            link.outbox.extend_from_slice(&input[..now]);
        }
        input.advance(now);
        *left -= now;
        if *left == 0 {
            self.passing = Passing::Nothing;
            return false;
        }
        true
    }

    /// Whether the connection may go to another session now.
    pub(super) fn may_release(&self) -> bool {
        self.state.transaction == TransactionState::Idle
            && self.state.pins.is_empty()
            && self.replies.is_empty()
            && self.stepwise.is_none()
            && !self.state.doubt.is_open()
            && !self.is_message_waiting
            && !self.is_unsynced
            && !self.is_copying_in
            && matches!(self.passing, Passing::Nothing | Passing::Discard(_))
    }

    /// Asks the server what is in doubt, once nothing else is on its way there.
    pub(super) fn ask_doubt(&mut self, link: &mut Link) {
        let is_quiet = self.state.transaction == TransactionState::Idle
            && self.stepwise.is_none()
            && !self.is_unsynced
            && !self.is_copying_in
            && matches!(self.passing, Passing::Nothing)
            && !self.is_server_busy();
        if is_quiet && let Some(question) = self.state.doubt.question(&self.state.wanted) {
            self.send_own(&question, Own::Doubt, link);
        }
    }

    /// Whether nothing is in flight: the client is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.replies.is_empty() && self.stepwise.is_none()
    }

    /// Whether all that is in flight is a read.
    pub(super) fn is_reading(&mut self) -> bool {
        let is_read = |run: &mut Run| {
            run.judged.permit().is_some_and(|p| !p.guards.opaque)
                && run.judged.script.statements.iter().all(|f| f.class == Class::Read && f.writes.is_empty())
        };
        let mut runs = self.replies.iter_mut().filter_map(Expect::run).peekable();
        runs.peek().is_some() && runs.all(is_read)
    }

    /// Ends the session with an error.
    pub(super) fn fatal(&mut self, report: Report) -> Step {
        self.has_violated |= report.sqlstate == sqlstate::PROTOCOL_VIOLATION;
        self.answer_in_turn();
        report.write(&mut self.out);
        Step::End
    }

    fn protocol_violation(&mut self, error: &FrameError) -> Step {
        self.fatal(
            Report::fatal(sqlstate::PROTOCOL_VIOLATION, error.to_string())
                .hint("The client does not speak the Postgres protocol correctly; check the driver."),
        )
    }

    fn too_long(&mut self, header: Header) -> Step {
        self.fatal(
            Report::fatal(sqlstate::ROW_LIMIT, format!("a message of {} bytes is too long for the proxy", header.size))
                .detail(format!(
                    "Statements and the parameters of one Bind may have up to {MAX_BUFFERED} bytes; COPY data has no such limit."
                ))
                .hint("Send the data with COPY, or in several statements."),
        )
    }
}

fn behind_reset() -> Report {
    Report::error(
        sqlstate::NOT_SUPPORTED,
        "no statement may follow RESET ALL, DISCARD ALL or DEALLOCATE ALL in the same pipeline",
    )
    .detail("The session's limits and prepared statements have to be put back first.")
    .hint("Send Sync after it, or send it as a simple query.")
}

pub(super) fn behind_opaque() -> Report {
    Report::error(
        sqlstate::NOT_SUPPORTED,
        "no statement may be parsed behind a function that may change settings in the same pipeline",
    )
    .detail("How the server reads the next text is known only once the function has run.")
    .hint("Send Sync behind it.")
}

pub(super) fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Most answers that may be outstanding.
const MAX_IN_FLIGHT: usize = 10_000;

/// Whether a message may be passed on before it is whole.
fn streams(header: Header) -> bool {
    // Nothing else: what the proxy itself sends must never land inside a message that is half passed on.
    header.tag == b'd'
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Progress {
    /// It is done with.
    Consumed,
    /// It must be looked at again after this.
    Stop(Step),
}

/// What a malformed body is answered with.
pub(super) fn body_report(error: BodyError) -> Report {
    match error {
        BodyError::Encoding => Report::error(sqlstate::BAD_ENCODING, error.to_string())
            .hint("Send texts in UTF-8; the proxy inspects exactly what it sends."),
        BodyError::Short | BodyError::Leftover | BodyError::Unterminated | BodyError::Field => {
            Report::error(sqlstate::PROTOCOL_VIOLATION, error.to_string())
        }
    }
}
