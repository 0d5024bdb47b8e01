//! The state of a session that must follow it from connection to connection: settings, transaction, and what pins it.

use std::collections::BTreeSet;

use super::doubt::Doubt;
use crate::policy::SessionTables;
use crate::sql::{Effect, Scope, SettingValue};
use crate::upstream::{
    Applied, Link, SequencesOf, Settings, difference, difference_in_block, is_partial, is_read_at_parse,
};
use crate::wire::TransactionState;

/// Settings and transaction of a session, kept as the server keeps them: a ROLLBACK undoes a SET.
#[derive(Debug)]
pub(super) struct SessionState {
    /// What a RESET returns to: the policy's settings and those of the start-up message.
    initial: Settings,
    /// What the policy forces.
    forced: Settings,
    /// What the session has set now.
    pub(super) wanted: Settings,
    /// As told by the last ReadyForQuery the client saw or will see.
    pub(super) transaction: TransactionState,
    /// The transaction block was lost with its connection: only its end can be answered.
    pub(super) is_orphaned: bool,
    pub(super) pins: Pins,
    /// What the server has to be asked once the transaction has ended.
    pub(super) doubt: Doubt,
    /// Tables that only this session can be held up on.
    pub(super) tables: SessionTables,
    /// State at the last transaction boundary.
    boundary: Option<(Settings, Applied)>,
    tables_at_boundary: SessionTables,
    savepoints: Vec<(String, Settings, Applied, SessionTables)>,
    /// An error came since the last boundary: an implicit transaction was undone.
    pub(super) has_failed: bool,
    /// Code that was not read may have set custom settings (`app.tenant`), which the server lists nowhere.
    pub(super) has_unseen_settings: bool,
    /// The transaction has a setting of its own (SET LOCAL) that decides what a text means.
    reads_locally: bool,
    /// What `wanted` was when the second was taken from it.
    reading: (Settings, Settings),
}

impl SessionState {
    pub(super) fn new(forced: Settings, initial: Settings) -> Self {
        Self {
            wanted: initial.clone(),
            initial,
            forced,
            transaction: TransactionState::Idle,
            is_orphaned: false,
            pins: Pins::default(),
            doubt: Doubt::default(),
            tables: SessionTables::default(),
            boundary: None,
            tables_at_boundary: SessionTables::default(),
            savepoints: vec![],
            has_failed: false,
            has_unseen_settings: false,
            reads_locally: false,
            reading: Default::default(),
        }
    }

    /// The policy was replaced: its settings come over the session's own.
    pub(super) fn replace_forced(&mut self, old: &Settings, new: &Settings) {
        let undone = self.boundary.iter_mut().map(|(settings, _)| settings);
        let saved = self.savepoints.iter_mut().map(|(_, settings, ..)| settings);
        for settings in [&mut self.initial, &mut self.wanted].into_iter().chain(undone).chain(saved) {
            let without = old.iter().fold(settings.clone(), |all, (name, _)| all.without(name));
            *settings = without.overlaid(new);
        }
        self.forced = new.clone();
    }

    /// A connection was checked out, or a transaction ended on it: a later ROLLBACK returns to here.
    pub(super) fn mark_boundary(&mut self, link: &Link) {
        let unchanged =
            self.boundary.as_ref().is_some_and(|(wanted, applied)| *wanted == self.wanted && *applied == link.applied);
        if !unchanged {
            self.boundary = Some((self.wanted.clone(), link.applied.clone()));
        }
        self.tables.end_transaction();
        if self.tables_at_boundary != self.tables {
            self.tables_at_boundary.clone_from(&self.tables);
        }
        self.savepoints.clear();
        self.has_failed = false;
    }

    /// ReadyForQuery said this.
    pub(super) fn ready(&mut self, now: TransactionState, link: &mut Link) {
        self.transaction = now;
        if now == TransactionState::Idle {
            self.reads_locally = false;
            if self.has_failed {
                self.roll_back(link);
            }
            self.complete_date_style(link);
            self.mark_boundary(link);
        }
    }

    /// What a SET has left as it was is a part of the setting as well; the server reports the whole before ReadyForQuery.
    fn complete_date_style(&mut self, link: &mut Link) {
        let is_set = self.wanted.get("datestyle").is_some_and(|value| is_partial("datestyle", value));
        if is_set && let Some(whole) = link.parameters.get("DateStyle").map(str::to_owned) {
            self.set("datestyle", &whole, link);
        }
    }

    /// The server tells that its transactions are read-write though the policy forces them to be READ ONLY: what the connection
    /// was thought to have is not so, and is set again before the next statement.
    pub(super) fn check_read_only(&self, link: &mut Link) {
        const NAME: &str = "default_transaction_read_only";
        if self.forced.get(NAME).is_some() && link.parameters.get(NAME) == Some("off") {
            link.applied = Applied::Unknown;
        }
    }

    /// A statement ended well with this command tag.
    pub(super) fn completed(&mut self, effects: &[Effect], tag: &[u8], link: &mut Link) {
        for effect in effects {
            self.apply(effect, link);
        }
        match tag {
            // Perhaps the last temporary object.
            tag if tag.starts_with(b"DROP ") && self.pins.has_temporary() => self.doubt.pins(),
            b"COMMIT" | b"PREPARE TRANSACTION" => self.mark_boundary(link),
            // Also the answer to a COMMIT of a failed transaction. ROLLBACK TO has the same tag.
            b"ROLLBACK" if !effects.iter().any(|e| matches!(e, Effect::RollbackTo(_))) => {
                self.roll_back(link);
                self.mark_boundary(link);
            }
            _ => {}
        }
    }

    /// A statement of a batch ended well. What it made of the transaction holds for what follows, though only the ReadyForQuery
    /// of a Sync will tell, which may never be sent.
    pub(super) fn follow_unsynced(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Begin(_) | Effect::Commit { chain: true } | Effect::Rollback { chain: true } => {
                    self.transaction = TransactionState::InBlock;
                }
                Effect::Commit { chain: false } | Effect::Rollback { chain: false } | Effect::PrepareTransaction => {
                    self.transaction = TransactionState::Idle;
                }
                Effect::RollbackTo(_) => self.transaction = TransactionState::InBlock,
                _ => {}
            }
        }
    }

    /// A statement gave a part of its rows: its functions were called for them, or not yet.
    pub(super) fn suspended(&mut self, effects: &[Effect], leaves_state: bool) {
        for effect in effects {
            match effect {
                Effect::Set { name, .. } => self.doubt.setting(name),
                _ => self.doubt.everything(),
            }
        }
        if leaves_state {
            self.doubt.everything();
        }
    }

    /// What was set on the connection may be more than is known, so it is reset before another session has it.
    pub(super) fn give_back(&mut self, link: &mut Link) {
        if std::mem::take(&mut self.has_unseen_settings) {
            link.applied = Applied::Unknown;
        }
    }

    /// The connection is lost or given up: nothing set upstream matters any more.
    pub(super) fn forget_boundary(&mut self) {
        self.has_unseen_settings = false;
        if let Some((wanted, _)) = self.boundary.take()
            && self.transaction != TransactionState::Idle
        {
            self.wanted = wanted;
        }
        self.tables.clone_from(&self.tables_at_boundary);
        self.savepoints.clear();
        self.doubt.clear();
        self.has_failed = false;
    }

    /// Something that cannot move has been made. It may be gone at the end of the transaction, implicit or not: a rollback, ON
    /// COMMIT DROP. So the server is asked then.
    fn pin(&mut self, pin: Pin) {
        self.doubt.pins();
        self.pins.add(pin);
    }

    fn roll_back(&mut self, link: &mut Link) {
        if let Some((wanted, applied)) = &self.boundary {
            self.wanted = wanted.clone();
            link.applied = applied.clone();
        }
        self.tables.clone_from(&self.tables_at_boundary);
    }

    fn apply(&mut self, effect: &Effect, link: &mut Link) {
        match effect {
            // Settings of the transaction alone, however they are set.
            Effect::Set { name, .. } | Effect::Reset(name) if is_of_transaction(name) => {}
            Effect::Set { scope: Scope::Transaction, name, .. } => self.reads_locally |= is_read_at_parse(name),
            Effect::Set { name, value: SettingValue::Text(value), .. } => self.set(name, value, link),
            Effect::Set { name, value: SettingValue::Default, .. } | Effect::Reset(name) => self.reset(name, link),
            Effect::Set { name, value: SettingValue::Unknown, .. } => {
                self.end_role(name, link);
                self.doubt.setting(name);
            }
            Effect::SetUnknown => self.doubt.everything(),
            Effect::SetSessionCharacteristics(_) => {
                for kind in ["isolation", "read_only", "deferrable"] {
                    self.doubt.setting(&format!("default_transaction_{kind}"));
                }
            }
            Effect::ResetAll => {
                self.doubt_placeholders();
                // RESET ALL leaves the role as it is.
                self.wanted = self.initial.overlaid(&identity_of(&self.wanted));
                if let Applied::Known(applied) = &link.applied {
                    link.applied = Applied::Known(identity_of(applied));
                }
            }
            // Cannot run in a block, and commits at once even in the middle of a pipeline (older servers undo its settings when
            // the pipeline fails): an error behind it does not bring back what was set before.
            Effect::DiscardAll => {
                self.doubt_placeholders();
                self.wanted = self.initial.clone();
                link.applied = Applied::Unknown;
                link.prepared.clear();
                link.sequences_of = SequencesOf::Nobody;
                self.pins.clear();
                self.mark_boundary(link);
            }
            Effect::DiscardSequences => {
                link.sequences_of = SequencesOf::Nobody;
                self.pins.remove(&Pin::Sequence);
            }
            // They are undone by a ROLLBACK: the server is asked what is left.
            Effect::DiscardTemp | Effect::Unlisten(_) | Effect::AdvisoryUnlock => self.doubt.pins(),
            Effect::Savepoint(name) => {
                let tables = self.tables.clone();
                self.savepoints.push((name.clone(), self.wanted.clone(), link.applied.clone(), tables));
            }
            Effect::RollbackTo(name) => {
                if let Some(at) = self.savepoints.iter().rposition(|(n, ..)| n == name) {
                    self.wanted = self.savepoints[at].1.clone();
                    link.applied = self.savepoints[at].2.clone();
                    self.tables.clone_from(&self.savepoints[at].3);
                    self.savepoints.truncate(at + 1);
                }
                self.has_failed = false;
            }
            Effect::Release(name) => {
                if let Some(at) = self.savepoints.iter().rposition(|(n, ..)| n == name) {
                    self.savepoints.truncate(at);
                }
            }
            Effect::TempObject => self.pin(Pin::TemporaryObject),
            Effect::Listen => self.pin(Pin::Listen),
            Effect::HoldCursor(name) => self.pin(Pin::HoldCursor(name.clone())),
            Effect::CloseCursor(Some(name)) => self.pins.remove(&Pin::HoldCursor(name.clone())),
            Effect::CloseCursor(None) => self.pins.retain(|pin| !matches!(pin, Pin::HoldCursor(_))),
            Effect::Prepare(name) => self.pins.add(Pin::SqlPrepare(name.clone())),
            Effect::Deallocate(Some(name)) => self.pins.remove(&Pin::SqlPrepare(name.clone())),
            Effect::Deallocate(None) => {
                link.prepared.clear();
                self.pins.retain(|pin| !matches!(pin, Pin::SqlPrepare(_)));
            }
            Effect::AdvisoryLock => {
                self.pin(Pin::AdvisoryLock);
                // A try that failed holds nothing.
                self.doubt.pins();
            }
            Effect::AdvisoryUnlockAll => self.pins.remove(&Pin::AdvisoryLock),
            Effect::Load => self.pins.add(Pin::Load),
            // The transaction's state is read off ReadyForQuery and the command tag.
            Effect::Begin(_)
            | Effect::Commit { .. }
            | Effect::Rollback { .. }
            | Effect::PrepareTransaction
            | Effect::SetTransaction(_)
            | Effect::DiscardPlans
            | Effect::Show(_)
            | Effect::Execute(_) => {}
        }
    }

    /// `SET name TO value` ran upstream.
    fn set(&mut self, name: &str, value: &str, link: &mut Link) {
        self.end_role(name, link);
        self.wanted = self.wanted.with(name, value);
        if let Applied::Known(applied) = &link.applied {
            link.applied = Applied::Known(applied.with(name, value));
        }
    }

    /// SET and RESET SESSION AUTHORIZATION end SET ROLE.
    fn end_role(&mut self, name: &str, link: &mut Link) {
        if name != "session_authorization" {
            return;
        }
        self.wanted = match self.initial.get("role") {
            Some(_) => self.wanted.with("role", "none"),
            None => self.wanted.without("role"),
        };
        if let Applied::Known(applied) = &link.applied {
            link.applied = Applied::Known(match self.wanted.get("role") {
                Some(role) => applied.with("role", role),
                None => applied.without("role"),
            });
        }
    }

    /// A reset of settings with a dot leaves those of no extension empty, not unknown: the server is asked.
    fn doubt_placeholders(&mut self) {
        for (name, _) in self.wanted.iter().filter(|&(name, _)| name.contains('.') && self.initial.get(name).is_none())
        {
            self.doubt.setting(name);
        }
    }

    /// `RESET name` ran upstream: the connection has the server's value now, and the session wants its initial one.
    fn reset(&mut self, name: &str, link: &mut Link) {
        if name.contains('.') && self.initial.get(name).is_none() {
            self.doubt.setting(name);
        }
        self.end_role(name, link);
        self.wanted = match self.initial.get(name) {
            Some(value) => self.wanted.with(name, value),
            None => self.wanted.without(name),
        };
        if let Applied::Known(applied) = &link.applied {
            link.applied = Applied::Known(applied.without(name));
        }
    }

    /// The statements that make the connection's settings the session's, if they differ.
    ///
    /// Inside a transaction block only known differences are mended: a RESET ALL would take away what SET LOCAL did.
    pub(super) fn settings_to_send(&self, link: &Link) -> Option<String> {
        match (self.transaction, &link.applied) {
            (TransactionState::Failed, _) | (TransactionState::InBlock, Applied::Unknown) => None,
            (TransactionState::InBlock, Applied::Known(applied)) => difference_in_block(applied, &self.wanted),
            (TransactionState::Idle, applied) => difference(applied, &self.wanted),
        }
    }

    /// The settings that decide what a text means when it is parsed now; `None` where that is this session's own matter: a
    /// temporary table hides another, a setting holds for this transaction or is not known.
    pub(super) fn reading(&mut self) -> Option<&Settings> {
        if self.reads_locally || self.doubt.is_open() || self.pins.has_temporary() {
            return None;
        }
        if !self.reading.0.same(&self.wanted) {
            self.reading = (self.wanted.clone(), self.wanted.read_at_parse());
        }
        Some(&self.reading.1)
    }

    /// Whether the session has its initial value of a parameter back, which the connection does not have yet.
    pub(super) fn is_reset(&self, parameter: &str, link: &Link) -> bool {
        let name = parameter.to_lowercase();
        // An error undoes a RESET before ROLLBACK is said.
        let (wanted, applied) = match &self.boundary {
            Some((wanted, applied)) if self.has_failed => (wanted, applied),
            _ => (&self.wanted, &link.applied),
        };
        let wanted = wanted.get(&name);
        let is_applied = match applied {
            Applied::Known(applied) => applied.get(&name) == wanted,
            // Behind DISCARD ALL, say: everything is set again before the next statement.
            Applied::Unknown => false,
        };
        wanted.is_some() && wanted == self.initial.get(&name) && !is_applied
    }

    pub(super) fn initial(&self) -> Settings {
        self.initial.clone()
    }

    /// What was set by a function must not loosen what the policy forces.
    pub(super) fn force(&mut self) {
        self.wanted = self.wanted.overlaid(&self.forced);
    }

    /// The server told the value of a setting.
    pub(super) fn learn_setting(&mut self, name: &str, value: &str, link: &mut Link) {
        self.set(name, value, link);
    }

    /// A RESET that was not sent: the session wants its initial value. False for any other effect, and inside a transaction.
    pub(super) fn reset_unsent(&mut self, effect: &Effect) -> bool {
        if self.transaction != TransactionState::Idle {
            return false;
        }
        match effect {
            Effect::Reset(name) | Effect::Set { name, value: SettingValue::Default, scope: Scope::Session, .. } => {
                self.wanted = match self.initial.get(name) {
                    Some(value) => self.wanted.with(name, value),
                    None => self.wanted.without(name),
                };
                true
            }
            Effect::ResetAll => {
                self.wanted = self.initial.overlaid(&identity_of(&self.wanted));
                true
            }
            _ => false,
        }
    }

    /// The server has no such setting any more.
    pub(super) fn forget_setting(&mut self, name: &str, link: &mut Link) {
        self.wanted = self.wanted.without(name);
        if let Applied::Known(applied) = &link.applied {
            link.applied = Applied::Known(applied.without(name));
        }
    }

    /// The proxy itself decides a setting; it is applied before the next statement.
    pub(super) fn decide_setting(&mut self, name: &str, value: &str) {
        self.wanted = self.wanted.with(name, value);
    }
}

fn identity_of(settings: &Settings) -> Settings {
    settings
        .iter()
        .filter(|(name, _)| matches!(*name, "role" | "session_authorization"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Why a session keeps its connection between transactions (DESIGN §6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pin {
    TemporaryObject,
    Listen,
    AdvisoryLock,
    HoldCursor(String),
    SqlPrepare(String),
    Load,
    Sequence,
}

impl Pin {
    /// The word that `SHOW pgbelay.session` and metrics use.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Pin::TemporaryObject => "temporary object",
            Pin::Listen => "listen",
            Pin::AdvisoryLock => "advisory lock",
            Pin::HoldCursor(_) => "with hold cursor",
            Pin::SqlPrepare(_) => "prepared statement",
            Pin::Load => "load",
            Pin::Sequence => "sequence",
        }
    }
}

/// The pins of a session.
#[derive(Debug, Default)]
pub(super) struct Pins(BTreeSet<Pin>);

impl Pins {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, pin: Pin) {
        self.0.insert(pin);
    }

    pub(super) fn has(&self, pin: &Pin) -> bool {
        self.0.contains(pin)
    }

    pub(super) fn remove(&mut self, pin: &Pin) {
        self.0.remove(pin);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Pin) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The server says that there is state of this kind.
    pub(super) fn ensure(&mut self, kind: &str) {
        if self.0.iter().any(|pin| pin.as_str() == kind) {
            return;
        }
        // What it is called is not known; it goes when the server says that none is left.
        let unnamed = [
            Pin::TemporaryObject,
            Pin::Listen,
            Pin::AdvisoryLock,
            Pin::HoldCursor(String::new()),
            Pin::SqlPrepare(String::new()),
        ];
        self.0.extend(unnamed.into_iter().find(|pin| pin.as_str() == kind));
    }

    fn has_temporary(&self) -> bool {
        self.0.contains(&Pin::TemporaryObject)
    }

    /// Whether statements were prepared in SQL.
    pub(super) fn has_prepared(&self) -> bool {
        self.0.iter().any(|pin| matches!(pin, Pin::SqlPrepare(_)))
    }

    /// The reasons, once each, for people.
    pub(super) fn reasons(&self) -> Vec<&'static str> {
        let mut reasons: Vec<_> = self.0.iter().map(Pin::as_str).collect();
        reasons.dedup();
        reasons
    }
}

/// Whether a setting ends with its transaction (Postgres documentation, SET TRANSACTION, "Notes").
fn is_of_transaction(name: &str) -> bool {
    matches!(name, "transaction_isolation" | "transaction_read_only" | "transaction_deferrable")
}
