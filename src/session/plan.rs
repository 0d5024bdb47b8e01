//! The plan of a statement, asked for before it runs (DESIGN §5): an exchange of the proxy's own in the same session, with the
//! same settings, in the same transaction and with the same parameters as the statement that waits for it.
//!
//! EXPLAIN goes through the extended protocol, in which the server itself refuses a second statement in its text. Where it fails
//! the statement would have failed, so that its error is the client's answer.

use bytes::BytesMut;

use super::core::{Core, Progress, Step};
use super::replies::{Aside, Expect, Own};
use crate::guard::{Judged, PlanQuery, read_plan};
use crate::policy::{Confirmation, Denial, Notice, PlanEstimate, PlanVerdict, expected_rows, judge_plan, sqlstate};
use crate::upstream::{Link, Statement};
use crate::wire::{
    Header, MAX_BUFFERED, Reader, Report, error_field, put_bare, put_bind_head, put_changed_error, put_execute,
    put_parse, put_shifted_error, put_target, shifted_position,
};

/// Name of the proxy's own statement and portal.
const NAME: &str = "pgbelay_plan";

/// A Bind's parameters where there are none: no formats, no values.
pub(super) const NO_PARAMETERS: &[u8] = &[0; 4];

/// CloseComplete messages of one exchange: of what an exchange that failed has left, of the portal, of the statement.
const CLOSES: u8 = 3;

/// What is known of the plan of the statement at hand.
#[derive(Debug, Default)]
pub(super) enum Planning {
    /// Nothing.
    #[default]
    NotAsked,
    /// EXPLAIN is on its way.
    Asked {
        /// What came of its answer.
        json: BytesMut,
        /// How far positions in its errors are from those in the client's text.
        shift: isize,
        /// What the client calls statement and portal; `None` for a simple query.
        names: Option<Names>,
    },
    /// What the server expects, or why that is not known.
    Answered(Result<PlanEstimate, String>),
}

/// The client's names of a statement and of the portal that it is bound to.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) statement: String,
    pub(super) portal: String,
}

impl Planning {
    /// A DataRow of EXPLAIN's answer.
    pub(super) fn learn(&mut self, row: &[u8]) {
        if let Planning::Asked { json, .. } = self {
            json.extend_from_slice(only_value(row).unwrap_or_default());
        }
    }

    /// The answer is complete.
    pub(super) fn complete(&mut self) {
        if let Planning::Asked { json, .. } = self {
            *self = Planning::Answered(read_plan(json));
        }
    }

    /// What the server expects, if it has told.
    pub(super) fn estimate(&self) -> Option<&PlanEstimate> {
        match self {
            Planning::Answered(Ok(estimate)) => Some(estimate),
            Planning::Answered(Err(_)) | Planning::Asked { .. } | Planning::NotAsked => None,
        }
    }
}

impl Core {
    /// What is decided of the plan of a statement; `None` while it is not known.
    pub(super) fn plan_verdict(&self, judged: &Judged, statement: usize) -> Option<PlanVerdict> {
        let Planning::Answered(answer) = &self.planning else { return None };
        let plan = answer.as_ref().map_err(String::as_str);
        Some(judge_plan(plan, &self.judge.policy, statement, confirmation(judged)))
    }

    /// A refusal that asks for confirmation, with the rows that the plan expects.
    pub(super) fn with_expected_rows(&self, denial: &Denial) -> Denial {
        let detail = match self.planning.estimate() {
            Some(estimate) => format!("{}; {}", denial.detail, expected_rows(estimate)),
            None => denial.detail.clone(),
        };
        Denial { detail, ..denial.clone() }
    }

    /// Asks for the plan of a statement of a simple query.
    pub(super) fn ask_plan(&mut self, plan: &PlanQuery, text: &str, link: &mut Link) -> Step {
        put_explain(plan, text, &[0, 0], NO_PARAMETERS, link);
        self.planning = Planning::Asked { json: BytesMut::new(), shift: plan.shift(text), names: None };
        put_bare(b'S', &mut link.outbox);
        link.in_sync = false;
        self.replies.push_back(Expect::Own(Own::Plan));
        Step::AwaitReplies
    }

    /// Asks for the plan of a statement that a Bind gives parameters to, inside the client's batch.
    pub(super) fn ask_plan_in_batch(
        &mut self,
        plan: &PlanQuery,
        statement: &Statement,
        parameters: &[u8],
        names: Names,
        link: &mut Link,
    ) -> Progress {
        put_explain(plan, &statement.sql, &statement.types, parameters, link);
        let shift = plan.shift(&statement.sql);
        self.planning = Planning::Asked { json: BytesMut::new(), shift, names: Some(names) };
        self.expect_extended(Expect::Own(Own::Aside { what: Aside::Plan, closes: CLOSES }), link);
        self.await_replies(Some(link))
    }

    /// EXPLAIN failed, as the statement would have: its error, as if it were the statement's.
    pub(super) fn pass_plan_error(&mut self, body: &[u8]) {
        let Planning::Asked { shift, names, .. } = std::mem::take(&mut self.planning) else {
            return put_shifted_error(body, 0, &mut self.out);
        };
        let Some(names) = names else {
            if error_field(body, b'C').as_deref() == Some(sqlstate::PROTOCOL_VIOLATION) {
                // EXPLAIN was to be bound to parameters, which a simple query has none of.
                Report::error("42P02", "there is no parameter $1").write(&mut self.out);
                return;
            }
            return put_shifted_error(body, shift, &mut self.out);
        };
        let statement = (format!("statement \"{NAME}\""), format!("statement \"{}\"", names.statement));
        let portal = match names.portal.as_str() {
            "" => "unnamed portal".to_owned(),
            name => format!("portal \"{name}\""),
        };
        let portal = (format!("portal \"{NAME}\""), portal);
        put_changed_error(body, &mut self.out, |field, value| match field {
            b'P' => shifted_position(value, shift),
            b'M' => Some(Some(value.replace(&statement.0, &statement.1))),
            b'W' => Some(Some(value.replace(&portal.0, &portal.1))),
            _ => None,
        });
    }

    /// Whether a row of this size that is still coming in is a plan, which is read as a whole.
    pub(super) fn awaits_plan(&self, header: Header) -> bool {
        header.size <= MAX_BUFFERED
            && matches!(self.replies.front(), Some(Expect::Own(Own::Plan | Own::Aside { what: Aside::Plan, .. })))
    }
}

/// EXPLAIN of a statement, with the same parameters.
fn put_explain(plan: &PlanQuery, text: &str, types: &[u8], parameters: &[u8], link: &mut Link) {
    let out = &mut link.outbox;
    // What an EXPLAIN that failed has left behind; of a name that does not exist the server says nothing.
    put_target(b'C', b'S', NAME, out);
    put_parse(NAME, plan.sql(text).as_bytes(), types, out);
    put_bind_head(NAME, NAME, parameters.len() + 2, out);
    out.extend_from_slice(parameters);
    // The answer as text, whatever the client wants of its own statement's.
    out.extend_from_slice(&[0, 0]);
    put_execute(NAME, out);
    put_target(b'C', b'P', NAME, out);
    put_target(b'C', b'S', NAME, out);
}

/// Whether a text has been confirmed.
pub(super) fn confirmation(judged: &Judged) -> Confirmation {
    if judged.is_confirmed { Confirmation::Given } else { Confirmation::NotGiven }
}

/// What a portal keeps of the plan of its statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Planned {
    pub(super) estimate: Option<PlanEstimate>,
    pub(super) notices: Vec<Notice>,
}

/// The value of a row of one column.
fn only_value(row: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(row);
    let 1 = reader.i16().ok()? else { return None };
    let length = usize::try_from(reader.i32().ok()?).ok()?;
    reader.bytes(length).ok()
}
