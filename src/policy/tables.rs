//! Tables that a session has just made or checked: what would hold up others on a table in use holds up nobody there.

use crate::sql::{Change, Constraint, Effect, Facts, Name, SchemaChange, Scope, SettingValue};

/// Most tables of each list: what a session makes must not grow without end. Those beyond it count as in use.
const MOST: usize = 1_000;

/// What a session knows of its tables.
///
/// A migration tool makes a table in one transaction and its index in the next, on the same connection: nobody else uses the table
/// yet, or not much. Names are compared as they are written, so that `t` and `public.t` are two tables: what is not certain counts
/// as in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTables {
    /// Made by this session.
    made: Vec<Name>,
    /// Temporary ones.
    temporary: Vec<Name>,
    /// Temporary ones that end with the transaction.
    until_commit: Vec<Name>,
    /// Those of which it has validated a constraint.
    checked: Vec<Name>,
    /// search_path goes back to what it was when the transaction ends.
    path_is_local: bool,
    /// search_path names pg_temp, or may, so that a temporary table need not be what its bare name means.
    hides_temporary: bool,
}

impl SessionTables {
    /// A session that knows of none.
    pub const NONE: &'static SessionTables = &SessionTables {
        made: vec![],
        temporary: vec![],
        until_commit: vec![],
        checked: vec![],
        path_is_local: false,
        hides_temporary: false,
    };

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == *Self::NONE
    }

    /// Whether nobody but the session can be held up by what is done to a table.
    pub(super) fn is_own(&self, table: &Name) -> bool {
        table.schema.as_deref() == Some("pg_temp")
            || [&self.made, &self.temporary, &self.until_commit].iter().any(|list| list.contains(table))
    }

    /// Whether the session has validated a constraint of a table.
    pub(super) fn is_checked(&self, table: &Name) -> bool {
        self.checked.contains(table)
    }

    /// A statement ran. What ends or undoes a transaction is for the session to tell.
    pub fn learn(&mut self, facts: &Facts) {
        for effect in &facts.effects {
            if matches!(effect, Effect::DiscardAll | Effect::DiscardTemp) {
                self.forget_temporary();
            }
            self.follow_path(effect);
        }
        if matches!(&*facts.tag, "ALTER SCHEMA" | "DROP SCHEMA") {
            // Behind it a name with a schema, too, may mean another table.
            self.lists().into_iter().for_each(Vec::clear);
        }
        for change in &facts.schema_changes {
            self.learn_change(change);
        }
    }

    /// An unqualified name may mean another table behind a change of search_path.
    fn follow_path(&mut self, effect: &Effect) {
        match effect {
            Effect::Set { name, value, scope, .. } if name == "search_path" => {
                let names_temporary = !matches!(value, SettingValue::Text(path) if !path.contains("pg_temp"));
                match scope {
                    Scope::Transaction => {
                        self.path_is_local = true;
                        self.hides_temporary |= names_temporary;
                    }
                    Scope::Session => self.hides_temporary = names_temporary,
                }
            }
            Effect::Reset(name) if name == "search_path" => self.hides_temporary = false,
            Effect::ResetAll | Effect::DiscardAll => self.hides_temporary = false,
            Effect::SetUnknown => self.hides_temporary = true,
            _ => return,
        }
        self.forget_unqualified();
    }

    /// search_path has changed.
    fn forget_unqualified(&mut self) {
        for list in self.lists() {
            list.retain(|name| name.schema.is_some());
        }
    }

    /// search_path names pg_temp: what a temporary table's bare name means, another schema may decide.
    pub fn forget_temporary(&mut self) {
        self.temporary.clear();
        self.until_commit.clear();
    }

    fn learn_change(&mut self, SchemaChange { object, change }: &SchemaChange) {
        match change {
            Change::CreateTable { temporary: true, .. } if self.hides_temporary && object.schema.is_none() => {}
            Change::CreateTable { drops_on_commit: true, .. } => add(&mut self.until_commit, object),
            Change::CreateTable { temporary: true, .. } => add(&mut self.temporary, object),
            Change::CreateTable { .. } => add(&mut self.made, object),
            Change::ValidateConstraint => add(&mut self.checked, object),
            Change::DropTable => self.remove(object),
            Change::RenameTable(new_name) => {
                let was_made = self.made.contains(object);
                self.remove(object);
                if let (true, Some(name)) = (was_made, new_name) {
                    add(&mut self.made, &Name { schema: object.schema.clone(), name: name.clone() });
                }
            }
            Change::AddConstraint { constraint: Constraint::Check, unchecked: false } => add(&mut self.checked, object),
            Change::AddConstraint { .. }
            | Change::AddColumn(_)
            | Change::AttachPartition(_)
            | Change::ChangeType(_)
            | Change::CreateIndex { .. }
            | Change::DetachPartition { .. }
            | Change::DropColumn(_)
            | Change::DropIndex { .. }
            | Change::Refresh { .. }
            | Change::RenameColumn
            | Change::Reindex { .. }
            | Change::Rewrite(_)
            | Change::SetNotNull(_)
            | Change::Unknown => {}
        }
    }

    /// A table is gone, by any name that may have meant it.
    fn remove(&mut self, table: &Name) {
        let is_other = |name: &Name| {
            let schemas = name.schema.as_ref().zip(table.schema.as_ref());
            name.name != table.name || schemas.is_some_and(|(a, b)| a != b)
        };
        for list in self.lists() {
            list.retain(is_other);
        }
    }

    fn lists(&mut self) -> [&mut Vec<Name>; 4] {
        [&mut self.made, &mut self.temporary, &mut self.until_commit, &mut self.checked]
    }

    /// The transaction has ended.
    pub fn end_transaction(&mut self) {
        self.until_commit.clear();
        if std::mem::take(&mut self.path_is_local) {
            self.forget_unqualified();
        }
    }

    /// What is known behind a statement of the same text. A rollback may undo any of it.
    pub fn learn_in_text(&mut self, facts: &Facts) {
        for effect in &facts.effects {
            match effect {
                Effect::Commit { .. } | Effect::PrepareTransaction => self.end_transaction(),
                Effect::Rollback { .. } | Effect::RollbackTo(_) => *self = Self::default(),
                _ => {}
            }
        }
        self.learn(facts);
    }
}

fn add(list: &mut Vec<Name>, name: &Name) {
    if list.len() < MOST && !list.contains(name) {
        list.push(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify;

    fn after(texts: &[&str]) -> SessionTables {
        let mut tables = SessionTables::default();
        for facts in texts.iter().flat_map(|text| classify(text).statements) {
            tables.learn_in_text(&facts);
        }
        tables
    }

    fn is_own(texts: &[&str], schema: Option<&str>, name: &str) -> bool {
        after(texts).is_own(&Name { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    #[test]
    fn a_table_is_the_sessions_own_until_it_is_another() {
        for (texts, own) in [
            (&["CREATE TABLE t (a int)"][..], true),
            (&["CREATE TABLE t (a int); COMMIT", "SELECT 1"], true),
            (&["CREATE TABLE t AS SELECT 1"], true),
            (&["CREATE TABLE IF NOT EXISTS t (a int)"], false),
            (&["CREATE TABLE t (a int)", "DROP TABLE u, t"], false),
            (&["CREATE TABLE u (a int)", "ALTER TABLE u RENAME TO t"], true),
            (&["CREATE TABLE t (a int)", "ALTER TABLE t RENAME TO u"], false),
            (&["CREATE TABLE t (a int)", "ALTER TABLE t SET SCHEMA s"], false),
            (&["CREATE TABLE t (a int)", "SET search_path TO s"], false),
            (&["CREATE TABLE t (a int)", "RESET ALL"], false),
            (&["BEGIN; CREATE TABLE t (a int); ROLLBACK"], false),
            (&["CREATE TABLE t (a int); ROLLBACK TO a"], false),
            (&["CREATE TEMP TABLE t (a int)"], true),
            (&["CREATE TEMP TABLE t (a int)", "DISCARD TEMP"], false),
            (&["BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP"], true),
            (&["BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; COMMIT"], false),
            (&["CREATE TABLE s.t (a int)"], false),
            (&["BEGIN; SET LOCAL search_path TO s; CREATE TABLE t (a int)"], true),
            (&["BEGIN; SET LOCAL search_path TO s; CREATE TABLE t (a int); COMMIT"], false),
            (&["SET LOCAL search_path TO s; BEGIN; CREATE TABLE t (a int); COMMIT"], false),
            (&["BEGIN; SELECT set_config('search_path', 's', true); CREATE TABLE t (a int); COMMIT"], false),
            (&["CREATE TABLE t (a int)", "ALTER SCHEMA s RENAME TO u"], false),
            (&["CREATE TABLE t (a int)", "DROP SCHEMA s CASCADE"], false),
            (&["CREATE TABLE t (a int)", "DROP TABLE s.t"], false),
            (&["CREATE TABLE t (a int)", "ALTER TABLE s.t RENAME TO u"], false),
            (&["SET search_path TO public, pg_temp", "CREATE TEMP TABLE t (a int)"], false),
            (&["SET search_path TO public, pg_temp", "CREATE TABLE t (a int)"], true),
            (&["SET search_path TO public, pg_temp; RESET search_path", "CREATE TEMP TABLE t (a int)"], true),
            (&["SELECT set_config('search_path', $1, false)", "CREATE TEMP TABLE t (a int)"], false),
            (&["CREATE TABLE \"T\" (a int)"], false),
        ] {
            assert_eq!(is_own(texts, None, "t"), own, "{texts:?}");
        }
        assert!(is_own(&[], Some("pg_temp"), "t"));
        assert!(is_own(&["CREATE TABLE s.t (a int); SET search_path TO x"], Some("s"), "t"));
    }

    #[test]
    fn a_check_that_holds_for_every_row_is_remembered() {
        let t = Name { schema: None, name: "t".to_owned() };
        assert!(after(&["ALTER TABLE t VALIDATE CONSTRAINT c"]).is_checked(&t));
        assert!(!after(&["ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID"]).is_checked(&t));
        assert!(!after(&["ALTER TABLE u VALIDATE CONSTRAINT c"]).is_checked(&t));
    }

    #[test]
    fn the_lists_are_bounded() {
        let texts: Vec<String> = (0..MOST + 10).map(|n| format!("CREATE TABLE t{n} (a int)")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(after(&texts).made.len(), MOST);
    }
}
