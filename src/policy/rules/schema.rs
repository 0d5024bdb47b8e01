//! Statements that change the schema, roles, the cluster, or what lies beneath them.

use super::context::{Context, Finding, qualified};
use super::reason::is_catalog;
use crate::sql::{Kind, Verb};

/// `truncate-drop`
pub(super) fn truncate_drop(cx: &Context<'_>) -> Option<Finding> {
    let action = cx.policy.truncate_drop;
    let facts = cx.facts();
    let truncated = facts.writes.iter().find(|write| write.verb == Verb::Truncate);
    if let Some(write) = truncated {
        return Finding::of(
            action,
            format!("TRUNCATE {}", cx.phrase(action)),
            format!("every row of {} would be removed", qualified(&write.table)),
            cx.hint_or_elsewhere("Delete the rows that must go, with a WHERE"),
        );
    }
    let hint = match facts.kind {
        // It holds no data and can be made again: `ddl` speaks of it, and `drop-index`.
        Kind::Drop if &*facts.tag == "DROP INDEX" => return None,
        Kind::Drop => "A temporary object can be dropped by its full name, pg_temp.NAME; leave others to a migration",
        Kind::Truncate => "Delete the rows that must go, with a WHERE",
        // Whole databases, and everything that a role owns.
        Kind::Cluster | Kind::Role if facts.tag.starts_with("DROP") => "Leave it to the server's administrator",
        _ => return None,
    };
    Finding::of(
        action,
        format!("{} {}", facts.tag, cx.phrase(action)),
        "what it removes cannot be brought back",
        cx.hint_or_elsewhere(hint),
    )
}

/// `ddl`
pub(super) fn ddl(cx: &Context<'_>) -> Option<Finding> {
    match cx.facts().kind {
        Kind::Ddl | Kind::CreateTableAs => {}
        Kind::Cluster if is_schema_like(&cx.facts().tag) => {}
        Kind::Drop if &*cx.facts().tag == "DROP INDEX" => {}
        _ => return None,
    }
    schema_change(cx, "it changes the schema")
}

/// `role-statement`
pub(super) fn role_statement(cx: &Context<'_>) -> Option<Finding> {
    if cx.facts().kind != Kind::Role {
        return None;
    }
    schema_change(cx, "it changes who may do what")
}

/// `maintenance`
pub(super) fn maintenance(cx: &Context<'_>) -> Option<Finding> {
    if cx.facts().kind != Kind::Maintenance {
        return None;
    }
    schema_change(cx, "it works on whole tables or the whole server, and may lock them for long")
}

fn schema_change(cx: &Context<'_>, why: &str) -> Option<Finding> {
    let action = cx.policy.ddl;
    Finding::of(
        action,
        format!("{} {}", cx.facts().tag, cx.phrase(action)),
        why,
        cx.hint_or_elsewhere("Send it as a migration, with a user of the role migrator"),
    )
}

/// `cluster`
pub(super) fn cluster(cx: &Context<'_>) -> Option<Finding> {
    if cx.facts().kind != Kind::Cluster || is_schema_like(&cx.facts().tag) {
        return None;
    }
    let action = cx.policy.dangerous;
    Finding::of(
        action,
        format!("{} {}", cx.facts().tag, cx.phrase(action)),
        "it changes the whole server, not one database",
        cx.hint_or_elsewhere("Leave it to the server's administrator"),
    )
}

/// What belongs to one database only and comes with migrations. What an extension or language brings along that is dangerous
/// has rules of its own.
fn is_schema_like(tag: &str) -> bool {
    ["EXTENSION", "LANGUAGE", "PUBLICATION"].iter().any(|object| tag.ends_with(object))
}

/// `system-catalog`: a superuser can write there, and so change settings (pg_settings), passwords or any object unseen.
pub(super) fn system_catalog(cx: &Context<'_>) -> Option<Finding> {
    let write = cx.facts().writes.iter().find(|write| is_catalog(&write.table))?;
    let action = cx.policy.dangerous;
    let hint = match write.table.name.as_str() {
        "pg_settings" => "Use SET",
        _ => "Use the statement that is made for it, such as ALTER",
    };
    Finding::of(
        action,
        format!("writing to {} {}", qualified(&write.table), cx.phrase(action)),
        "it changes the system catalog or the settings behind the server's back",
        cx.hint_or_elsewhere(hint),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_come_with_migrations_but_databases_do_not() {
        assert!(is_schema_like("CREATE EXTENSION"));
        assert!(is_schema_like("DROP PUBLICATION"));
        assert!(!is_schema_like("DROP DATABASE"));
        assert!(!is_schema_like("ALTER SYSTEM"));
    }
}
