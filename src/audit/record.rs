//! What is recorded: one [`Record`] becomes one line of the audit trail (docs/audit.md).

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::config::{Role, Tier};
use crate::policy::{RuleId, WouldDeny};

/// Who is connected, made once when a session starts and shared by all its records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionContext {
    /// The session's number, unique within the trail: process start time and a counter, in hex.
    pub id: String,
    /// User name at the proxy.
    pub user: String,
    /// Role; `None` before the user is known.
    pub role: Option<Role>,
    /// Database name in the configuration.
    pub database: String,
    /// Tier; `None` before the database is known.
    pub tier: Option<Tier>,
    /// Client address; `None` on a Unix-domain socket.
    pub client: Option<SocketAddr>,
    /// `application_name` of the start-up message.
    pub application_name: Option<String>,
    /// TLS version and, with a client certificate, its subject.
    pub tls: Option<String>,
    /// Its fields as they stand in each record.
    pub written: Written,
}

/// Fields as the trail writes them, kept once they were written. What is cloned may be changed, so a clone keeps nothing.
#[derive(Debug, Default)]
pub struct Written(OnceLock<Box<[u8]>>);

impl Written {
    /// Longer ones are not kept, in bytes: they are rare, and one record holds enough of them in memory.
    const MOST: usize = 2 << 10;

    pub(super) fn get(&self) -> Option<&[u8]> {
        self.0.get().map(|fields| &**fields)
    }

    pub(super) fn keep(&self, fields: &[u8]) {
        if fields.len() <= Self::MOST {
            self.0.get_or_init(|| fields.into());
        }
    }
}

impl Clone for Written {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Written {
    /// It follows from what stands beside it.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A session was authenticated.
    SessionStart,
    /// A session ended.
    SessionEnd,
    /// A login was refused.
    AuthFail,
    /// A guarded write is about to run: on disk before the upstream sees it.
    Statement,
    /// A statement ended, well or badly.
    Result,
    /// A statement was refused.
    Deny,
    /// A confirmation was asked for or given.
    Confirm,
    /// A limit ended a statement or a session.
    Limit,
    /// The configuration was loaded again, or failed to.
    ConfigReload,
    /// The process started, stopped, rotated the file or mended its end; or an operator gave an order.
    Admin,
}

impl Event {
    /// The `event` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::SessionStart => "session.start",
            Event::SessionEnd => "session.end",
            Event::AuthFail => "auth.fail",
            Event::Statement => "statement",
            Event::Result => "result",
            Event::Deny => "deny",
            Event::Confirm => "confirm",
            Event::Limit => "limit",
            Event::ConfigReload => "config.reload",
            Event::Admin => "admin",
        }
    }
}

/// One line of the trail, before it gets its `seq`, `prev` and time.
#[derive(Clone, Debug)]
pub struct Record {
    /// What happened.
    pub event: Event,
    /// Whose session; `None` for the process's own records.
    pub session: Option<Arc<SessionContext>>,
    /// What the statement is; `None` where there is none.
    pub statement: Option<Arc<StatementRecord>>,
    /// Number of the statement within its session, 1-based: joins `statement` and `result`.
    pub statement_no: Option<u64>,
    /// The reason the user gave.
    pub reason: Option<Arc<str>>,
    /// The rule that decided.
    pub rule: Option<RuleId>,
    /// `allow`, `guarded`, `read_only`, `confirm`, `deny`.
    pub verdict: Option<&'static str>,
    /// What rules in report mode would have refused.
    pub would_deny: Arc<[WouldDeny]>,
    /// Rows that the planner expected, where it was asked.
    pub estimated_rows: Option<u64>,
    /// Cost that it expected, in its own units.
    pub estimated_cost: Option<f64>,
    /// Rows changed or returned.
    pub rows: Option<u64>,
    /// Bytes sent to the client.
    pub bytes: Option<u64>,
    /// How long it took.
    pub duration: Option<Duration>,
    /// SQLSTATE of its error; `None` when it ended well.
    pub sqlstate: Option<String>,
    /// Bound parameters as text, where the policy wants them; `None` inside for NULL or a binary value.
    pub parameters: Option<Vec<Option<String>>>,
    /// Anything else, for people.
    pub message: Option<String>,
}

impl Record {
    /// A record with nothing but its event.
    pub fn new(event: Event) -> Self {
        Self {
            event,
            session: None,
            statement: None,
            statement_no: None,
            reason: None,
            rule: None,
            verdict: None,
            would_deny: Arc::default(),
            estimated_rows: None,
            estimated_cost: None,
            rows: None,
            bytes: None,
            duration: None,
            sqlstate: None,
            parameters: None,
            message: None,
        }
    }

    /// A record of a session.
    pub fn of(event: Event, session: &Arc<SessionContext>) -> Self {
        Self { session: Some(Arc::clone(session)), ..Self::new(event) }
    }
}

/// The part of a record that depends on the text alone: made once per text and shared.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementRecord {
    /// pgaudit classes of its statements, joined by `,`.
    pub class: String,
    /// Command tags of its statements, joined by `; `.
    pub kind: String,
    /// Tables written or read, as written, sorted and once each.
    pub tables: Vec<String>,
    /// The text, secrets redacted.
    pub sql: String,
    /// Fingerprints of its statements, joined by `,`.
    pub fingerprint: String,
    /// W3C traceparent of a sqlcommenter comment.
    pub traceparent: Option<String>,
    /// Its fields, but for the last, as they stand in each record.
    pub written: Written,
}
