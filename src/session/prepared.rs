//! The prepared statements of a session, by the names that its client gave them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::core::Core;
use super::replies::{Expect, Own};
use crate::guard::Judged;
use crate::policy::sqlstate;
use crate::upstream::{Link, Statement};
use crate::wire::{Report, put_target};

/// Most prepared statements of one session.
const MAX_PREPARED: usize = 20_000;

/// Most bytes of their texts and names. The unnamed statement is not among them: a message's own limit bounds it.
const MAX_PREPARED_BYTES: usize = 32 << 20;

/// A prepared statement as the client named it.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) name: Arc<str>,
    pub(super) judged: Arc<Judged>,
    pub(super) statement: Arc<Statement>,
}

impl Prepared {
    fn size(&self) -> usize {
        if self.name.is_empty() { 0 } else { self.name.len() + self.statement.sql.len() + self.statement.types.len() }
    }
}

/// What had the name of a Parse before: it still has it when the server skips the Parse.
#[derive(Debug)]
pub(super) struct ParseUndo {
    /// The very name that the Parse gave: another Parse of the same name has one of its own.
    name: Arc<str>,
    replaced: Option<Prepared>,
}

impl ParseUndo {
    /// Its Parse failed, which ends the unnamed statement all the same.
    pub(super) fn failed(&mut self) {
        self.replaced = None;
    }
}

/// All of them; knows how large they are together.
#[derive(Debug, Default)]
pub(super) struct PreparedStatements {
    by_name: HashMap<Box<str>, Prepared>,
    bytes: usize,
}

impl PreparedStatements {
    pub(super) fn get(&self, name: &str) -> Option<&Prepared> {
        self.by_name.get(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// What one more, of this text, is refused with.
    pub(super) fn refuse(&self, name: &str, sql: &str) -> Option<Report> {
        let hint = "Close statements that are not used any more, or use the unnamed statement.";
        if self.by_name.len() >= MAX_PREPARED {
            let report = Report::error(sqlstate::ROW_LIMIT, "too many prepared statements in one session");
            return Some(report.detail(format!("A session may have {MAX_PREPARED} at once.")).hint(hint));
        }
        if !name.is_empty() && self.bytes + name.len() + sql.len() > MAX_PREPARED_BYTES {
            let report = Report::error(sqlstate::ROW_LIMIT, "the prepared statements of one session are too large");
            let detail = format!("Their texts may have {} MiB together.", MAX_PREPARED_BYTES >> 20);
            return Some(report.detail(detail).hint(hint));
        }
        None
    }

    pub(super) fn insert(&mut self, name: impl Into<Box<str>>, prepared: Prepared) -> Option<Prepared> {
        self.bytes += prepared.size();
        let replaced = self.by_name.insert(name.into(), prepared)?;
        self.bytes -= replaced.size();
        Some(replaced)
    }

    /// Takes in what a Parse makes.
    pub(super) fn parse(&mut self, name: &str, prepared: Prepared) -> ParseUndo {
        ParseUndo { name: Arc::clone(&prepared.name), replaced: self.insert(name, prepared) }
    }

    /// A Parse was skipped, or failed. What was parsed under its name since stays.
    pub(super) fn undo(&mut self, undo: ParseUndo) {
        if self.by_name.get(&*undo.name).is_some_and(|prepared| Arc::ptr_eq(&prepared.name, &undo.name)) {
            self.remove(&undo.name);
            if let Some(replaced) = undo.replaced {
                self.insert(&*undo.name, replaced);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Prepared> {
        let removed = self.by_name.remove(name)?;
        self.bytes -= removed.size();
        Some(removed)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn ids(&self) -> HashSet<u64> {
        self.by_name.values().map(|prepared| prepared.statement.id).collect()
    }
}

impl Core {
    /// Before a statement that shows the connection's prepared statements: those of other sessions are closed (invariant 4).
    pub(super) fn hide_foreign_statements(&mut self, judged: &Judged, link: &mut Link) {
        if !judged.shows_prepared {
            return;
        }
        for foreign in link.prepared.take_others(&self.prepared.ids()) {
            put_target(b'C', b'S', &foreign.name, &mut link.outbox);
            link.in_sync = false;
            self.replies.push_back(Expect::Own(Own::Close));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Role, Tier, default_policy};
    use crate::guard::Judge;
    use crate::policy::SessionTables;
    use crate::upstream::empty_catalog;

    fn prepared(name: &str, sql: &str) -> Prepared {
        let policy = Arc::new(default_policy(Role::Service, Tier::Int));
        let judge = Judge::new(policy, "app".to_owned(), empty_catalog());
        let judged = judge.judge("SELECT 1", None, SessionTables::NONE);
        Prepared { name: name.into(), judged, statement: Statement::private(sql, &[0, 0]) }
    }

    #[test]
    fn their_size_is_bounded() {
        let mut statements = PreparedStatements::default();
        let large = format!("SELECT '{}'", "x".repeat(MAX_PREPARED_BYTES / 2));
        assert!(statements.refuse("a", &large).is_none());
        statements.insert("a", prepared("a", &large));
        assert_eq!(statements.refuse("b", &large).unwrap().sqlstate, sqlstate::ROW_LIMIT);
        assert!(statements.refuse("", &large).is_none(), "the unnamed statement does not stay");
        assert!(statements.refuse("b", "SELECT 1").is_none());
        statements.remove("a");
        assert!(statements.refuse("b", &large).is_none());
    }

    #[test]
    fn the_count_of_bytes_follows_what_is_there() {
        let mut statements = PreparedStatements::default();
        for name in ["a", "b", "c"] {
            statements.insert(name, prepared(name, "SELECT 1"));
        }
        let three = statements.bytes;
        statements.insert("a", prepared("a", "SELECT 1"));
        assert_eq!(statements.bytes, three, "replacing one adds nothing");
        statements.insert("", prepared("", "SELECT 1"));
        assert_eq!(statements.bytes, three);
        statements.remove("a");
        assert_eq!(statements.bytes, three / 3 * 2);
        statements.clear();
        assert_eq!(statements.bytes, 0);
    }
}
