//! The proxy's own answers: `SHOW pgbelay.…`, `SET pgbelay.…`, and time limits held at the tier's value.

use std::sync::Arc;

use super::core::Core;
use crate::config::policy_values;
use crate::guard::{LocalAction, notice_report};
use crate::wire::{put_command_complete, put_text_columns, put_text_row};

/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 500;

impl Core {
    /// The whole answer to a simple query: a SHOW's columns, too, which Describe tells in the extended protocol.
    pub(super) fn answer_local_query(&mut self, action: &LocalAction) {
        if let LocalAction::Show(name) = action {
            self.answer_columns(name);
        }
        self.answer_local(action);
    }

    /// Does what the statement asks for and answers it from its rows to CommandComplete.
    pub(super) fn answer_local(&mut self, action: &LocalAction) {
        match action {
            LocalAction::Show(name) => {
                let rows = self.show(name);
                self.answer(|out| {
                    for row in &rows {
                        let values: Vec<&str> = row.iter().map(String::as_str).collect();
                        put_text_row(&values, out);
                    }
                    put_command_complete("SHOW", out);
                });
            }
            LocalAction::Set { name, value } => {
                match name.as_str() {
                    "reason" => self.reason = value.as_deref().and_then(clean_reason),
                    "confirm" => self.confirm.give(value.as_deref()),
                    // The policy refuses all others.
                    _ => {}
                }
                let tag = if value.is_some() { "SET" } else { "RESET" };
                self.answer(|out| put_command_complete(tag, out));
            }
            LocalAction::Limit { name, value, notice, tag } => {
                let value = self.judge.forced.get(name).unwrap_or(value).to_owned();
                self.state.decide_setting(name, &value);
                if let Some(notice) = notice {
                    self.answer(|out| notice_report(notice).write(out));
                }
                self.answer(|out| put_command_complete(tag, out));
            }
        }
    }

    /// RowDescription of a SHOW.
    pub(super) fn answer_columns(&mut self, name: &str) {
        let own = format!("pgbelay.{name}");
        let columns: &[&str] = match name {
            "session" | "limits" => &["name", "setting"],
            _ => &[&own],
        };
        self.answer(|out| put_text_columns(columns, out));
    }

    /// When the limits are tighter, and whether they are now.
    fn peak_hours(&self) -> Option<(&'static str, String)> {
        let policy = &self.judge.policy;
        let now = if policy.is_of_peak_hours() { ", now" } else { "" };
        Some(("peak_hours", format!("{}{now}", policy.peak.as_ref()?.hours)))
    }

    fn show(&self, name: &str) -> Vec<Vec<String>> {
        let policy = &self.judge.policy;
        let pairs = |pairs: Vec<(&str, String)>| pairs.into_iter().map(|(n, v)| vec![n.to_owned(), v]).collect();
        match name {
            "tier" => vec![vec![policy.tier.to_string()]],
            "reason" => vec![vec![self.reason.as_deref().unwrap_or_default().to_owned()]],
            "limits" => pairs(policy_values(policy).into_iter().chain(self.peak_hours()).collect()),
            "session" => pairs(vec![
                ("session", self.context.id.clone()),
                ("user", self.context.user.clone()),
                ("role", policy.role.to_string()),
                ("database", self.context.database.clone()),
                ("tier", policy.tier.to_string()),
                ("access", policy.access.to_string()),
                ("reason", self.reason.as_deref().unwrap_or_default().to_owned()),
                ("pinned by", self.state.pins.reasons().join(", ")),
                ("settings", self.state.wanted.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(", ")),
            ]),
            _ => vec![],
        }
    }
}

/// A reason as it is kept: trimmed, bounded; nothing when it says nothing.
pub(crate) fn clean_reason(text: &str) -> Option<Arc<str>> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(MAX_REASON).collect::<String>().into())
}
