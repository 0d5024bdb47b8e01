//! The prepared statements of a session, by the names that its client gave them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::core::{Core, Progress};
use super::replies::{Expect, Own};
use crate::guard::Judged;
use crate::policy::sqlstate;
use crate::upstream::{Description, Link, Statement};
use crate::wire::{Report, Shape, put_target, shape_of_parameters, shape_of_rows};

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
    /// What the client was told of it.
    pub(super) description: Description,
}

/// The statement that a Describe is about, by the client's name and the statement's number.
#[derive(Clone, Debug)]
pub(super) struct Described {
    name: Arc<str>,
    id: u64,
}

impl Prepared {
    pub(super) fn new(name: &str, judged: &Arc<Judged>, statement: &Arc<Statement>) -> Self {
        let (judged, statement) = (Arc::clone(judged), Arc::clone(statement));
        Self { name: name.into(), judged, statement, description: Description::default() }
    }

    /// What a Describe of it is about; the unnamed statement is parsed anew too often to be followed.
    pub(super) fn described(&self) -> Option<Described> {
        (!self.name.is_empty()).then(|| Described { name: Arc::clone(&self.name), id: self.statement.id })
    }

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

    /// The client was told of a statement, if it still is the one of that name.
    fn learn(&mut self, described: &Described, tag: u8, shape: Shape) {
        if let Some(prepared) = self.by_name.get_mut(&*described.name)
            && prepared.statement.id == described.id
        {
            set(&mut prepared.description, tag, shape);
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
    /// A Describe was answered: ParameterDescription, RowDescription or NoData.
    pub(super) fn learn_description(&mut self, described: &Described, tag: u8, body: &[u8], link: &mut Link) {
        let shape = learn_of_connection(described.id, tag, body, link);
        if !self.is_muted {
            self.prepared.learn(described, tag, shape);
        }
    }

    /// Whether a statement would return what its client was not told of, because a table has changed since: with the error that a
    /// server process gives which keeps its plan. What the connection's server tells of it may have to be asked first.
    pub(super) fn check_description(&mut self, prepared: &Prepared, link: &mut Link) -> Option<Progress> {
        let told = &prepared.description;
        if told.is_empty() || prepared.name.is_empty() {
            return None;
        }
        let id = prepared.statement.id;
        match link.prepared.description(id) {
            Some(there) if there.contradicts(told) => {
                // Whoever prepares the text from now on has it prepared anew.
                self.statements.forget();
                Some(self.refuse_extended(&result_type_changed(), Some(link)))
            }
            Some(there) if there.covers(told) => None,
            _ => {
                let name = self.ensure_prepared(false, &prepared.statement, link);
                put_target(b'D', b'S', name, &mut link.outbox);
                self.expect_extended(Expect::Own(Own::Describe(id)), link);
                Some(self.await_replies(Some(link)))
            }
        }
    }

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

/// What the server tells of a statement; once it has told, it tells the same.
pub(super) fn learn_of_connection(id: u64, tag: u8, body: &[u8], link: &mut Link) -> Shape {
    let shape = || if tag == b't' { shape_of_parameters(body) } else { shape_of_rows(body) };
    let Some(description) = link.prepared.description(id) else { return shape() };
    let known = if tag == b't' { description.parameters } else { description.rows };
    let shape = known.unwrap_or_else(shape);
    set(description, tag, shape);
    shape
}

fn set(description: &mut Description, tag: u8, shape: Shape) {
    match tag {
        b't' => description.parameters = Some(shape),
        _ => description.rows = Some(shape),
    }
}

/// Postgres's own error, by which drivers know that they have to prepare the statement again.
fn result_type_changed() -> Report {
    Report::error(sqlstate::NOT_SUPPORTED, "cached plan must not change result type").routine("RevalidateCachedQuery")
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
        Prepared::new(name, &judged, &Statement::private(sql, &[0, 0]))
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
