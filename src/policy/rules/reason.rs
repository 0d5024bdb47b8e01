//! A reason before anything is read or written.

use super::catalog_relations;
use super::context::{Context, Finding};
use crate::config::ReasonRule;
use crate::policy::FunctionNature;
use crate::policy::family::Family;
use crate::sql::functions::Category;
use crate::sql::{Facts, Name};

/// `reason-required`
pub(super) fn required(cx: &Context<'_>) -> Option<Finding> {
    match cx.policy.reason {
        ReasonRule::Optional => return None,
        ReasonRule::Required => {}
    }
    let given = cx.view.reason.is_some_and(|reason| !reason.trim().is_empty());
    if given || cx.family() == Family::Bookkeeping || looks_at_the_catalog_only(cx) {
        return None;
    }
    Finding::deny(
        format!("a reason is required on {} before anything is read or written", cx.policy.tier),
        "no reason was given in this session",
        "Run SET pgbelay.reason = '…' with a ticket or a sentence, or connect with PGOPTIONS=\"-c pgbelay.reason=…\".",
    )
}

/// Reads of the system catalog, and of nothing at all (`SELECT version()`): what `\d`, tab completion and drivers ask for
/// before a person has typed anything. They hold no data of the application's.
fn looks_at_the_catalog_only(cx: &Context<'_>) -> bool {
    let facts = cx.facts();
    match cx.family() {
        Family::Query | Family::CopyOut | Family::AroundQuery | Family::Prepare => {}
        // What it fetches was judged when the cursor was declared.
        Family::Fetch => return true,
        Family::Execute
        | Family::RowWrite
        | Family::TableFromQuery
        | Family::Temporary
        | Family::Change
        | Family::Code
        | Family::Lock
        | Family::Bookkeeping
        | Family::UnparsedRead
        | Family::UnparsedWrite => return false,
    }
    facts.reads.iter().all(holds_no_data)
        && facts.writes.is_empty()
        && facts.locks.is_empty()
        && facts.hazards.is_empty()
        && cx.categories().all(|(_, category)| category == Category::Settings)
        && calls_built_ins_only(cx, facts)
        && cx.hidden_code().is_none()
}

/// A relation of the catalog that holds none of the application's data: large objects and samples of columns are its data.
fn holds_no_data(name: &Name) -> bool {
    const DATA: &[&str] =
        &["pg_largeobject", "pg_statistic", "pg_statistic_ext_data", "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"];
    is_known_catalog(name) && !DATA.contains(&name.name.as_str())
}

fn calls_built_ins_only(cx: &Context<'_>, facts: &Facts) -> bool {
    /// Postgres's own functions that read large objects.
    const READ_DATA: &[&str] = &["lo_get", "loread"];
    facts.functions.iter().all(|call| {
        if READ_DATA.contains(&call.name.name.as_str()) {
            return false;
        }
        cx.nature(call) == FunctionNature::BuiltIn || call.name.schema.as_deref() == Some("information_schema")
    })
}

/// Whether a read is one of the catalog: pg_catalog comes before every schema of the search path, so that an unqualified
/// `pg_class` is the catalog's. A name that is not known may be a table of the user's.
pub(in crate::policy) fn is_known_catalog(name: &Name) -> bool {
    is_catalog(name) && (name.schema.is_some() || catalog_relations::has(&name.name))
}

/// Whether a name is the catalog's, or may be that of a newer server's.
pub(super) fn is_catalog(name: &Name) -> bool {
    match name.schema.as_deref() {
        Some(schema) => schema == "pg_catalog" || schema == "information_schema",
        None => name.name.starts_with("pg_"),
    }
}
