//! What the names in a text mean: tables come and go, and stand elsewhere in another `search_path`. A statement that was prepared
//! under other circumstances would fail ("cached plan must not change result type") where a client that prepares it only now expects
//! it to work, so that equal texts share a statement only where their names mean the same.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::core::Core;
use super::state::Pin;
use crate::sql::Kind;

impl Core {
    /// Tells apart what the names of a text may mean in this session now.
    pub(super) fn meaning_of_names(&self) -> u64 {
        let path = self.state.wanted.get("search_path");
        let has_tables = self.state.pins.has(&Pin::TemporaryObject);
        if path.is_none() && !has_tables {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (path, has_tables.then_some((self.serial, self.temporary_changes))).hash(&mut hasher);
        hasher.finish()
    }

    /// A statement has ended that may have made, changed or dropped tables or types: what is prepared from now on is prepared
    /// anew.
    pub(super) fn note_schema_change(&mut self, kind: Kind) {
        match kind {
            Kind::Ddl | Kind::Drop | Kind::CreateTableAs | Kind::Do | Kind::Call => {
                self.statements.forget();
                self.has_changed_schema = true;
            }
            Kind::TempDdl | Kind::Discard => self.temporary_changes += 1,
            _ => {}
        }
    }

    /// A transaction has ended: only now do other sessions see what it has changed.
    pub(super) fn publish_schema_change(&mut self) {
        if std::mem::take(&mut self.has_changed_schema) {
            self.statements.forget();
        }
    }
}
