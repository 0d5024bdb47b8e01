//! What is known of an upstream connection, apart from its socket: buffers, settings, prepared statements, parameters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::BytesMut;

use super::{Applied, Holders, PreparedCache, ServerRole, Settings};
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
    /// The session that it works for, or worked for last.
    holder: Arc<AtomicU32>,
    /// Those of all connections to the same host.
    holders: Arc<Holders>,
    /// Whose `nextval` its `currval` tells.
    pub sequences_of: SequencesOf,
    /// The host may be gone or not be what it was: it is looked at once the connection is given up.
    pub is_suspect: bool,
    /// It was taken from a pool of replicas.
    pub is_replica: bool,
}

/// The sessions that have moved sequences on a connection since it forgot what they gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequencesOf {
    /// `currval` has nothing to tell.
    Nobody,
    /// One, by its serial number.
    Session(u64),
    /// One, and another before it.
    SessionAndOthers(u64),
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
            holder: Arc::default(),
            holders: Arc::default(),
            sequences_of: SequencesOf::Nobody,
            is_suspect: false,
            is_replica: false,
        }
    }

    /// The same, to a known server process of a host.
    pub fn of_process(pid: u32, parameters: Parameters, holders: Arc<Holders>) -> Self {
        Self { pid, holder: holders.enter(pid), holders, ..Self::new(parameters) }
    }

    /// It works for this session now, whose client was told this process id.
    pub fn hold(&self, session: u32) {
        self.holder.store(session, Ordering::Relaxed);
    }

    /// The process id that the client of a server process of this host was told; the process's own where no session has it.
    pub fn told_pid(&self, process: u32) -> u32 {
        self.holders.of(process).unwrap_or(process)
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
