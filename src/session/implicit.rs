//! The transaction that the proxy opens around the statements of a text is Postgres's implicit one for the client: no block
//! (Postgres documentation, "Multiple Statements in a Simple Query").

use crate::policy::sqlstate;
use crate::sql::Effect;
use crate::wire::{Report, Severity};

/// What a statement is in an implicit transaction that is a block for the server.
#[derive(Debug)]
pub(super) enum InImplicit {
    /// The same.
    Alike,
    /// It makes the client's own block of it; that there is one already is not told.
    OpensBlock,
    /// It works, and the client is warned that there is no block.
    Warned(Report),
    /// It needs a block.
    Refused(Report),
}

impl InImplicit {
    pub(super) fn of(effects: &[Effect]) -> Self {
        let refused = |what: &str| {
            InImplicit::Refused(Report::error(
                sqlstate::NO_TRANSACTION,
                format!("{what} can only be used in transaction blocks"),
            ))
        };
        effects
            .iter()
            .find_map(|effect| match effect {
                Effect::Begin(_) => Some(InImplicit::OpensBlock),
                Effect::Commit { chain: false } | Effect::Rollback { chain: false } => {
                    let report = Report::error(sqlstate::NO_TRANSACTION, "there is no transaction in progress");
                    Some(InImplicit::Warned(Report { severity: Severity::Warning, ..report }))
                }
                Effect::Commit { chain: true } => Some(refused("COMMIT AND CHAIN")),
                Effect::Rollback { chain: true } => Some(refused("ROLLBACK AND CHAIN")),
                Effect::Savepoint(_) => Some(refused("SAVEPOINT")),
                Effect::RollbackTo(_) => Some(refused("ROLLBACK TO SAVEPOINT")),
                Effect::Release(_) => Some(refused("RELEASE SAVEPOINT")),
                _ => None,
            })
            .unwrap_or(InImplicit::Alike)
    }
}
