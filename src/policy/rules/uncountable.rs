//! Writes that `max_rows_written` could not stop: their command tag does not tell how many rows they changed.

use super::context::{Context, Finding};
use crate::policy::family::Family;
use crate::sql::{Effect, Facts};

/// `uncountable-write`
pub(super) fn write(cx: &Context<'_>) -> Option<Finding> {
    let limit = cx.policy.max_rows_written?;
    if cx.policy.is_read_only() {
        return None;
    }
    let facts = cx.facts();
    let Uncounted { form, way_out } = uncounted(facts)?;
    let (what, may) = match facts.writes.first() {
        Some(write) => (write.verb.as_str(), ""),
        // What EXECUTE runs is not in the text.
        None if facts.effects.iter().any(|effect| matches!(effect, Effect::Execute(_))) => {
            ("EXECUTE", "may be a write, and ")
        }
        None => return None,
    };
    Finding::deny(
        format!("{form} of {what} is not allowed on {}", cx.policy.tier),
        format!("it {may}does not tell how many rows it changes, so the limit of {limit} rows could not be kept"),
        format!("Run the {what} as a statement of its own{way_out}."),
    )
}

/// A form whose command tag has no count, or another one than that of the rows changed.
struct Uncounted {
    form: &'static str,
    /// How the HINT goes on.
    way_out: &'static str,
}

fn uncounted(facts: &Facts) -> Option<Uncounted> {
    // EXPLAIN ANALYZE keeps the kind of some statements that it runs.
    if facts.is_only_planned {
        return None;
    }
    if &*facts.tag == "EXPLAIN" {
        return Some(Uncounted { form: "EXPLAIN ANALYZE", way_out: ", or EXPLAIN without ANALYZE" });
    }
    let form = match Family::of(facts.kind) {
        Family::CopyOut => "COPY",
        Family::TableFromQuery => "making a table",
        // The body of a temporary function or the query of a temporary view does not run yet.
        Family::Temporary if matches!(&*facts.tag, "CREATE TABLE AS" | "SELECT INTO") => "making a table",
        // Their tags count what they change; EXECUTE answers with the tag of what it ran.
        Family::RowWrite | Family::Execute
        // Applications take what they change by a SELECT around it: how that is counted is left to the session.
        | Family::Query
        // Other rules speak of these, or they change no rows.
        | Family::AroundQuery
        | Family::Prepare
        | Family::Fetch
        | Family::Temporary
        | Family::Change
        | Family::Code
        | Family::Lock
        | Family::Bookkeeping
        | Family::UnparsedRead
        | Family::UnparsedWrite => return None,
    };
    Some(Uncounted { form, way_out: "" })
}
