//! Protocol-level prepared statements: one text has one name on every upstream connection, whoever prepared it.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use ring::rand::{SecureRandom, SystemRandom};

use super::Settings;
use crate::wire::Shape;

/// A statement as the server sees it: its text and the parameter types that were declared.
#[derive(Debug)]
pub struct Statement {
    /// Its name upstream, never used again for another statement (`pgbelay_<process>_<n>`).
    pub name: String,
    /// Number in that name.
    pub id: u64,
    /// Its text.
    pub sql: Box<str>,
    /// Parameter types as sent: a count and OIDs.
    pub types: Box<[u8]>,
    /// The settings it is parsed under, as far as they decide what it means.
    reading: Settings,
    made: Instant,
    is_valid: AtomicBool,
}

impl Statement {
    fn new(sql: &str, types: &[u8], reading: &Settings) -> Self {
        // One count for the whole process: a session keeps its statements when a reload gives its database a new pool.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("pgbelay_{}_{id}", *PROCESS),
            id,
            sql: sql.into(),
            types: types.into(),
            reading: reading.clone(),
            made: Instant::now(),
            is_valid: AtomicBool::new(false),
        }
    }

    /// A statement that is no other session's, whatever its text: it means something else than the text does elsewhere.
    pub fn private(sql: &str, types: &[u8]) -> Arc<Self> {
        Arc::new(Self::new(sql, types, &Settings::default()))
    }

    /// Whether the server has accepted it before: then a Parse can be answered without a connection, which matters when all of
    /// them are held by transactions of the same, waiting, client program.
    pub fn is_valid(&self) -> bool {
        self.is_valid.load(Ordering::Relaxed)
    }

    /// The server accepted or refused it.
    pub fn set_valid(&self, is_valid: bool) {
        self.is_valid.store(is_valid, Ordering::Relaxed);
    }
}

/// A part of every name that other sessions cannot guess: the names live on connections that are shared.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let mut bytes = [0; 6];
    // Without randomness the names are still unique, and the policy refuses them in SQL.
    let _filled = SystemRandom::new().fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
});

/// Longer texts are not remembered: each Parse of one has a name of its own.
const INTERNED_TEXT: usize = 16 * 1024;

/// Those who prepare a text share what others have prepared for this long: DDL that does not go through pgbelay is not seen, and a
/// server process keeps to the types of parameters that it has found.
const SHARED_FOR: Duration = Duration::from_secs(60);

/// Gives equal statements one upstream name, as long as they are remembered.
#[derive(Debug)]
pub struct Statements {
    known: Mutex<LruCache<u64, Arc<Statement>>>,
}

impl Statements {
    /// Remembers at most `capacity` statements.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { known: Mutex::new(LruCache::new(capacity)) }
    }

    /// Every text gets a new name from now on.
    pub fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The statement of this text and these parameter types, parsed under these settings ([`Settings::read_at_parse`]).
    pub fn intern(&self, sql: &str, types: &[u8], reading: &Settings) -> Arc<Statement> {
        let mut hasher = DefaultHasher::new();
        (sql, types, reading).hash(&mut hasher);
        let key = hasher.finish();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known.get(&key)
            && *statement.sql == *sql
            && *statement.types == *types
            && statement.reading.same(reading)
            && statement.made.elapsed() < SHARED_FOR
        {
            return Arc::clone(statement);
        }
        let statement = Arc::new(Statement::new(sql, types, reading));
        if sql.len() <= INTERNED_TEXT {
            known.put(key, Arc::clone(&statement));
        }
        statement
    }
}

/// What somebody was told of a statement. A server process keeps to it: when a table has changed so that the result would be
/// another one, the statement fails there (SQLSTATE 0A000, "cached plan must not change result type").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The types of its parameters.
    pub parameters: Option<Shape>,
    /// The columns that it returns.
    pub rows: Option<Shape>,
}

impl Description {
    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all that the other tells is told here, too, be it the same or not.
    pub fn covers(&self, other: &Self) -> bool {
        (other.parameters.is_none() || self.parameters.is_some()) && (other.rows.is_none() || self.rows.is_some())
    }

    /// Whether the two tell something different.
    pub fn contradicts(&self, other: &Self) -> bool {
        let differ = |a: Option<Shape>, b: Option<Shape>| a.zip(b).is_some_and(|(a, b)| a != b);
        differ(self.parameters, other.parameters) || differ(self.rows, other.rows)
    }
}

/// Statements one upstream connection keeps; the least recently used goes when there are more.
pub const PREPARED_PER_CONNECTION: usize = 500;

/// Which statements an upstream connection has.
#[derive(Debug)]
pub struct PreparedCache {
    known: LruCache<u64, Known>,
    /// Those whose Parse is not answered yet, and the batch that it was sent in.
    unanswered: VecDeque<(u64, u64)>,
    /// The statement behind the unnamed one.
    pub unnamed: Option<u64>,
}

#[derive(Debug)]
struct Known {
    statement: Arc<Statement>,
    description: Description,
}

impl Default for PreparedCache {
    fn default() -> Self {
        Self { known: LruCache::unbounded(), unanswered: VecDeque::new(), unnamed: None }
    }
}

impl PreparedCache {
    /// Whether the connection has it; counts as a use.
    pub fn has(&mut self, statement: &Statement) -> bool {
        self.known.get(&statement.id).is_some()
    }

    /// The connection is about to have it; returns one to close when there are too many.
    pub fn add(&mut self, statement: &Arc<Statement>) -> Option<Arc<Statement>> {
        let known = Known { statement: Arc::clone(statement), description: Description::default() };
        self.known.put(statement.id, known);
        (self.known.len() > PREPARED_PER_CONNECTION).then(|| self.known.pop_lru())?.map(|(_, known)| known.statement)
    }

    /// What the server has told of a statement, if the connection has it.
    pub fn description(&mut self, id: u64) -> Option<&mut Description> {
        self.known.peek_mut(&id).map(|known| &mut known.description)
    }

    /// A Parse of a statement is on its way, in the batch of this number.
    pub fn parse_sent(&mut self, statement: &Statement, batch: u64) {
        self.unanswered.push_back((statement.id, batch));
    }

    /// The first Parse on its way was answered, or skipped because of an error.
    pub fn parse_ended(&mut self) {
        self.unanswered.pop_front();
    }

    /// Whether its Parse was sent in a batch before this one and may yet be skipped: the connection has something else then.
    pub fn is_in_doubt(&self, statement: &Statement, batch: u64) -> bool {
        self.unanswered.iter().any(|&(id, sent)| id == statement.id && sent < batch)
    }

    /// Forgets those that are none of these, and returns them: they are about to be closed.
    pub fn take_others(&mut self, own: &HashSet<u64>) -> Vec<Arc<Statement>> {
        let others: Vec<u64> = self.known.iter().map(|(id, _)| *id).filter(|id| !own.contains(id)).collect();
        others.into_iter().filter_map(|id| self.known.pop(&id)).map(|known| known.statement).collect()
    }

    /// Its Parse failed, or it was closed.
    pub fn remove(&mut self, id: u64) {
        self.known.pop(&id);
    }

    /// DEALLOCATE ALL or DISCARD ALL ran.
    pub fn clear(&mut self) {
        self.known.clear();
        self.unnamed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_a_name_and_types_and_meanings_tell_apart() {
        let statements = Statements::new(NonZeroUsize::new(8).unwrap());
        let a = statements.intern("SELECT $1", &[0, 0], &Settings::default());
        assert_eq!(a.name, statements.intern("SELECT $1", &[0, 0], &Settings::default()).name);
        assert_ne!(a.name, statements.intern("SELECT $1", &[0, 1, 0, 0, 0, 23], &Settings::default()).name);
    }

    #[test]
    fn settings_that_change_the_meaning_tell_apart() {
        let statements = Statements::new(NonZeroUsize::new(8).unwrap());
        let of = |name: &str| Settings::default().with(name, "x").read_at_parse();
        let a = statements.intern("SELECT 1", &[0, 0], &of("search_path"));
        assert_ne!(a.name, statements.intern("SELECT 1", &[0, 0], &Settings::default()).name);
        assert_eq!(a.name, statements.intern("SELECT 1", &[0, 0], &of("search_path")).name);
        assert_eq!(of("work_mem"), Settings::default());
        assert_ne!(Statement::private("SELECT 1", &[0, 0]).name, Statement::private("SELECT 1", &[0, 0]).name);
    }

    #[test]
    fn names_are_never_used_again() {
        let statements = Statements::new(NonZeroUsize::new(1).unwrap());
        let a = statements.intern("SELECT 1", &[0, 0], &Settings::default()).name.clone();
        statements.intern("SELECT 2", &[0, 0], &Settings::default());
        assert_ne!(a, statements.intern("SELECT 1", &[0, 0], &Settings::default()).name);
    }

    #[test]
    fn the_least_recently_used_goes() {
        let statements = Statements::new(NonZeroUsize::new(1000).unwrap());
        let mut cache = PreparedCache::default();
        let all: Vec<_> = (0..=PREPARED_PER_CONNECTION)
            .map(|i| statements.intern(&format!("SELECT {i}"), &[0, 0], &Settings::default()))
            .collect();
        for statement in &all[..PREPARED_PER_CONNECTION] {
            assert!(cache.add(statement).is_none());
        }
        assert!(cache.has(&all[0]));
        let evicted = cache.add(&all[PREPARED_PER_CONNECTION]).unwrap();
        assert_eq!(evicted.id, all[1].id);
        assert!(!cache.has(&all[1]));
    }
}
