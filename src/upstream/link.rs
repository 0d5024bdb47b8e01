//! What is known of an upstream connection, apart from its socket: buffers, settings, prepared statements, parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;

use super::{Applied, PreparedCache, ServerRole, Settings};
use crate::wire::{Reader, TransactionState};

/// The protocol state of one upstream connection; the session works on it without touching a socket.
#[derive(Debug)]
pub struct Link {
    /// Bytes from the server, not yet looked at.
    pub inbox: BytesMut,
    /// Bytes for the server.
    pub outbox: BytesMut,
    /// ParameterStatus as last told.
    pub parameters: Parameters,
    /// Settings made since the connection was opened.
    pub applied: Applied,
    /// Prepared statements it has.
    pub prepared: PreparedCache,
    /// As last told by ReadyForQuery.
    pub transaction: TransactionState,
    /// Whether the ReadyForQuery of everything sent has come: only then may another session get it.
    pub in_sync: bool,
    /// The server process, as told in BackendKeyData.
    pub pid: u32,
    /// The session whose `nextval` its `currval` tells, by its serial number; `None` when it tells nobody's.
    pub sequences_of: Option<u64>,
    /// The host may be gone or not be what it was: it is looked at once the connection is given up.
    pub is_suspect: bool,
    /// It was taken from a pool of replicas.
    pub is_replica: bool,
}

impl Link {
    /// A connection that has just logged in.
    pub fn new(parameters: Parameters) -> Self {
        Self {
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            parameters,
            applied: Applied::Known(Settings::default()),
            prepared: PreparedCache::default(),
            transaction: TransactionState::Idle,
            in_sync: true,
            pid: 0,
            sequences_of: None,
            is_suspect: false,
            is_replica: false,
        }
    }

    /// Takes the body of a ParameterStatus message; returns whether the value is new.
    pub fn learn(&mut self, body: &[u8]) -> bool {
        let was = ServerRole::told(&self.parameters).map(|role| role.is_standby);
        let is_new = self.parameters.learn(body);
        // A standby was promoted; the connection outlives that.
        self.is_suspect |= is_new && was != ServerRole::told(&self.parameters).map(|role| role.is_standby);
        is_new
    }

    /// Nothing is in flight, so it may be handed to another session.
    pub fn is_clean(&self) -> bool {
        self.in_sync && self.transaction == TransactionState::Idle && self.inbox.is_empty() && self.outbox.is_empty()
    }
}

/// Parameters reported by ParameterStatus, by name as the server spells it. Shared until one changes: the sessions of a tier are
/// mostly told the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Arc<BTreeMap<String, String>>);

impl Parameters {
    /// Takes the body of a ParameterStatus message; returns whether the value is new. A malformed one is ignored.
    pub fn learn(&mut self, body: &[u8]) -> bool {
        let mut reader = Reader::new(body);
        let (Ok(name), Ok(value)) = (reader.str(), reader.str()) else { return false };
        self.set(name, value)
    }

    /// Sets one; returns whether the value is new.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let is_new = self.get(name) != Some(value);
        if is_new {
            Arc::make_mut(&mut self.0).insert(name.to_owned(), value.to_owned());
        }
        is_new
    }

    /// A value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Those whose name is wanted.
    pub fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let wanted = self.0.iter().filter(|(name, _)| is_wanted(name));
        Self(Arc::new(wanted.map(|(name, value)| (name.clone(), value.clone())).collect()))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}
