//! What the server is expected to answer, in order, and what becomes of each answer.

use std::sync::Arc;

use bytes::BytesMut;

use super::portals::PortalUndo;
use super::prepared::{Described, ParseUndo};
use super::run::Run;
use crate::upstream::Statement;
use crate::wire::Report;

/// One expected answer, or a piece of the proxy's own that stands in line with them.
#[derive(Debug)]
pub(super) enum Expect {
    /// A Query of the client's: everything up to ReadyForQuery is the client's.
    Query(Box<Run>),
    /// One statement of a text that is run step by step: its ReadyForQuery is kept.
    Step(Box<Run>),
    /// A step sent through the extended protocol because it was not understood; answered as if it were a simple query.
    SingleStep(Box<Run>),
    /// ParseComplete of a client's Parse.
    Parse {
        /// The statement, if it is named upstream.
        statement: Option<Arc<Statement>>,
        /// What had the client's name for it before.
        undo: ParseUndo,
    },
    /// BindComplete.
    Bind {
        /// The client's name of the statement, which an error may tell.
        statement: Arc<str>,
        /// What had the portal's name before.
        undo: PortalUndo,
    },
    /// RowDescription or NoData, after a ParameterDescription for statements; of which statement, if its client has named it.
    Describe(Option<Described>),
    /// Rows, then CommandComplete, PortalSuspended or EmptyQueryResponse.
    Execute(Box<Run>),
    /// CloseComplete of a portal.
    Close(PortalUndo),
    /// ReadyForQuery of a Sync.
    Sync,
    /// Bytes of the proxy's own for the client.
    Answer(BytesMut),
    /// ParseComplete of the proxy's own, for a statement that the server has accepted before.
    Known(ParseUndo),
    /// An exchange of the proxy's own: the client sees nothing of it.
    Own(Own),
}

/// Exchanges of the proxy's own.
#[derive(Debug)]
pub(super) enum Own {
    /// Queries that apply the session's settings.
    Settings,
    /// BEGIN before the first step of a text.
    Begin,
    /// COMMIT after its last.
    Commit,
    /// ROLLBACK after a step that failed, or that the guard stopped.
    Rollback,
    /// Settings and pins that the server is asked for.
    Doubt,
    /// Savepoint handling around a single statement.
    Savepoint,
    /// An empty query behind a batch without a Sync.
    EndBatch,
    /// A query that fails, so that the server's transaction fails as the client's does (DESIGN §5).
    FailQuery,
    /// A Parse that fails, for the same; the client is told this instead, if it was not told before.
    FailParse(Option<Report>),
    /// Parse of a statement that the connection does not have yet; holds it if it is named.
    Parse(Option<Arc<Statement>>),
    /// Describe of a statement, by its number: whether it still returns what its client was told of.
    Describe(u64),
    /// Close of a statement that the connection keeps no more.
    Close,
    /// A statement of the proxy's own in the extended protocol, from its Parse to its last Close.
    Aside {
        /// What it is for.
        what: Aside,
        /// CloseComplete messages still to come.
        closes: u8,
    },
    /// A query that counts the rows changed so far.
    Count(Stage),
    /// EXPLAIN of a statement of a simple query, up to its own ReadyForQuery.
    Plan,
}

/// What a statement of the proxy's own inside a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// It makes the transaction READ ONLY.
    ReadOnly,
    /// It makes the connection forget the sequence values of another session.
    ForgetSequences,
    /// It counts the rows changed so far.
    Count(Stage),
    /// It is EXPLAIN of the statement that waits to be bound.
    Plan,
}

/// Where a count stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the write.
    Before,
    /// Behind it.
    After,
}

impl Expect {
    /// Whether the server answers it outside the extended protocol: an error does not skip to the next Sync.
    pub(super) fn is_simple(&self) -> bool {
        match self {
            Expect::Query(_) | Expect::Step(_) => true,
            Expect::Own(own) => match own {
                Own::Settings
                | Own::Begin
                | Own::Commit
                | Own::Rollback
                | Own::Savepoint
                | Own::EndBatch
                | Own::Doubt
                | Own::Count(_)
                // Its own Sync stands behind it.
                | Own::Plan
                | Own::FailQuery => true,
                Own::FailParse(_) | Own::Parse(_) | Own::Describe(_) | Own::Close | Own::Aside { .. } => false,
            },
            Expect::SingleStep(_)
            | Expect::Parse { .. }
            | Expect::Bind { .. }
            | Expect::Describe(_)
            | Expect::Execute(_)
            | Expect::Close(_)
            | Expect::Sync
            | Expect::Answer(_)
            | Expect::Known(_) => false,
        }
    }

    /// The statement behind it.
    pub(super) fn run(&mut self) -> Option<&mut Run> {
        match self {
            Expect::Query(run) | Expect::Step(run) | Expect::SingleStep(run) | Expect::Execute(run) => Some(run),
            Expect::Parse { .. }
            | Expect::Bind { .. }
            | Expect::Describe(_)
            | Expect::Close(_)
            | Expect::Sync
            | Expect::Answer(_)
            | Expect::Known(_)
            | Expect::Own(_) => None,
        }
    }

    /// Whether it is the proxy's own, so that the server has nothing to answer.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Expect::Answer(_) | Expect::Known(_))
    }

    /// Whether notices that come while it is answered are the client's.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Expect::Own(_))
    }
}
