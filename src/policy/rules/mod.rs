//! The rules: one file a family, one registry of them all. docs/policy.md has a section for each.

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

pub use context::known_or_opaque;
pub(crate) use context::qualified;
pub(super) use context::{Context, Finding};
pub use settings::reads_texts_otherwise;

use super::{RuleId, sqlstate};

/// One rule: what it is called, and how it judges a statement.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable id, in errors, the audit trail and docs/policy.md.
    pub id: RuleId,
    /// What it is about, in a line.
    pub summary: &'static str,
    /// SQLSTATE of its refusals (Postgres documentation, appendix A).
    pub sqlstate: &'static str,
    pub(super) check: fn(&Context<'_>) -> Option<Finding>,
}

/// Every rule, in the order in which they are asked: of several refusals the first is the one that is told.
///
/// What no rule speaks of runs. That is safe only because `classify` gives every statement a kind, a rule stands for every kind
/// that can do harm, and what is not understood has kinds of its own.
pub const RULES: &[Rule] = &[
    Rule {
        id: "text-trap",
        summary: "text that proxy and server would read differently",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: text::trap,
    },
    Rule {
        id: "proxy-setting",
        summary: "a pgbelay.* setting that does not exist, or cannot be set this way",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: settings::proxy_setting,
    },
    Rule {
        id: "reserved-name",
        summary: "prepared statements, savepoints and cursors named as the proxy names its own",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: reserved::name,
    },
    Rule {
        id: "reason-required",
        summary: "a read or write before a reason was given",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: reason::required,
    },
    Rule {
        id: "unbounded-write",
        summary: "UPDATE, DELETE or MERGE without an effective WHERE",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: unbounded::write,
    },
    Rule {
        id: "read-only-tier",
        summary: "a change in a read-only session",
        sqlstate: sqlstate::READ_ONLY,
        check: read_only::tier,
    },
    Rule {
        id: "read-only-escape",
        summary: "a way out of a read-only session",
        sqlstate: sqlstate::READ_ONLY,
        check: read_only::escape,
    },
    Rule {
        id: "server-file",
        summary: "files of the server: COPY, LOAD, functions in C",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: server_access::file,
    },
    Rule {
        id: "server-program",
        summary: "programs on the server: COPY … PROGRAM, untrusted languages",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: server_access::program,
    },
    Rule {
        id: "other-connection",
        summary: "connections that the server opens itself: foreign servers, subscriptions",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: server_access::other_connection,
    },
    Rule {
        id: "dangerous-function",
        summary: "built-in functions that reach beyond the data",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: functions::dangerous,
    },
    Rule {
        id: "advisory-lock",
        summary: "session-level advisory locks held by people and agents",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: functions::advisory_lock,
    },
    Rule {
        id: "system-catalog",
        summary: "writes to pg_catalog and information_schema",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: schema::system_catalog,
    },
    Rule {
        id: "cluster",
        summary: "ALTER SYSTEM, databases, tablespaces: what belongs to the whole server",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: schema::cluster,
    },
    Rule {
        id: "role-statement",
        summary: "GRANT, REVOKE, roles and ownership",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: schema::role_statement,
    },
    Rule {
        id: "truncate-drop",
        summary: "TRUNCATE and DROP",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: schema::truncate_drop,
    },
    Rule {
        id: "ddl",
        summary: "CREATE, ALTER, COMMENT and all other DDL",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: schema::ddl,
    },
    Rule {
        id: "maintenance",
        summary: "VACUUM, ANALYZE, REINDEX, CLUSTER, CHECKPOINT",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: schema::maintenance,
    },
    Rule {
        id: "code-block",
        summary: "DO blocks, temporary functions and two-phase commit",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: code::block,
    },
    Rule {
        id: "opaque-write",
        summary: "CALL and the database's own volatile functions",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: functions::opaque,
    },
    Rule {
        id: "uncountable-write",
        summary: "a write whose rows cannot be counted against the tier's limit",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: uncountable::write,
    },
    Rule {
        id: "unparsed-write",
        summary: "a statement that could not be parsed and may be anything",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: unparsed::write,
    },
    Rule {
        id: "unparsed-read",
        summary: "a read that could not be parsed: runs alone and READ ONLY, or not at all",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: unparsed::read,
    },
    Rule {
        id: "text-trap-setting",
        summary: "settings after which proxy and server would read text differently",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: settings::text_trap,
    },
    Rule {
        id: "unsafe-setting",
        summary: "settings that switch off the server's own protection",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: settings::unsafe_setting,
    },
    Rule {
        id: "role-change",
        summary: "SET ROLE and SET SESSION AUTHORIZATION",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: settings::role_change,
    },
    Rule {
        id: "limit-setting",
        summary: "set_config that would raise a limit of the tier",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: settings::limit,
    },
    Rule {
        id: "unknown-setting",
        summary: "set_config of a setting that the text does not name",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        check: settings::unknown,
    },
];
