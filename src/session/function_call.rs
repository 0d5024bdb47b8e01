//! FunctionCall, the fast-path interface: libpq's lo_* functions, and so psql's \\lo_export, pg_dump and the drivers' large
//! objects, know no other way. It names a function by its OID. Those of large objects are judged as the SELECT that would call
//! them; nothing else can be called by number.

use super::core::{Core, Progress, body_report};
use super::simple::failed_transaction;
use crate::audit::{Event, Record};
use crate::guard::Route;
use crate::policy::{Pending, sqlstate};
use crate::upstream::Link;
use crate::wire::{Report, put_function_call, read_function_call};

/// The functions of large objects by their OIDs, which are the same on every server (Postgres's pg_proc.dat), each as the text
/// by which its call is judged and recorded.
const LARGE_OBJECTS: &[(u32, &str)] = &[
    (715, "SELECT pg_catalog.lo_create($1)"),
    (952, "SELECT pg_catalog.lo_open($1, $2)"),
    (953, "SELECT pg_catalog.lo_close($1)"),
    (954, "SELECT pg_catalog.loread($1, $2)"),
    (955, "SELECT pg_catalog.lowrite($1, $2)"),
    (956, "SELECT pg_catalog.lo_lseek($1, $2, $3)"),
    (957, "SELECT pg_catalog.lo_creat($1)"),
    (958, "SELECT pg_catalog.lo_tell($1)"),
    (964, "SELECT pg_catalog.lo_unlink($1)"),
    (1004, "SELECT pg_catalog.lo_truncate($1, $2)"),
    (3170, "SELECT pg_catalog.lo_lseek64($1, $2, $3)"),
    (3171, "SELECT pg_catalog.lo_tell64($1)"),
    (3172, "SELECT pg_catalog.lo_truncate64($1, $2)"),
];

impl Core {
    pub(super) fn function_call(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        if !self.replies.is_empty() {
            return self.await_replies(link);
        }
        let oid = match read_function_call(body) {
            Ok(oid) => oid,
            Err(error) => return self.refuse_query(&body_report(error), link),
        };
        if let Some(report) = self.refusal.take() {
            return self.refuse_query(&report, link);
        }
        let Some((_, text)) = LARGE_OBJECTS.iter().find(|(known, _)| *known == oid) else {
            let report = self.not_by_number(oid);
            return self.refuse_query(&report, link);
        };
        let judged = self.judge_text(text);
        match &judged.route {
            Route::Refuse(denial) | Route::Confirm(Pending { denial, .. }) => {
                let report = self.denied(&judged, denial);
                self.refuse_query(&report, link)
            }
            _ if self.state.is_orphaned => self.refuse_query(&failed_transaction(), link),
            // Answered as a query is, with FunctionCallResponse in the place of rows.
            // A call by number has no plan that could be asked for.
            Route::Whole(permit) | Route::Stepwise(permit) => self.send_whole(&judged, permit, link, |core, link| {
                put_function_call(body, &mut link.outbox);
                core.end_batch(link);
            }),
            Route::SingleStatement(_) => {
                let report = self.not_by_number(oid);
                self.refuse_query(&report, link)
            }
        }
    }

    /// The refusal of a function that can be called by its name only; recorded.
    fn not_by_number(&mut self, oid: u32) -> Report {
        let report = Report::error(sqlstate::NOT_SUPPORTED, format!("function {oid} cannot be called by its number"))
            .detail("A FunctionCall message names no function, so only those of large objects are known by it.")
            .hint("Call the function with SELECT instead.");
        self.records.push(Record {
            verdict: Some("deny"),
            sqlstate: Some(sqlstate::NOT_SUPPORTED.to_owned()),
            message: Some(report.message.clone()),
            ..Record::of(Event::Deny, &self.context)
        });
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Kind, classify};

    #[test]
    fn each_call_is_judged_as_a_call_of_one_function_of_postgres() {
        for (oid, text) in LARGE_OBJECTS {
            let script = classify(text);
            let [facts] = script.statements.as_slice() else { panic!("{oid}: {text}") };
            let [call] = facts.functions.as_slice() else { panic!("{oid}: {text}") };
            assert_eq!((facts.kind, call.name.schema.as_deref()), (Kind::Select, Some("pg_catalog")), "{oid}");
        }
    }
}
