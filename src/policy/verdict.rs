//! What was decided of a query text. Only [`super::decide`] makes a [`Permit`].

use std::collections::BTreeSet;
use std::sync::Arc;

use super::SessionTables;
use crate::sql::{Made, Mention, Name, Script};

/// SQLSTATE codes that the proxy itself answers with (Postgres documentation, appendix A).
pub mod sqlstate {
    /// insufficient_privilege: a rule refused the statement.
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// read_only_sql_transaction: the session is read-only.
    pub const READ_ONLY: &str = "25006";
    /// query_canceled: the statement ran into a time limit or was cancelled.
    pub const QUERY_CANCELED: &str = "57014";
    /// idle_session_timeout: the session ran into its limit.
    pub const SESSION_LIMIT: &str = "57P05";
    /// too_many_connections: the pool is full, or the proxy is.
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    /// program_limit_exceeded: a row limit.
    pub const ROW_LIMIT: &str = "54000";
    /// feature_not_supported by the proxy.
    pub const NOT_SUPPORTED: &str = "0A000";
    /// io_error: what cannot be audited is not run.
    pub const AUDIT_FAILURE: &str = "58030";
    /// protocol_violation.
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    /// invalid_password.
    pub const INVALID_PASSWORD: &str = "28P01";
    /// invalid_authorization_specification.
    pub const INVALID_AUTHORIZATION: &str = "28000";
    /// invalid_catalog_name: no such database.
    pub const UNKNOWN_DATABASE: &str = "3D000";
    /// connection_failure: the upstream was lost.
    pub const CONNECTION_FAILURE: &str = "08006";
    /// sqlclient_unable_to_establish_sqlconnection: the upstream cannot be reached.
    pub const CANNOT_CONNECT: &str = "08001";
    /// cannot_connect_now
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    /// admin_shutdown.
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    /// idle_in_transaction_session_timeout.
    pub const IDLE_IN_TRANSACTION: &str = "25P03";
    /// in_failed_sql_transaction.
    pub const FAILED_TRANSACTION: &str = "25P02";
    /// invalid_sql_statement_name: no such prepared statement.
    pub const UNKNOWN_STATEMENT: &str = "26000";
    /// duplicate_prepared_statement.
    pub const DUPLICATE_STATEMENT: &str = "42P05";
    /// The statement needs a transaction block.
    pub const NO_TRANSACTION: &str = "25P01";
    /// A transaction block is open already.
    pub const ACTIVE_TRANSACTION: &str = "25001";
    /// invalid_cursor_name: no such portal.
    pub const UNKNOWN_PORTAL: &str = "34000";
    /// character_not_in_repertoire: the text is not UTF-8.
    pub const BAD_ENCODING: &str = "22021";
    /// object_not_in_prerequisite_state: an operator has disabled the database.
    pub const DISABLED: &str = "55000";
    /// internal_error.
    pub const INTERNAL: &str = "XX000";
}

/// What may happen to a query text as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It may run, as the permit says.
    Allow(Permit),
    /// It may run once it is confirmed.
    Confirm(Pending),
    /// It may not.
    Deny(Denial),
}

/// A text that waits for its confirmation: it may be parsed and described upstream, and planned where that runs nothing. Made by
/// [`super::decide`] alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// What the client is told when it would run it.
    pub denial: Denial,
    /// Planning it runs nothing: the planner calls functions of constants that say they are IMMUTABLE, and one that reaches code
    /// which may do anything would have done it before the user has said yes.
    pub is_plannable: bool,
    pub(super) _sealed: Sealed,
}

/// The right to send one query text upstream. Made by [`super::decide`] alone: nothing else can write its private field.
#[derive(Clone, Debug, PartialEq)]
pub struct Permit {
    /// What was judged.
    pub script: Arc<Script>,
    /// Stable id of the rule that decided, for the audit record (`default` where none had to).
    pub rule: RuleId,
    /// How the statements must be run.
    pub guards: Guards,
    /// Warnings to show the client with the answer.
    pub notices: Vec<Notice>,
    /// What rules in report mode would have refused.
    pub would_deny: Arc<[WouldDeny]>,
    pub(super) _sealed: Sealed,
}

/// Keeps [`Permit`] from being made outside this module's parent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sealed;

/// How an allowed text must be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// Every transaction is READ ONLY on the server.
    pub read_only: bool,
    /// The text was not understood: it goes through the extended protocol (one statement only) inside a READ ONLY transaction,
    /// and the connection's settings count as unknown afterwards.
    pub single_statement: bool,
    /// Most rows one of its writes may change.
    pub max_rows_written: Option<u64>,
    /// Most rows one of its reads may return.
    pub max_rows_returned: Option<u64>,
    /// The intent is on disk before the server sees the text.
    pub intent: bool,
    /// The text may leave session state that was not read off it (an opaque function): settings count as unknown afterwards.
    pub opaque: bool,
    /// The plan of what can be planned in it is asked for and judged before it runs ([`super::judge_plan`]).
    pub plan: bool,
}

impl Guards {
    /// The word that `explain` and the audit trail use for a permit with these guards.
    pub fn verdict_name(&self) -> &'static str {
        if self.read_only {
            "read_only"
        } else if self.max_rows_written.is_some() {
            "guarded"
        } else {
            "allow"
        }
    }
}

/// A stable rule id, as documented in docs/policy.md.
pub type RuleId = &'static str;

/// A refusal, ready to be shown: Postgres's message style (lower case, no full stop; DETAIL and HINT are sentences).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The rule.
    pub rule: RuleId,
    /// Which statement of the text (0-based) was refused.
    pub statement: usize,
    /// SQLSTATE.
    pub sqlstate: &'static str,
    /// Primary message.
    pub message: String,
    /// DETAIL: begins with `rule <id>: `.
    pub detail: String,
    /// HINT: what to do instead.
    pub hint: String,
}

/// What a rule in report mode would have done: recorded, and not told to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldDeny {
    /// The rule.
    pub rule: RuleId,
    /// `deny` or `confirm`.
    pub verdict: &'static str,
    /// Primary message of the refusal.
    pub message: String,
    /// Its DETAIL without `rule <id>: `.
    pub detail: String,
    /// Its HINT.
    pub hint: String,
}

/// A warning that does not stop the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The rule.
    pub rule: RuleId,
    /// Primary message.
    pub message: String,
    /// DETAIL.
    pub detail: String,
    /// HINT.
    pub hint: String,
}

/// What `decide` needs to know of the session; everything else is in the policy.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// Name of the database without the tier, for hints (`app`).
    pub database: &'a str,
    /// The reason given, if any.
    pub reason: Option<&'a str>,
    /// What the server's catalog says of functions.
    pub catalog: &'a dyn Catalog,
    /// What the session knows of its tables.
    pub tables: &'a SessionTables,
    /// What the session has made since the catalog was loaded, or given rules and triggers.
    pub made: &'a BTreeSet<Made>,
    /// Whether the user has confirmed this very text.
    pub confirmation: Confirmation,
}

/// Whether a text was confirmed with the one-time token its refusal held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// It was not: what needs it is refused with a token.
    NotGiven,
    /// It was: what needs it may run.
    Given,
}

/// What is known of the code that a database keeps.
pub trait Catalog: std::fmt::Debug + Send + Sync {
    /// The worst of all functions of this name that a call with so many arguments could mean.
    fn function(&self, schema: Option<&str>, name: &str, arity: usize) -> FunctionNature;

    /// Whether a name or an operator may run a function that may do anything; with `is_only_planned`, one that the planner calls.
    fn may_run(&self, mention: &Mention, is_only_planned: bool) -> bool;

    /// Whether reading a view, or refreshing a materialized one, calls a function that may do anything.
    fn view_may_run(&self, name: &Name, is_refreshed: bool) -> bool;
}

/// What a call of a function may do; the worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionNature {
    /// Part of Postgres (pg_catalog), judged by the table of `sql::functions` alone.
    BuiltIn,
    /// The database's own, IMMUTABLE or STABLE, and calls nothing worse: cannot write.
    ReadOnly,
    /// The database's own and VOLATILE, or not known: may do anything that the server lets it.
    Opaque,
    /// The same in a language that a READ ONLY transaction does not hold: C, PL/Python …
    Unheld,
    /// Part of Postgres, VOLATILE, and not in the table: of a server newer than the table.
    Unjudged,
}
