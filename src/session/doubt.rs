//! What a statement did to its session and its text did not tell: the server is asked once the transaction has ended.
//!
//! A `set_config` with a bound parameter, an unlock of one of several locks, a function that may have done anything: instead of
//! keeping the connection for good, one query of the proxy's own finds out what is there.

use std::collections::BTreeSet;

use super::state::{Pin, SessionState};
use crate::upstream::{Applied, Link, Settings, push_literal};
use crate::wire::Reader;

/// What is to be asked, and what was answered.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    settings: BTreeSet<String>,
    all_settings: bool,
    pins: bool,
    /// The query is on its way; its rows so far.
    asked: Option<Box<Asked>>,
}

#[derive(Debug, Default)]
struct Asked {
    /// `None` for a setting that is not there (any more).
    settings: Vec<(String, Option<String>)>,
    all_settings: bool,
    /// Pins found; `None` when they were not asked for.
    pins: Option<Vec<String>>,
}

/// The pins that the server can be asked for, each with its question. Every name is qualified: search_path is the client's.
const PIN_QUESTIONS: [(&str, &str); 5] = [
    (
        // What is in the schema depends on it (2615: pg_namespace), of whatever kind it is.
        "temporary object",
        "EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) '2615'::pg_catalog.oid \
         AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())",
    ),
    ("listen", "EXISTS (SELECT FROM pg_catalog.pg_listening_channels())"),
    (
        "advisory lock",
        "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())",
    ),
    ("with hold cursor", "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)"),
    ("prepared statement", "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)"),
];

impl Doubt {
    /// This setting has a value that is not known.
    pub(super) fn setting(&mut self, name: &str) {
        self.settings.insert(name.to_owned());
    }

    /// Which pins are left is not known.
    pub(super) fn pins(&mut self) {
        self.pins = true;
    }

    /// Anything may have been set or made.
    pub(super) fn everything(&mut self) {
        self.all_settings = true;
        self.pins = true;
    }

    /// Nothing is open any more: the connection is gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether something is to be asked or was and is not answered yet.
    pub(super) fn is_open(&self) -> bool {
        self.asked.is_some() || self.all_settings || self.pins || !self.settings.is_empty()
    }

    /// The query to send, if there is anything to ask: rows of kind, name, value. `wanted` is what the session is known to have set.
    pub(super) fn question(&mut self, wanted: &Settings) -> Option<String> {
        if self.asked.is_some() || !self.is_open() {
            return None;
        }
        let mut parts = vec![];
        if self.all_settings {
            // What belongs to one transaction, and the seed of random numbers, cannot be set again.
            parts.push(
                "SELECT 's', pg_catalog.lower(name), setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session' \
                 AND name OPERATOR(pg_catalog.<>) ALL (ARRAY['transaction_isolation', 'transaction_read_only', \
                 'transaction_deferrable', 'seed'])"
                    .to_owned(),
            );
            // Custom settings stand in no list, so each is asked for by its name.
            let custom = wanted.iter().map(|(name, _)| name).filter(|name| name.contains('.'));
            self.settings.extend(["role", "session_authorization"].into_iter().chain(custom).map(str::to_owned));
        }
        for name in &self.settings {
            let mut literal = String::new();
            push_literal(name, &mut literal);
            parts.push(format!("SELECT 's', {literal}, pg_catalog.current_setting({literal}, true)"));
        }
        if self.pins {
            parts.extend(
                PIN_QUESTIONS.iter().map(|(pin, question)| format!("SELECT 'p', '{pin}', '' WHERE {question}")),
            );
        }
        self.asked =
            Some(Box::new(Asked { settings: vec![], all_settings: self.all_settings, pins: self.pins.then(Vec::new) }));
        self.settings.clear();
        self.all_settings = false;
        self.pins = false;
        Some(parts.join(" UNION ALL "))
    }

    /// A DataRow of the answer; one that is not understood is no answer.
    pub(super) fn learn(&mut self, row: &[u8]) {
        let Some(asked) = &mut self.asked else { return };
        match read_row(row).as_ref().map(|values| values.as_slice()) {
            // The server spells some in capitals (DateStyle); everywhere here they are in lower case.
            Some([Some(kind), Some(name), value]) if kind == "s" => {
                asked.settings.push((name.to_ascii_lowercase(), value.clone()));
            }
            Some([_, Some(name), _]) => {
                if let Some(pins) = &mut asked.pins {
                    pins.push(name.clone());
                }
            }
            _ => {}
        }
    }

    /// The query was cancelled in place of another statement.
    pub(super) fn ask_again(&mut self) {
        self.asked = None;
        self.everything();
    }

    /// The query failed: every pin counts as there.
    pub(super) fn unanswered(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.pins = Some(PIN_QUESTIONS.iter().map(|(pin, _)| (*pin).to_owned()).collect());
        }
    }
}

impl SessionState {
    /// The answer is complete: settings and pins are what the server says.
    pub(super) fn resolve(&mut self, link: &mut Link) {
        let Some(asked) = self.doubt.asked.take() else { return };
        if asked.all_settings {
            // A role that was never set is no setting of the session's.
            let known = |name: &str, value: &str| match name {
                "role" => value != "none",
                "session_authorization" => self.wanted.get(name).is_some(),
                // Never set, or set back.
                custom if custom.contains('.') && value.is_empty() => self.wanted.get(name).is_some(),
                _ => true,
            };
            self.has_unseen_settings = true;
            let there = asked.settings.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let settings: Settings = there.filter(|(name, value)| known(name, value)).collect();
            link.applied = Applied::Known(settings.clone());
            self.wanted = self.initial().overlaid(&settings);
            self.force();
        } else {
            for (name, value) in asked.settings {
                match value {
                    Some(value) => self.learn_setting(&name, &value, link),
                    None => self.forget_setting(&name, link),
                }
            }
        }
        if let Some(found) = asked.pins {
            let is_there = |pin: &Pin| found.iter().any(|name| name == pin.as_str()) || !is_askable(pin);
            self.pins.retain(is_there);
            for name in &found {
                self.pins.ensure(name);
            }
        }
        self.mark_boundary(link);
    }
}

fn is_askable(pin: &Pin) -> bool {
    PIN_QUESTIONS.iter().any(|(name, _)| *name == pin.as_str())
}

/// The three text values of a DataRow.
fn read_row(row: &[u8]) -> Option<[Option<String>; 3]> {
    let mut reader = Reader::new(row);
    let 3 = reader.i16().ok()? else { return None };
    let mut value = || {
        let length = reader.i32().ok()?;
        match usize::try_from(length) {
            Ok(length) => Some(Some(String::from_utf8_lossy(reader.bytes(length).ok()?).into_owned())),
            Err(_) => Some(None),
        }
    };
    Some([value()?, value()?, value()?])
}
