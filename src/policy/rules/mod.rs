//! The rules: one file a family, one registry of them all. docs/policy.md has a section for each.

mod catalog_relations;
mod code;
mod context;
mod functions;
mod read_only;
mod reason;
mod reserved;
mod schema;
mod server_access;
mod settings;
mod text;
mod unbounded;
mod uncountable;
mod unparsed;
mod unsafe_ddl;

pub use context::known_or_opaque;
pub(crate) use context::qualified;
pub(super) use context::{Context, Finding, Phrase, category};
pub(super) use reason::is_known_catalog;
pub use settings::reads_texts_otherwise;

use super::{RuleId, sqlstate};
use crate::config::{Mode, Policy};

/// One rule: what it is called, and how it judges a statement.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable id, in errors, the audit trail and docs/policy.md.
    pub id: RuleId,
    /// What it is about, in a line.
    pub summary: &'static str,
    /// SQLSTATE of its refusals (Postgres documentation, appendix A).
    pub sqlstate: &'static str,
    /// How a configuration may change it.
    pub tuning: Tuning,
    pub(super) check: fn(&Context<'_>) -> Option<Finding>,
}

impl Rule {
    /// Whether the rule is enforced under a policy. A rule that others rest on is, whatever the policy says.
    pub fn mode(&self, policy: &Policy) -> Mode {
        match self.tuning {
            Tuning::KeyUnlessReadOnly(_) if policy.is_read_only() => Mode::Enforce,
            Tuning::Key(_) | Tuning::KeyUnlessReadOnly(_) | Tuning::Action(_) => policy.mode(self.id),
            Tuning::With(other) => policy.mode(other),
            Tuning::Fixed(_) => Mode::Enforce,
        }
    }
}

/// How `[tiers.TIER.rules.RULE]` may change a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// It follows this key of the configuration, and may be in report mode.
    Key(&'static str),
    /// As [`Tuning::Key`]; but in a read-only session it is enforced all the same, since READ ONLY on the server does not stop
    /// what it catches.
    KeyUnlessReadOnly(&'static str),
    /// It may have an action of its own, follows this key without one, and may be in report mode.
    Action(&'static str),
    /// Its mode is that of this other rule.
    With(RuleId),
    /// It cannot be changed, because the others rest on it; says why, as a clause.
    Fixed(&'static str),
}

/// A rule that acts while a statement runs, in the session: no text tells whether it will.
#[derive(Clone, Copy, Debug)]
pub struct RunTimeRule {
    /// Stable id.
    pub id: RuleId,
    /// What it is about, in a line.
    pub summary: &'static str,
    /// How a configuration may change it.
    pub tuning: Tuning,
}

/// The rule of `max_rows_written`.
pub const ROW_LIMIT: RuleId = "row-limit";

/// The rule of `max_rows_returned` and `max_bytes_returned`.
pub const READ_LIMIT: RuleId = "read-limit";

/// Every rule that acts while a statement runs.
pub const RUN_TIME_RULES: &[RunTimeRule] = &[
    RunTimeRule {
        id: ROW_LIMIT,
        summary: "a write that changes more rows than the tier allows",
        tuning: Tuning::Key("max_rows_written"),
    },
    RunTimeRule {
        id: READ_LIMIT,
        summary: "a read that returns more rows or bytes than the tier allows",
        tuning: Tuning::Key("max_rows_returned or max_bytes_returned"),
    },
];

/// Every rule there is, and how a configuration may change it.
pub fn tunings() -> impl Iterator<Item = (RuleId, Tuning)> {
    let judged = RULES.iter().map(|rule| (rule.id, rule.tuning));
    judged.chain(RUN_TIME_RULES.iter().map(|rule| (rule.id, rule.tuning)))
}

const READ_ONLY: &str = "the server keeps the transactions of a read-only session READ ONLY; with access = \"read-write\" the \
                         other rules judge each write, and they have a report mode";

/// Every rule, in the order in which they are asked: of several refusals the first is the one that is told.
///
/// What no rule speaks of runs. That is safe only because `classify` gives every statement a kind, a rule stands for every kind
/// that can do harm, and what is not understood has kinds of its own.
pub const RULES: &[Rule] = &[
    Rule {
        id: "text-trap",
        summary: "text that proxy and server would read differently",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("what is judged would not be what runs"),
        check: text::trap,
    },
    Rule {
        id: "proxy-setting",
        summary: "a pgbelay.* setting that does not exist, or cannot be set this way",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("a setting that does not exist would seem to work"),
        check: settings::proxy_setting,
    },
    Rule {
        id: "reserved-name",
        summary: "prepared statements, savepoints and cursors named as the proxy names its own",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("a session could reach into what other sessions have on a shared connection"),
        check: reserved::name,
    },
    Rule {
        id: "reason-required",
        summary: "a read or write before a reason was given",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("reason"),
        check: reason::required,
    },
    Rule {
        id: "unbounded-write",
        summary: "UPDATE, DELETE or MERGE without an effective WHERE",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("unbounded_write"),
        check: unbounded::write,
    },
    Rule {
        id: "read-only-tier",
        summary: "a change in a read-only session",
        sqlstate: sqlstate::READ_ONLY,
        tuning: Tuning::Fixed(READ_ONLY),
        check: read_only::tier,
    },
    Rule {
        id: "read-only-escape",
        summary: "a way out of a read-only session",
        sqlstate: sqlstate::READ_ONLY,
        tuning: Tuning::Fixed(READ_ONLY),
        check: read_only::escape,
    },
    Rule {
        id: "server-file",
        summary: "files of the server: COPY, LOAD, functions in C",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::KeyUnlessReadOnly("dangerous"),
        check: server_access::file,
    },
    Rule {
        id: "server-program",
        summary: "programs on the server: COPY … PROGRAM, untrusted languages",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::KeyUnlessReadOnly("dangerous"),
        check: server_access::program,
    },
    Rule {
        id: "other-connection",
        summary: "connections that the server opens itself: foreign servers, subscriptions",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::KeyUnlessReadOnly("dangerous"),
        check: server_access::other_connection,
    },
    Rule {
        id: "dangerous-function",
        summary: "built-in functions that reach beyond the data",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::KeyUnlessReadOnly("dangerous"),
        check: functions::dangerous,
    },
    Rule {
        id: "advisory-lock",
        summary: "session-level advisory locks held by people and agents",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("dangerous"),
        check: functions::advisory_lock,
    },
    Rule {
        id: "system-catalog",
        summary: "writes to pg_catalog and information_schema",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed(
            "what it catches can change the settings that other rules rest on, and the rights of roles",
        ),
        check: schema::system_catalog,
    },
    Rule {
        id: "cluster",
        summary: "ALTER SYSTEM, databases, tablespaces: what belongs to the whole server",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("dangerous"),
        check: schema::cluster,
    },
    Rule {
        id: "role-statement",
        summary: "GRANT, REVOKE, roles and ownership",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("ddl"),
        check: schema::role_statement,
    },
    Rule {
        id: "truncate-drop",
        summary: "TRUNCATE and DROP",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("truncate_drop"),
        check: schema::truncate_drop,
    },
    Rule {
        id: "ddl",
        summary: "CREATE, ALTER, COMMENT and all other DDL",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("ddl"),
        check: schema::ddl,
    },
    Rule {
        id: "maintenance",
        summary: "VACUUM, ANALYZE, REINDEX, CLUSTER, CHECKPOINT",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("ddl"),
        check: schema::maintenance,
    },
    Rule {
        id: "create-index",
        summary: "CREATE INDEX without CONCURRENTLY",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "create-index"),
    },
    Rule {
        id: "drop-index",
        summary: "DROP INDEX without CONCURRENTLY",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "drop-index"),
    },
    Rule {
        id: "reindex",
        summary: "REINDEX without CONCURRENTLY",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "reindex"),
    },
    Rule {
        id: "add-column-default",
        summary: "a new column whose DEFAULT gives each row another value",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "add-column-default"),
    },
    Rule {
        id: "add-column-generated",
        summary: "a new column GENERATED ALWAYS AS … STORED",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "add-column-generated"),
    },
    Rule {
        id: "add-column-serial",
        summary: "a new column that numbers the rows: serial, identity",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "add-column-serial"),
    },
    Rule {
        id: "set-not-null",
        summary: "SET NOT NULL on a table without a validated check",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "set-not-null"),
    },
    Rule {
        id: "change-column-type",
        summary: "ALTER COLUMN … TYPE",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "change-column-type"),
    },
    Rule {
        id: "add-foreign-key",
        summary: "ADD FOREIGN KEY without NOT VALID",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "add-foreign-key"),
    },
    Rule {
        id: "add-check",
        summary: "ADD CHECK without NOT VALID",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "add-check"),
    },
    Rule {
        id: "add-unique",
        summary: "ADD UNIQUE or PRIMARY KEY without USING INDEX",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "add-unique"),
    },
    Rule {
        id: "add-exclusion",
        summary: "ADD EXCLUDE",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "add-exclusion"),
    },
    Rule {
        id: "attach-partition",
        summary: "ATTACH PARTITION of a table without a validated check",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "attach-partition"),
    },
    Rule {
        id: "detach-partition",
        summary: "DETACH PARTITION without CONCURRENTLY",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "detach-partition"),
    },
    Rule {
        id: "refresh-materialized-view",
        summary: "REFRESH MATERIALIZED VIEW without CONCURRENTLY",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "refresh-materialized-view"),
    },
    Rule {
        id: "table-rewrite",
        summary: "VACUUM FULL, CLUSTER, SET LOGGED … : a table written anew",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "table-rewrite"),
    },
    Rule {
        id: "rename",
        summary: "a table or column whose name is taken away",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "rename"),
    },
    Rule {
        id: "drop-column",
        summary: "DROP COLUMN",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: |cx| unsafe_ddl::check(cx, "drop-column"),
    },
    Rule {
        id: "lock-table",
        summary: "LOCK TABLE in a mode that stops writes",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Action("unsafe_ddl"),
        check: unsafe_ddl::lock_table,
    },
    Rule {
        id: "code-block",
        summary: "DO blocks, temporary functions and two-phase commit",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("code_block"),
        check: code::block,
    },
    Rule {
        id: "opaque-write",
        summary: "CALL and the database's own volatile functions",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("opaque_write"),
        check: functions::opaque,
    },
    Rule {
        id: "uncountable-write",
        summary: "a write whose rows cannot be counted against the tier's limit",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::With(ROW_LIMIT),
        check: uncountable::write,
    },
    Rule {
        id: "unparsed-write",
        summary: "a statement that could not be parsed and may be anything",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("nobody knows what such a statement does"),
        check: unparsed::write,
    },
    Rule {
        id: "unparsed-read",
        summary: "a read that could not be parsed: runs alone and READ ONLY, or not at all",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("such a text could leave the READ ONLY transaction that it runs in"),
        check: unparsed::read,
    },
    Rule {
        id: "text-trap-setting",
        summary: "settings after which proxy and server would read text differently",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("the server would then read texts otherwise than they are judged"),
        check: settings::text_trap,
    },
    Rule {
        id: "unsafe-setting",
        summary: "settings that switch off the server's own protection",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Key("dangerous"),
        check: settings::unsafe_setting,
    },
    Rule {
        id: "role-change",
        summary: "SET ROLE and SET SESSION AUTHORIZATION",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("the session would act with rights that its policy was not made for"),
        check: settings::role_change,
    },
    Rule {
        id: "limit-setting",
        summary: "set_config that would raise a limit of the tier",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("the limits of the tier could be lifted; raise the limit itself instead"),
        check: settings::limit,
    },
    Rule {
        id: "unknown-setting",
        summary: "set_config of a setting that the text does not name",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        tuning: Tuning::Fixed("it could be any of the settings that other rules rest on"),
        check: settings::unknown,
    },
];
