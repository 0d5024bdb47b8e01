//! What is known of a statement before it runs. Plain data: made by `classify`, judged by `policy`, acted on by `session`.

use std::ops::Range;
use std::sync::Arc;

use super::SchemaChange;

/// Everything known of one query text: the body of a Query message, or of a Parse.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Its statements in order; empty for an empty text (`;`, comments only).
    pub statements: Vec<Facts>,
    /// W3C `traceparent` of a sqlcommenter comment, where there is one.
    pub traceparent: Option<String>,
}

/// Everything known of one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Where it stands in the text, in bytes, without the closing semicolon.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
    /// pgaudit's class.
    pub class: Class,
    /// The statement's name as Postgres spells command tags: `SELECT`, `CREATE TABLE`, …
    pub tag: Arc<str>,
    /// Every write anywhere in its tree that runs when the statement runs.
    pub writes: Vec<Write>,
    /// Tables and views it reads.
    pub reads: Vec<Name>,
    /// Functions it calls, in any clause.
    pub functions: Vec<Call>,
    /// Everything it names, for code that runs without the syntax of a call; sorted. Empty where what it names runs only later,
    /// as in most DDL.
    pub mentions: Vec<Mention>,
    /// EXPLAIN without ANALYZE: what it names is planned, and only what the planner computes runs.
    pub is_only_planned: bool,
    /// What it gives code to, or changes the code of.
    pub makes: Vec<Made>,
    /// What it does to the session, in order.
    pub effects: Vec<Effect>,
    /// Row or table locks it takes beyond those of a read or write: `FOR UPDATE`, `LOCK TABLE`.
    pub locks: Vec<Lock>,
    /// Hazards found that no list above holds.
    pub hazards: Vec<Hazard>,
    /// What it does to tables as a whole, in order.
    pub schema_changes: Vec<SchemaChange>,
    /// The statement with literals replaced by `?` and white space folded, at most 4 KiB.
    pub normalized: String,
    /// First 16 hex digits of the SHA-256 of the whole normalized text.
    pub fingerprint: String,
    /// The statement with secrets (passwords, connection strings) replaced, where it has any; otherwise its own text is
    /// what the audit trail records.
    pub redacted: Option<String>,
}

/// A possibly qualified name, as the server resolves it: unquoted parts in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Schema, where one is written.
    pub schema: Option<String>,
    /// Name.
    pub name: String,
}

/// What a statement is. Families that the guard treats alike share a variant; the tag tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// SELECT, VALUES, TABLE, WITH … SELECT.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
    /// COPY … FROM (STDIN, file or program; a file or program is a hazard).
    CopyFrom,
    /// COPY … TO.
    CopyTo,
    /// TRUNCATE.
    Truncate,
    /// DROP of anything.
    Drop,
    /// CREATE, ALTER, COMMENT, SECURITY LABEL, REFRESH MATERIALIZED VIEW, IMPORT FOREIGN SCHEMA …
    Ddl,
    /// CREATE TABLE AS and SELECT INTO, of a permanent table.
    CreateTableAs,
    /// GRANT, REVOKE, CREATE / ALTER / DROP ROLE, REASSIGN OWNED, DROP OWNED, ALTER DEFAULT PRIVILEGES.
    Role,
    /// ALTER SYSTEM, CREATE / ALTER / DROP DATABASE, TABLESPACE, SUBSCRIPTION, PUBLICATION, extensions, languages.
    Cluster,
    /// CREATE TEMP …, and DDL that can only touch temporary objects.
    TempDdl,
    /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT.
    Maintenance,
    /// DO; CREATE FUNCTION in the temporary schema that does more than read, which is a block with a name.
    Do,
    /// CALL.
    Call,
    /// EXPLAIN; with ANALYZE its statement's writes are in `writes`.
    Explain,
    /// PREPARE (the SQL statement); what it prepares is in `writes` as if it ran.
    Prepare,
    /// EXECUTE.
    Execute,
    /// DEALLOCATE.
    Deallocate,
    /// DECLARE CURSOR; its query's facts are included.
    Declare,
    /// FETCH, MOVE.
    Fetch,
    /// CLOSE.
    Close,
    /// BEGIN, COMMIT, SAVEPOINT, SET TRANSACTION, … (see `effects`).
    Transaction,
    /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED.
    TwoPhase,
    /// SET, RESET, SET ROLE, SET SESSION AUTHORIZATION.
    Set,
    /// SHOW.
    Show,
    /// DISCARD.
    Discard,
    /// LOCK TABLE.
    Lock,
    /// LISTEN, UNLISTEN.
    Listen,
    /// NOTIFY.
    Notify,
    /// LOAD.
    Load,
    /// SET CONSTRAINTS.
    Constraints,
    /// Not parsed; begins like a read (SELECT, WITH, VALUES, TABLE, EXPLAIN). The text may hold more than one statement.
    UnparsedMaybeRead,
    /// Not parsed; may be anything. The text may hold more than one statement.
    UnparsedMaybeWrite,
}

/// pgaudit's statement classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// SELECT and COPY TO.
    Read,
    /// INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM.
    Write,
    /// Function calls and DO blocks.
    Function,
    /// GRANT, REVOKE, CREATE / ALTER / DROP ROLE.
    Role,
    /// All DDL not in `Role`.
    Ddl,
    /// DISCARD, FETCH, CHECKPOINT, VACUUM, transaction control …
    Misc,
    /// SET and its kin.
    MiscSet,
}

impl Class {
    /// pgaudit's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Read => "READ",
            Class::Write => "WRITE",
            Class::Function => "FUNCTION",
            Class::Role => "ROLE",
            Class::Ddl => "DDL",
            Class::Misc => "MISC",
            Class::MiscSet => "MISC_SET",
        }
    }
}

/// One write inside a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// What it does.
    pub verb: Verb,
    /// The table; the first one of a TRUNCATE.
    pub table: Name,
    /// Columns assigned, where they are written.
    pub columns: Vec<String>,
    /// How its predicate bounds the rows.
    pub bound: Boundedness,
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
    /// TRUNCATE.
    Truncate,
    /// COPY FROM.
    Copy,
}

impl Verb {
    /// The SQL word.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Insert => "INSERT",
            Verb::Update => "UPDATE",
            Verb::Delete => "DELETE",
            Verb::Merge => "MERGE",
            Verb::Truncate => "TRUNCATE",
            Verb::Copy => "COPY",
        }
    }
}

/// How the predicate of an UPDATE, DELETE or MERGE bounds the rows it touches (DESIGN §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boundedness {
    /// Not a write that has a predicate: INSERT, COPY, TRUNCATE.
    NotApplicable,
    /// No WHERE at all.
    Missing,
    /// Always true; holds the predicate's text.
    Tautology(String),
    /// Names no column of the target; holds the predicate's text.
    NotOnTarget(String),
    /// Restricts the target's rows (or is always false).
    Bounded,
}

/// A function call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// Its name.
    pub name: Name,
    /// Number of arguments.
    pub arity: usize,
    /// The arguments that are string literals, by position; `None` for anything else.
    pub literals: Vec<Option<String>>,
    /// Whether the function runs SQL that stands in its arguments, and what that does is among the facts.
    pub sql_is_read: bool,
}

/// A name or an operator in a statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mention {
    /// Where it stands.
    pub place: Place,
    /// The name, as the server resolves it, without its schema; or the operator.
    pub name: Box<str>,
}

/// Where a name stands, and so what it can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Before a parenthesis, and not among the calls: it may be one.
    Call,
    /// `name.attribute`: a function of the row, where it has no such column (Postgres documentation, 8.16.5).
    Attribute,
    /// `(value).attribute`: a function of any value.
    Field,
    /// Anywhere: it may be the type of a cast.
    Word,
    /// An operator, written or implied (`IN` is `=`).
    Operator,
}

/// What a statement makes or changes that runs code under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Made {
    /// A function, aggregate, operator, type or view, by its name without the schema.
    Code(Box<str>),
    /// A table that got a rule, a trigger or a policy.
    OnTable(Box<str>),
    /// Anything that is not Postgres's own: an extension, a schema under another name.
    Anything,
}

/// A lock that a statement asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// `FOR UPDATE`, `FOR NO KEY UPDATE`, `FOR SHARE`, `FOR KEY SHARE`: writes to the rows' headers, refused by a READ ONLY
    /// transaction.
    Rows,
    /// `LOCK TABLE … IN mode MODE`; holds the mode in upper case (`ACCESS EXCLUSIVE` is the default).
    Table(String),
}

/// Something that no other list tells and that the policy must know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hazard {
    /// COPY from or to a file of the server; CREATE FUNCTION in language C; LOAD.
    ServerFile,
    /// COPY from or to a program of the server; an untrusted language.
    ServerProgram,
    /// Foreign servers, user mappings, subscriptions.
    OtherConnection,
    /// A `U&"…"` identifier in a text that could not be parsed: what it calls cannot be told.
    UnicodeIdentifier,
    /// A text that cannot be what the server will read: holds why (for instance a NUL).
    TextTrap(&'static str),
}

/// Where a setting applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Until the session ends (SET, SET SESSION).
    Session,
    /// Until the transaction ends (SET LOCAL).
    Transaction,
}

/// The value of a SET, in the flat form that `set_config` takes and `SHOW` prints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SettingValue {
    /// `TO DEFAULT`, `TIME ZONE LOCAL`.
    Default,
    /// A value known from the text. Lists are joined by `, `; for the list settings that Postgres quotes (search_path,
    /// temp_tablespaces …) each element is quoted as an identifier where needed.
    Text(String),
    /// Not known from the text (an expression, an interval with fields, a parameter).
    Unknown,
}

/// READ ONLY or READ WRITE, where a statement says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessMode {
    /// READ ONLY.
    ReadOnly,
    /// READ WRITE.
    ReadWrite,
}

/// What a statement does to its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// BEGIN, START TRANSACTION.
    Begin(Option<AccessMode>),
    /// COMMIT, END; `chain` is AND CHAIN.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK, ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// RELEASE.
    Release(String),
    /// PREPARE TRANSACTION: ends the transaction.
    PrepareTransaction,
    /// SET TRANSACTION.
    SetTransaction(Option<AccessMode>),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetSessionCharacteristics(Option<AccessMode>),
    /// SET of a setting (lower case), also by `set_config`, SET NAMES, SET TIME ZONE, SET ROLE (`role`), SET SESSION
    /// AUTHORIZATION (`session_authorization`).
    Set {
        /// The setting, lower case.
        name: String,
        /// Its value.
        value: SettingValue,
        /// Session or transaction.
        scope: Scope,
        /// Whether `set_config` did it, rather than SET.
        by_function: bool,
    },
    /// A `set_config` whose setting's name is not a literal.
    SetUnknown,
    /// RESET name.
    Reset(String),
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL.
    DiscardAll,
    /// DISCARD TEMP.
    DiscardTemp,
    /// DISCARD PLANS.
    DiscardPlans,
    /// DISCARD SEQUENCES.
    DiscardSequences,
    /// SHOW name (lower case; `all` for SHOW ALL).
    Show(String),
    /// A temporary table, view, sequence or function is made.
    TempObject,
    /// LISTEN.
    Listen,
    /// UNLISTEN; `None` is `*`.
    Unlisten(Option<String>),
    /// DECLARE … WITH HOLD.
    HoldCursor(String),
    /// CLOSE; `None` is ALL.
    CloseCursor(Option<String>),
    /// SQL-level PREPARE.
    Prepare(String),
    /// SQL-level EXECUTE.
    Execute(String),
    /// DEALLOCATE; `None` is ALL.
    Deallocate(Option<String>),
    /// A session-level advisory lock is taken.
    AdvisoryLock,
    /// A session-level advisory lock is released.
    AdvisoryUnlock,
    /// `pg_advisory_unlock_all()`.
    AdvisoryUnlockAll,
    /// LOAD.
    Load,
}
