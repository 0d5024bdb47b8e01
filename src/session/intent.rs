//! The gate before a guarded write: its record is on disk before the server sees it (invariant 6).

use super::core::Core;
use super::run::Run;
use crate::audit::{Event, Record};
use crate::config::OnAuditFailure;
use crate::policy::sqlstate;
use crate::wire::Report;

/// Whether the record that must precede the message at hand is on disk.
#[derive(Debug, Default)]
pub(super) enum Intent {
    #[default]
    NotAsked,
    Recorded,
    Failed(String),
}

/// Why a statement does not run yet.
#[derive(Debug)]
pub(super) enum IntentGate {
    /// Its intent has to be on disk first.
    Ask(Box<Record>),
    /// It cannot be put there.
    Refuse(Report),
}

impl Core {
    /// The intent of the message at hand is on disk, or cannot be put there.
    pub(super) fn intent_recorded(&mut self, result: Result<(), String>) {
        self.intent = match result {
            Ok(()) => Intent::Recorded,
            Err(why) => Intent::Failed(why),
        };
    }

    /// Asks for the intent of a statement to be on disk before it runs. `Ok` once it may run.
    pub(super) fn require_intent(&mut self, run: &Run) -> Result<(), IntentGate> {
        if !run.judged.permit().is_some_and(|p| p.guards.intent) {
            let is_lost = run.judged.is_recorded && self.is_audit_failing;
            return match self.judge.policy.on_audit_failure {
                OnAuditFailure::Deny if is_lost => {
                    Err(IntentGate::Refuse(cannot_audit("The latest records could not be written.")))
                }
                OnAuditFailure::Deny | OnAuditFailure::Allow => Ok(()),
            };
        }
        match std::mem::take(&mut self.intent) {
            Intent::Recorded => {
                // Kept until the message is consumed: it may have to be looked at again for want of a connection.
                self.intent = Intent::Recorded;
                Ok(())
            }
            Intent::NotAsked => Err(IntentGate::Ask(Box::new(run.record(Event::Statement, &self.context)))),
            Intent::Failed(why) => {
                Err(IntentGate::Refuse(cannot_audit(&format!("The audit trail cannot be written: {why}"))))
            }
        }
    }

    /// The record on disk was this statement's; the next one needs its own.
    pub(super) fn forget_intent(&mut self) {
        self.intent = Intent::NotAsked;
    }

    /// The number of the next statement. Only counted once it is sent.
    pub(super) fn next_number(&self) -> u64 {
        self.statement_no + 1
    }

    pub(super) fn count_statement(&mut self) {
        self.statement_no += 1;
        self.intent = Intent::NotAsked;
    }
}

fn cannot_audit(detail: &str) -> Report {
    Report::error(sqlstate::AUDIT_FAILURE, "the statement cannot be audited, so it is not run")
        .detail(detail)
        .hint("Tell whoever runs pgbelay; the statement can be sent again once the trail is mended.")
}
