//! Refusals, and the one-time token with which some of them can be overruled (`SET pgbelay.confirm`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::core::Core;
use super::run::Run;
use crate::audit::{Event, Record};
use crate::guard::{Judged, Route, denial_report};
use crate::policy::Denial;
use crate::wire::Report;

/// How long a token can be given.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// The confirmation that a session was last asked for, and what it has given.
#[derive(Debug, Default)]
pub(super) struct Confirm {
    asked: Option<Asked>,
    given: Option<String>,
}

#[derive(Debug)]
struct Asked {
    token: String,
    text: Box<str>,
    at: Instant,
}

impl Confirm {
    /// `SET pgbelay.confirm = 'token'`.
    pub(super) fn give(&mut self, token: Option<&str>) {
        self.given = token.map(str::to_owned);
    }

    /// A new token for this text; the one before is worth nothing any more. `None` when the system has no randomness.
    fn ask(&mut self, text: &str) -> Option<String> {
        let mut bytes = [0; 8];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.given = None;
        self.asked = Some(Asked { token: token.clone(), text: text.into(), at: Instant::now() });
        Some(token)
    }

    /// Whether this very text was confirmed in time; uses the token up.
    fn take(&mut self, text: &str) -> bool {
        let (Some(asked), Some(given)) = (&self.asked, &self.given) else { return false };
        let is_confirmed = asked.token == *given && *asked.text == *text && asked.at.elapsed() <= TOKEN_LIFE;
        if is_confirmed {
            self.asked = None;
            self.given = None;
        }
        is_confirmed
    }
}

impl Core {
    /// Judges a text of the client's; one that was confirmed is judged as such, once.
    pub(super) fn judge_text(&mut self, text: &str) -> Arc<Judged> {
        if let Some(judged) = &self.confirmed
            && *judged.text == *text
            && self.still_holds(judged)
        {
            // The same message, looked at again.
            return Arc::clone(judged);
        }
        let judged = self.judge_again(text);
        self.note_sequence_reader(&judged);
        if matches!(judged.route, Route::Confirm(_)) && self.confirm.take(text) {
            let judged = self.judge.judge_confirmed(text, self.reason.as_deref(), &self.state.tables);
            self.confirmed = Some(Arc::clone(&judged));
            return judged;
        }
        judged
    }

    /// Judges a text by what the session is now; a confirmation does not count.
    pub(super) fn judge_again(&self, text: &str) -> Arc<Judged> {
        self.judge.judge(text, self.reason.as_deref(), &self.state.tables)
    }

    /// Whether a text would be judged as it was.
    pub(super) fn still_holds(&self, judged: &Judged) -> bool {
        self.judge.still_holds(judged, self.reason.as_deref(), &self.state.tables)
    }

    /// Records and counts a refusal; returns what the client is told.
    pub(super) fn denied(&mut self, judged: &Arc<Judged>, denial: &Denial) -> Report {
        let asks = matches!(judged.route, Route::Confirm(_));
        let mut hint = denial.hint.clone();
        if asks && let Some(token) = self.confirm.ask(&judged.text) {
            hint = hint.replace("{token}", &token);
        }
        let run = Run::new(Arc::clone(judged), self.next_number(), self.reason.clone());
        self.count_statement();
        self.denied.push((judged.class, denial.rule, if asks { "confirm" } else { "deny" }));
        let event = if asks { Event::Confirm } else { Event::Deny };
        self.records.push(Record {
            rule: Some(denial.rule),
            verdict: Some(if asks { "confirm" } else { "deny" }),
            sqlstate: Some(denial.sqlstate.to_owned()),
            message: Some(denial.message.clone()),
            ..run.record(event, &self.context)
        });
        denial_report(denial).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_confirms_its_text_once() {
        let mut confirm = Confirm::default();
        let token = confirm.ask("TRUNCATE t").unwrap();
        assert!(!confirm.take("TRUNCATE t"), "nothing given");
        confirm.give(Some("guess"));
        assert!(!confirm.take("TRUNCATE t"), "a wrong token");
        confirm.give(Some(&token));
        assert!(!confirm.take("TRUNCATE u"), "another text");
        assert!(confirm.take("TRUNCATE t"));
        assert!(!confirm.take("TRUNCATE t"), "a second time");
    }
}
