//! DDL that holds up everybody else on a table in use: it takes a lock that stops reads or writes and keeps it for as long as the
//! table takes to be scanned or written anew (Postgres documentation, "Explicit Locking" and ALTER TABLE, "Notes").

use super::context::{Context, Finding, qualified};
use crate::config::{Action, Role};
use crate::policy::{FunctionNature, RuleId};
use crate::sql::functions::is_volatile;
use crate::sql::{Call, Change, Constraint, Kind, Lock, Name, SchemaChange};

/// What is wrong with a change.
struct Unsafe {
    rule: RuleId,
    /// Begins the message.
    what: String,
    why: String,
    hint: String,
    /// Without another way to the same end somebody has to be able to say yes.
    has_safe_way: bool,
}

/// Each of these rules: what its own rule is, of all that a statement does.
pub(super) fn check(cx: &Context<'_>, rule: RuleId) -> Option<Finding> {
    if cx.facts().schema_changes.is_empty() || cx.facts().kind == Kind::TempDdl {
        return None;
    }
    let mut found = cx.facts().schema_changes.iter().filter_map(|change| unsafe_change(cx, change));
    finding(cx, found.find(|found| found.rule == rule)?)
}

/// `lock-table`
pub(super) fn lock_table(cx: &Context<'_>) -> Option<Finding> {
    match cx.policy.role {
        // Applications take locks on purpose.
        Role::Service => return None,
        Role::Admin | Role::Agent | Role::Auditor | Role::Engineer | Role::Migrator => {}
    }
    let mode = cx.facts().locks.iter().find_map(|lock| match lock {
        Lock::Table(mode) if blocks_writes(mode) => Some(mode),
        Lock::Table(_) | Lock::Rows => None,
    })?;
    finding(
        cx,
        Unsafe {
            rule: "lock-table",
            what: format!("LOCK TABLE in {mode} mode"),
            why: "others wait for the table until the transaction ends".to_owned(),
            hint: "Leave it out: each statement takes the lock that it needs.".to_owned(),
            has_safe_way: true,
        },
    )
}

/// Modes that conflict with that of INSERT, UPDATE and DELETE; what is not a known mode counts as one.
fn blocks_writes(mode: &str) -> bool {
    !matches!(mode, "ACCESS SHARE" | "ROW SHARE" | "ROW EXCLUSIVE" | "SHARE UPDATE EXCLUSIVE")
}

fn finding(cx: &Context<'_>, Unsafe { rule, what, why, hint, has_safe_way }: Unsafe) -> Option<Finding> {
    let of_key = if has_safe_way { cx.policy.unsafe_ddl } else { cx.policy.unsafe_ddl.min(Action::Confirm) };
    let action = cx.policy.rules.get(rule).action.unwrap_or(of_key);
    Finding::of(action, format!("{what} {}", cx.phrase(action)), why, hint)
}

fn unsafe_change(cx: &Context<'_>, change: &SchemaChange) -> Option<Unsafe> {
    let tables = cx.tables;
    let SchemaChange { object, change } = change;
    if tables.is_own(object) {
        return None;
    }
    let name = if object.name.is_empty() { "every table".to_owned() } else { qualified(object) };
    let found = |rule, what: &str, why: String, hint: String| {
        let has_safe_way = true;
        Some(Unsafe { rule, what: what.to_owned(), why, hint, has_safe_way })
    };
    let without_a_way = |rule, what: &str, why: String, hint: &str| {
        let has_safe_way = false;
        Some(Unsafe { rule, what: what.to_owned(), why, hint: hint.to_owned(), has_safe_way })
    };
    match change {
        Change::CreateIndex { concurrently: false } => found(
            "create-index",
            "CREATE INDEX without CONCURRENTLY",
            format!("nothing can be written to {name} until the index is built"),
            format!("Use CREATE INDEX CONCURRENTLY, outside a transaction block. {NEW_TABLE}"),
        ),
        Change::DropIndex { concurrently: false } => found(
            "drop-index",
            "DROP INDEX without CONCURRENTLY",
            format!("reads and writes of the table wait while {name} waits for every query that uses the table"),
            "Use DROP INDEX CONCURRENTLY, outside a transaction block.".to_owned(),
        ),
        Change::Reindex { concurrently: false } => found(
            "reindex",
            "REINDEX without CONCURRENTLY",
            format!("nothing can be written, and no query planned that could use the index, until {name} is done"),
            "Use REINDEX … CONCURRENTLY, outside a transaction block.".to_owned(),
        ),
        Change::AddColumn(column) if column.default_calls.iter().any(|call| may_be_volatile(cx, call)) => {
            let call = column.default_calls.iter().find(|call| may_be_volatile(cx, call))?;
            found(
                "add-column-default",
                "ADD COLUMN with a volatile DEFAULT",
                format!(
                    "{} gives each row a value of its own, so that {name} is locked while all of it is written anew",
                    qualified(&call.name)
                ),
                "Add the column without a DEFAULT, then ALTER COLUMN … SET DEFAULT, then fill the old rows in batches."
                    .to_owned(),
            )
        }
        Change::AddColumn(column) if column.is_stored => found(
            "add-column-generated",
            "ADD COLUMN … GENERATED ALWAYS AS … STORED",
            format!("{name} is locked while all of it is written anew"),
            "Add a plain column, keep it by a trigger or in the application, and fill the old rows in batches.".to_owned(),
        ),
        Change::AddColumn(column) if column.is_numbered => found(
            "add-column-serial",
            "ADD COLUMN with a sequence",
            format!("each row gets a number, so that {name} is locked while all of it is written anew"),
            "Add a plain column, SET DEFAULT nextval('…') of a sequence made before, and fill the old rows in batches."
                .to_owned(),
        ),
        Change::SetNotNull(_) if tables.is_checked(object) => None,
        Change::SetNotNull(column) => found(
            "set-not-null",
            "SET NOT NULL without a validated check",
            format!("{name} is locked while all of it is searched for NULL"),
            format!(
                "First ADD CONSTRAINT … CHECK ({column} IS NOT NULL) NOT VALID, then VALIDATE CONSTRAINT …, then this, in the \
                 same session: Postgres then need not search."
            ),
        ),
        Change::ChangeType(column) => without_a_way(
            "change-column-type",
            "ALTER COLUMN … TYPE",
            format!(
                "{name} may be locked while all of it is written anew: whether {column} can stay as it is, the text does not tell"
            ),
            "Or add a column of the new type, fill it in batches, and let the application change over.",
        ),
        Change::AddConstraint { unchecked: true, .. } => None,
        Change::AddConstraint { constraint: Constraint::ForeignKey, .. } => found(
            "add-foreign-key",
            "ADD FOREIGN KEY without NOT VALID",
            format!("nothing can be written to {name} and the table that it refers to while all of it is checked"),
            format!("Add NOT VALID, then VALIDATE CONSTRAINT in a transaction of its own. {NEW_TABLE}"),
        ),
        Change::AddConstraint { constraint: Constraint::Check, .. } => found(
            "add-check",
            "ADD CHECK without NOT VALID",
            format!("{name} is locked while all of it is checked"),
            "Add NOT VALID, to a column that is there already, then VALIDATE CONSTRAINT in a transaction of its own."
                .to_owned(),
        ),
        Change::AddConstraint { constraint: Constraint::Unique, .. } => found(
            "add-unique",
            "ADD UNIQUE or PRIMARY KEY without USING INDEX",
            format!("{name} is locked until its index is built"),
            format!(
                "CREATE UNIQUE INDEX CONCURRENTLY first, then ADD CONSTRAINT … UNIQUE USING INDEX …, or PRIMARY KEY. {NEW_TABLE}"
            ),
        ),
        Change::AddConstraint { constraint: Constraint::Exclusion, .. } => without_a_way(
            "add-exclusion",
            "ADD EXCLUDE",
            format!("{name} is locked until its index is built, and there is no other way to make one"),
            "Choose a time at which the table can be missed.",
        ),
        Change::AttachPartition(partition) if tables.is_own(partition) || tables.is_checked(partition) => None,
        Change::AttachPartition(partition) => found(
            "attach-partition",
            "ATTACH PARTITION without a check",
            format!("{} is locked while all of it is searched for rows that do not belong there", qualified(partition)),
            "First give it a CHECK that says what its bounds say, NOT VALID, then VALIDATE CONSTRAINT …, then this, in the \
             same session; or make the table in it."
                .to_owned(),
        ),
        Change::DetachPartition { concurrently: false } => found(
            "detach-partition",
            "DETACH PARTITION without CONCURRENTLY",
            format!("reads and writes of {name} wait while it waits for every query on any of its partitions"),
            "Use DETACH PARTITION … CONCURRENTLY, outside a transaction block.".to_owned(),
        ),
        Change::Refresh { concurrently: false } => found(
            "refresh-materialized-view",
            "REFRESH MATERIALIZED VIEW without CONCURRENTLY",
            format!("{name} cannot be read until its query is done"),
            "Use REFRESH MATERIALIZED VIEW CONCURRENTLY; it needs a unique index on the view.".to_owned(),
        ),
        Change::Rewrite(how) => without_a_way(
            "table-rewrite",
            how,
            format!("{name} is locked while all of it is written anew"),
            "For bloat, use a tool that works beside the application, such as pg_repack.",
        ),
        Change::Unknown => without_a_way(
            "table-rewrite",
            "an ALTER TABLE that pgbelay does not know",
            format!("how long it locks {name}, the text does not tell"),
            "Report it as not understood.",
        ),
        Change::RenameTable(_) | Change::RenameColumn => without_a_way(
            "rename",
            if matches!(change, Change::RenameColumn) { "RENAME COLUMN" } else { "renaming or moving a table" },
            format!("whoever still uses the old name of {name} or its column fails from that moment on"),
            "Or add what is new beside the old, let the application change over, and drop the old; a view can keep a name.",
        ),
        Change::DropColumn(column) => without_a_way(
            "drop-column",
            "DROP COLUMN",
            format!("whoever still names {column} of {name} fails from that moment on, and its values cannot be brought back"),
            "Make sure that no running version of the application uses it.",
        ),
        Change::AddColumn(_)
        | Change::CreateTable { .. }
        | Change::DropTable
        | Change::CreateIndex { concurrently: true }
        | Change::DropIndex { concurrently: true }
        | Change::Reindex { concurrently: true }
        | Change::DetachPartition { concurrently: true }
        | Change::Refresh { concurrently: true }
        | Change::ValidateConstraint => None,
    }
}

const NEW_TABLE: &str = "A table that this session has made needs none of that.";

/// Whether a function may give each row another value.
fn may_be_volatile(cx: &Context<'_>, call: &Call) -> bool {
    let Name { schema, name } = &call.name;
    match cx.view.catalog.function(schema.as_deref(), name, call.arity) {
        FunctionNature::BuiltIn => is_volatile(name),
        FunctionNature::ReadOnly => false,
        FunctionNature::Opaque | FunctionNature::Unheld | FunctionNature::Unjudged => true,
    }
}
