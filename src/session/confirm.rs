//! Refusals, and the one-time token with which some of them can be overruled (`SET pgbelay.confirm`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use super::core::Core;
use super::plan::NO_PARAMETERS;
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
    asked: Option<Box<Asked>>,
    given: Option<String>,
}

#[derive(Debug)]
struct Asked {
    token: String,
    text: Box<str>,
    bound: Bound,
    at: Instant,
}

/// The parameters that a confirmation speaks of: their types and values, as a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bound(Option<[u8; 32]>);

impl Bound {
    /// `types` is of the Parse, `parameters` of the Bind, both as sent. None at all is what a simple query has.
    pub(super) fn new(types: &[u8], parameters: &[u8]) -> Self {
        if parameters == NO_PARAMETERS {
            return Self(None);
        }
        let mut digest = Context::new(&SHA256);
        digest.update(&types.len().to_be_bytes());
        digest.update(types);
        digest.update(parameters);
        Self(digest.finish().as_ref().try_into().ok())
    }
}

/// Whether a refusal is the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is.
    Final,
    /// A confirmation overrules it.
    Asks,
}

impl Confirm {
    /// `SET pgbelay.confirm = 'token'`.
    pub(super) fn give(&mut self, token: Option<&str>) {
        self.given = token.map(str::to_owned);
    }

    /// Whether a token was given for what was asked.
    pub(super) fn is_given(&self) -> bool {
        self.asked.is_some() && self.given.is_some()
    }

    /// A new token for this text and its parameters; the one before is worth nothing any more. `None` when the system has no
    /// randomness.
    fn ask(&mut self, text: &str, bound: Bound, now: Instant) -> Option<String> {
        let mut bytes = [0; 8];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.given = None;
        self.asked = Some(Box::new(Asked { token: token.clone(), text: text.into(), bound, at: now }));
        Some(token)
    }

    /// Whether this very text was confirmed with these parameters in time; uses the token up.
    fn take(&mut self, text: &str, bound: Bound, now: Instant) -> bool {
        let (Some(asked), Some(given)) = (&self.asked, &self.given) else { return false };
        let is_confirmed = asked.token == *given
            && *asked.text == *text
            && asked.bound == bound
            && now.saturating_duration_since(asked.at) <= TOKEN_LIFE;
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
        let judged = match self.judge_confirmed(text, Bound::default) {
            Some(confirmed) => confirmed,
            None => self.judge_at_hand(text),
        };
        self.note_sequence_reader(&judged);
        judged
    }

    /// Judges the text of the message at hand, which may be looked at several times.
    pub(super) fn judge_at_hand(&mut self, text: &str) -> Arc<Judged> {
        let (reason, tables) = (self.reason.as_deref(), &self.state.tables);
        let known = self.at_hand.take().filter(|judged| self.judge.would_repeat(judged, text, reason, tables));
        let judged = known.unwrap_or_else(|| self.judge_again(text));
        self.at_hand = Some(Arc::clone(&judged));
        judged
    }

    /// The judgement of a text that was confirmed with these parameters.
    pub(super) fn judge_confirmed(&mut self, text: &str, bound: impl FnOnce() -> Bound) -> Option<Arc<Judged>> {
        if let Some(judged) = &self.confirmed
            && *judged.text == *text
        {
            // The same message, looked at again.
            if !self.still_holds(judged) {
                let judged = self.judge.judge_confirmed(text, self.reason.as_deref(), &self.state.tables);
                self.confirmed = Some(judged);
            }
            return self.confirmed.clone();
        }
        if !self.confirm.is_given() || !self.confirm.take(text, bound(), Instant::now()) {
            return None;
        }
        let judged = self.judge.judge_confirmed(text, self.reason.as_deref(), &self.state.tables);
        self.confirmed = Some(Arc::clone(&judged));
        Some(judged)
    }

    /// Judges a text by what the session is now; a confirmation does not count.
    pub(super) fn judge_again(&self, text: &str) -> Arc<Judged> {
        self.judge.judge(text, self.reason.as_deref(), &self.state.tables)
    }

    /// Whether a text would be judged as it was.
    pub(super) fn still_holds(&self, judged: &Judged) -> bool {
        self.judge.still_holds(judged, self.reason.as_deref(), &self.state.tables)
    }

    /// Records and counts the refusal of a text; returns what the client is told.
    pub(super) fn denied(&mut self, judged: &Arc<Judged>, denial: &Denial) -> Report {
        let refusal = if matches!(judged.route, Route::Confirm(_)) { Refusal::Asks } else { Refusal::Final };
        let run = Run::new(Arc::clone(judged), self.next_number(), self.reason.clone());
        self.count_statement();
        self.refused(&run, denial, refusal, Bound::default())
    }

    /// Records and counts the refusal of a statement on its way; returns what the client is told.
    pub(super) fn refused(&mut self, run: &Run, denial: &Denial, refusal: Refusal, bound: Bound) -> Report {
        let (event, verdict) = match refusal {
            Refusal::Final => (Event::Deny, "deny"),
            Refusal::Asks => (Event::Confirm, "confirm"),
        };
        let mut hint = denial.hint.clone();
        if refusal == Refusal::Asks
            && let Some(token) = self.confirm.ask(&run.judged.text, bound, Instant::now())
        {
            hint = hint.replace("{token}", &token);
        }
        self.denied.push((run.judged.class, denial.rule, verdict));
        self.records.push(Record {
            rule: Some(denial.rule),
            verdict: Some(verdict),
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
        let (mut confirm, now) = (Confirm::default(), Instant::now());
        let none = Bound::default();
        let token = confirm.ask("TRUNCATE t", none, now).unwrap();
        assert!(!confirm.take("TRUNCATE t", none, now), "nothing given");
        confirm.give(Some("guess"));
        assert!(!confirm.take("TRUNCATE t", none, now), "a wrong token");
        confirm.give(Some(&token));
        assert!(!confirm.take("TRUNCATE u", none, now), "another text");
        assert!(confirm.take("TRUNCATE t", none, now));
        assert!(!confirm.take("TRUNCATE t", none, now), "a second time");
    }

    #[test]
    fn a_token_is_for_its_parameters_and_for_a_minute() {
        let (mut confirm, now) = (Confirm::default(), Instant::now());
        let five = Bound::new(&[0, 0], b"\0\0\0\x01\0\0\0\x015\0\0");
        let six = Bound::new(&[0, 0], b"\0\0\0\x01\0\0\0\x016\0\0");
        let token = confirm.ask("DELETE", five, now).unwrap();
        confirm.give(Some(&token));
        assert!(!confirm.take("DELETE", six, now) && !confirm.take("DELETE", Bound::default(), now));
        assert!(!confirm.take("DELETE", five, now + TOKEN_LIFE + Duration::from_millis(1)), "too late");
        assert!(confirm.take("DELETE", five, now + TOKEN_LIFE));
        assert_eq!(Bound::new(&[0, 0], &[0; 4]), Bound::default(), "no parameters are none in either protocol");
    }
}
