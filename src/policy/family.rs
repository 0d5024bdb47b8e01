//! Kinds of statements that policy treats alike: the one place where a new kind has to be judged.

use crate::sql::Kind;

/// What a statement is to guards and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// A query that answers with rows.
    Query,
    /// COPY … TO: rows whose tag counts what was copied, not what the query inside changed.
    CopyOut,
    /// EXPLAIN and DECLARE: around a query, whose facts are theirs.
    AroundQuery,
    /// PREPARE: what it names does not run yet.
    Prepare,
    /// EXECUTE: what it runs is not in its text.
    Execute,
    /// FETCH and MOVE: rows of a query judged before.
    Fetch,
    /// A write whose tag counts the rows that it changes.
    RowWrite,
    /// A permanent table made from a query.
    TableFromQuery,
    /// Objects that end with the session.
    Temporary,
    /// A change that has no count of rows: schema, roles, the cluster, TRUNCATE, what outlives or leaves the session.
    Change,
    /// Code that may do anything: DO and CALL.
    Code,
    /// LOCK TABLE.
    Lock,
    /// The session's own book-keeping: it touches no data.
    Bookkeeping,
    /// Not parsed, begins like a read.
    UnparsedRead,
    /// Not parsed, may be anything.
    UnparsedWrite,
}

impl Family {
    /// The family of a kind.
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Select => Self::Query,
            Kind::CopyTo => Self::CopyOut,
            Kind::Explain | Kind::Declare => Self::AroundQuery,
            Kind::Prepare => Self::Prepare,
            Kind::Execute => Self::Execute,
            Kind::Fetch => Self::Fetch,
            Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge | Kind::CopyFrom => Self::RowWrite,
            Kind::CreateTableAs => Self::TableFromQuery,
            Kind::TempDdl => Self::Temporary,
            Kind::Truncate
            | Kind::Drop
            | Kind::Ddl
            | Kind::Role
            | Kind::Cluster
            | Kind::Maintenance
            | Kind::TwoPhase
            | Kind::Notify
            | Kind::Load => Self::Change,
            Kind::Do | Kind::Call => Self::Code,
            Kind::Lock => Self::Lock,
            Kind::Set
            | Kind::Show
            | Kind::Transaction
            | Kind::Discard
            | Kind::Deallocate
            | Kind::Close
            | Kind::Constraints
            | Kind::Listen => Self::Bookkeeping,
            Kind::UnparsedMaybeRead => Self::UnparsedRead,
            Kind::UnparsedMaybeWrite => Self::UnparsedWrite,
        }
    }
}
