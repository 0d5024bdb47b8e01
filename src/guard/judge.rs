//! Classify and decide, remembered by text: what a session asks of each statement.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lru::LruCache;

use super::{LocalAction, PlanQuery};
use crate::audit::StatementRecord;
use crate::config::{AuditScope, Policy};
use crate::policy::{Confirmation, Denial, Pending, Permit, SessionTables, SessionView, Verdict, decide, wants_plan};
use crate::sql::functions::{Category, category, is_built_in};
use crate::sql::{Class, Effect, Facts, Kind, Made, Script, SettingValue, classify, planned, shape};
use crate::upstream::{ServerCatalog, Settings, SharedCatalog};

/// Texts longer than this are judged each time: they are rarely sent twice.
const CACHED_TEXT: usize = 16 * 1024;

/// Judgements remembered for one role on one database tier.
const CACHED_JUDGEMENTS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Judgements remembered for a session that has made functions or operators of its own.
const SESSION_JUDGEMENTS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Judges the statements of one role on one database tier.
#[derive(Debug)]
pub struct Judge {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Settings that every session under this policy has upstream.
    pub forced: Settings,
    database: String,
    catalog: Arc<SharedCatalog>,
    cache: Mutex<LruCache<u64, Arc<Judged>>>,
    /// What holds for every text of a shape.
    shapes: Mutex<LruCache<Box<str>, Arc<Judgement>>>,
    /// Shared as the generation is.
    sequences: Arc<SequenceUse>,
    /// Shared by all judges that were made of one.
    generation: Arc<AtomicU64>,
    /// What the session has made that the catalog does not know yet; empty for a judge that sessions share.
    made: BTreeSet<Made>,
    /// The judge that sessions share, of one that was made for a session.
    shared: Option<Arc<Judge>>,
    /// Tells judges apart that share a generation.
    number: u64,
}

/// How sessions use `currval` and `lastval`, as far as has been seen.
#[derive(Debug, Default)]
pub struct SequenceUse {
    /// Somebody asks for them.
    pub is_asked: AtomicBool,
    /// Somebody asks for them between transactions.
    pub is_kept: AtomicBool,
}

/// A text and all that was found and decided of it.
#[derive(Debug)]
pub struct Judged {
    /// The text.
    pub text: Box<str>,
    judgement: Arc<Judgement>,
    /// Its part of an audit record, made when first asked for: an application's reads need none.
    record: OnceLock<Arc<StatementRecord>>,
}

impl std::ops::Deref for Judged {
    type Target = Judgement;

    fn deref(&self) -> &Judgement {
        &self.judgement
    }
}

/// All that was found and decided of a text, or of every text of its shape ([`shape`]).
#[derive(Debug)]
pub struct Judgement {
    /// What it is.
    pub script: Arc<Script>,
    /// How it runs, or why not.
    pub route: Route,
    /// How each of its statements runs, in order.
    pub steps: Vec<Step>,
    /// The plan that tells how many rows a statement touches that has to be confirmed.
    pub plan_to_confirm: Option<PlanQuery>,
    /// The worst class of its statements, for metrics.
    pub class: Class,
    /// Whether the policy wants it recorded when it runs.
    pub is_recorded: bool,
    /// It cannot be done on a read replica, or would not be what it is meant to be there.
    pub needs_primary: bool,
    /// It may show the prepared statements of its connection.
    pub shows_prepared: bool,
    /// Allowed by a confirmation, and so once.
    pub is_confirmed: bool,
    /// It asks, or makes something that will ask, for currval or lastval.
    pub reads_sequences: bool,
    /// It may call nextval or setval, in a default or trigger, too.
    pub moves_sequences: bool,
    reason_given: bool,
    /// The session's tables, where they may have decided.
    among: Option<SessionTables>,
    generation: u64,
    judge: u64,
}

/// The way of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// It is refused.
    Refuse(Denial),
    /// It must be confirmed first.
    Confirm(Pending),
    /// It is sent as it is.
    Whole(Permit),
    /// Its statements are run one by one, as one implicit transaction: one of them is answered by the proxy, or must be
    /// checked before it is committed.
    Stepwise(Permit),
    /// It was not understood: it goes through the extended protocol, one statement, READ ONLY.
    SingleStatement(Permit),
}

/// The way of one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The proxy answers it itself.
    pub local: Option<LocalAction>,
    /// Most rows it may change.
    pub max_rows_written: Option<u64>,
    /// Its command tag does not tell how many rows it changed.
    pub is_uncounted: bool,
    /// It ends or begins a transaction, or may.
    pub is_transaction_control: bool,
    /// It may leave session state behind that its text does not show.
    pub leaves_state: bool,
    /// Its plan is to be asked for and judged first.
    pub plan: Option<PlanQuery>,
}

impl Judged {
    fn new(text: &str, judgement: Arc<Judgement>) -> Arc<Self> {
        Arc::new(Self { text: text.into(), judgement, record: OnceLock::new() })
    }

    /// Its part of an audit record.
    pub fn record(&self) -> &Arc<StatementRecord> {
        self.record.get_or_init(|| Arc::new(StatementRecord::from_script(&self.text, &self.script)))
    }
}

impl Judgement {
    /// The permit, if it has one.
    pub fn permit(&self) -> Option<&Permit> {
        match &self.route {
            Route::Whole(permit) | Route::Stepwise(permit) | Route::SingleStatement(permit) => Some(permit),
            Route::Refuse(_) | Route::Confirm(_) => None,
        }
    }

    /// The refusal, if it is one.
    pub fn denial(&self) -> Option<&Denial> {
        match &self.route {
            Route::Refuse(denial) | Route::Confirm(Pending { denial, .. }) => Some(denial),
            Route::Whole(_) | Route::Stepwise(_) | Route::SingleStatement(_) => None,
        }
    }

    /// The first statement; `None` for an empty text.
    pub fn first(&self) -> Option<&Facts> {
        self.script.statements.first()
    }

    /// Whether it has a COPY … FROM STDIN.
    pub fn is_copy_in(&self) -> bool {
        self.script.statements.iter().any(|f| f.kind == Kind::CopyFrom)
    }

    /// What the proxy answers itself, for a text of one statement.
    pub fn local(&self) -> Option<&LocalAction> {
        match self.steps.as_slice() {
            [step] => step.local.as_ref(),
            _ => None,
        }
    }

    /// Whether every text of the same shape would be judged so: nothing told of it, and nothing asked of the server, quotes it.
    fn holds_for_its_shape(&self) -> bool {
        let is_silent =
            matches!(&self.route, Route::Whole(permit) if permit.notices.is_empty() && permit.would_deny.is_empty());
        is_silent
            && self.script.holds_for_its_shape()
            && self.plan_to_confirm.is_none()
            && self.steps.iter().all(|step| step.plan.is_none() && step.local.is_none())
            && self.among.is_none()
            && !self.is_confirmed
    }
}

impl Judge {
    /// A judge for `policy` on the database called `database`.
    pub fn new(policy: Arc<Policy>, database: String, catalog: Arc<SharedCatalog>) -> Self {
        Self {
            forced: forced_settings(&policy),
            policy,
            database,
            catalog,
            cache: Mutex::new(LruCache::new(CACHED_JUDGEMENTS)),
            shapes: Mutex::new(LruCache::new(CACHED_JUDGEMENTS)),
            sequences: Arc::default(),
            generation: Arc::new(AtomicU64::new(next_number())),
            made: BTreeSet::new(),
            shared: None,
            number: next_number(),
        }
    }

    /// The judge of a session that has made this. What it judges is remembered for that session alone.
    #[must_use]
    pub fn of_session(self: &Arc<Self>, made: BTreeSet<Made>) -> Arc<Self> {
        let shared = self.shared.as_ref().unwrap_or(self);
        if made.is_empty() {
            return Arc::clone(shared);
        }
        Arc::new(Self {
            policy: Arc::clone(&self.policy),
            forced: self.forced.clone(),
            database: self.database.clone(),
            catalog: Arc::clone(&self.catalog),
            cache: Mutex::new(LruCache::new(SESSION_JUDGEMENTS)),
            shapes: Mutex::new(LruCache::new(SESSION_JUDGEMENTS)),
            sequences: Arc::clone(&self.sequences),
            generation: Arc::clone(&self.generation),
            made,
            shared: Some(Arc::clone(shared)),
            number: next_number(),
        })
    }

    /// Whether it is that judge, or a session's own that was made of it.
    pub fn is_made_of(self: &Arc<Self>, shared: &Arc<Self>) -> bool {
        Arc::ptr_eq(self.shared.as_ref().unwrap_or(self), shared)
    }

    /// The custom settings that functions of the database may have changed.
    pub fn custom_settings(&self) -> Vec<String> {
        self.catalog.load().custom_settings().map(str::to_owned).collect()
    }

    /// How the sessions of this role use `currval` and `lastval`.
    pub fn sequences(&self) -> &SequenceUse {
        &self.sequences
    }

    /// The server's catalog has changed: everything is judged again.
    pub fn forget(&self) {
        self.generation.store(next_number(), Ordering::Release);
        lock(&self.cache).clear();
        lock(&self.shapes).clear();
    }

    /// Whether a judgement still holds for a session that has given a reason or not and knows these of its tables.
    pub fn still_holds(&self, judged: &Judgement, reason: Option<&str>, tables: &SessionTables) -> bool {
        judged.generation == self.generation.load(Ordering::Acquire)
            && judged.judge == self.number
            && judged.reason_given == reason.is_some()
            && judged.among.as_ref().is_none_or(|among| among == tables)
    }

    /// Whether [`Judge::judge`] would judge a text as it was judged before.
    pub fn would_repeat(&self, judged: &Judged, text: &str, reason: Option<&str>, tables: &SessionTables) -> bool {
        *judged.text == *text
            && !judged.is_confirmed
            && judged.among.as_ref().unwrap_or(SessionTables::NONE) == tables
            && self.still_holds(judged, reason, tables)
    }

    /// Judges a text, or remembers. Judgements in which the session's own tables may have decided are not remembered.
    pub fn judge(&self, text: &str, reason: Option<&str>, tables: &SessionTables) -> Arc<Judged> {
        let judged = self.judge_in_any_session(text, reason);
        if tables.is_empty() || judged.script.statements.iter().all(|facts| facts.schema_changes.is_empty()) {
            return judged;
        }
        self.judge_anew(text, reason, Confirmation::NotGiven, Some(tables))
    }

    fn judge_in_any_session(&self, text: &str, reason: Option<&str>) -> Arc<Judged> {
        if text.len() > CACHED_TEXT {
            return self.judge_anew(text, reason, Confirmation::NotGiven, None);
        }
        let mut hasher = DefaultHasher::new();
        (text, reason.is_some()).hash(&mut hasher);
        let key = hasher.finish();
        if let Some(judged) = lock(&self.cache).get(&key)
            && *judged.text == *text
            && self.still_holds(judged, reason, SessionTables::NONE)
        {
            return Arc::clone(judged);
        }
        let shape = shape(text);
        if let Some(shape) = &shape
            && let Some(judgement) = lock(&self.shapes).get(shape)
            && self.still_holds(judgement, reason, SessionTables::NONE)
        {
            // Another text of its shape is not likely to be sent twice either: it is not remembered.
            return Judged::new(text, Arc::clone(judgement));
        }
        let judged = self.judge_anew(text, reason, Confirmation::NotGiven, None);
        if let Some(shape) = shape.filter(|_| judged.holds_for_its_shape()) {
            lock(&self.shapes).put(shape, Arc::clone(&judged.judgement));
        }
        lock(&self.cache).put(key, Arc::clone(&judged));
        judged
    }

    /// Judges a text that the user has confirmed; not remembered, since a confirmation holds once.
    pub fn judge_confirmed(&self, text: &str, reason: Option<&str>, tables: &SessionTables) -> Arc<Judged> {
        self.judge_anew(text, reason, Confirmation::Given, Some(tables))
    }

    fn judge_anew(
        &self,
        text: &str,
        reason: Option<&str>,
        confirmation: Confirmation,
        among: Option<&SessionTables>,
    ) -> Arc<Judged> {
        // Read first: a change while judging then makes the judgement stale, not wrongly fresh.
        let generation = self.generation.load(Ordering::Acquire);
        let script = Arc::new(classify(text));
        let catalog = self.catalog.load();
        let tables = among.unwrap_or(SessionTables::NONE);
        let made = &self.made;
        let view = SessionView { database: &self.database, reason, catalog: &**catalog, made, tables, confirmation };
        let verdict = decide(&script, &self.policy, &view);
        let steps: Vec<Step> = match &verdict {
            Verdict::Allow(permit) => script
                .statements
                .iter()
                .map(|facts| Step {
                    local: LocalAction::of(facts, &self.policy),
                    max_rows_written: permit.guards.max_rows_written.filter(|_| changes_rows(facts)),
                    is_uncounted: permit.guards.max_rows_written.is_some()
                        && changes_rows(facts)
                        && (matches!(facts.kind, Kind::Select | Kind::Execute)
                            || facts.writes.len() > 1
                            || self.has_untold_rows(facts, &catalog)),
                    is_transaction_control: facts.effects.iter().any(ends_or_begins)
                        || matches!(facts.kind, Kind::Call | Kind::Do),
                    leaves_state: permit.guards.opaque
                        && (matches!(facts.kind, Kind::Do | Kind::Call | Kind::Execute)
                            || !self.made.is_empty()
                            || catalog.leaves_state(facts)),
                    plan: planned(text, facts).filter(|_| wants_plan(facts, &self.policy)).map(PlanQuery::new),
                })
                .collect(),
            Verdict::Confirm(_) | Verdict::Deny(_) => vec![],
        };
        let is_reported = matches!(&verdict, Verdict::Allow(permit) if !permit.would_deny.is_empty());
        let is_planned_to_confirm = matches!(&verdict, Verdict::Confirm(pending) if pending.is_plannable);
        let class = script.statements.iter().map(|f| f.class).max_by_key(severity).unwrap_or(Class::Misc);
        let judgement = Judgement {
            route: route(verdict, &steps, &script, self.policy.max_bytes_returned.is_some()),
            is_recorded: match self.policy.audit {
                AuditScope::All => true,
                AuditScope::Changes => {
                    is_reported
                        || script.statements.iter().any(|f| {
                            !f.writes.is_empty() || !matches!(f.class, Class::Read | Class::Misc | Class::MiscSet)
                        })
                }
            },
            reads_sequences: reads_sequences(text),
            moves_sequences: script.statements.iter().any(moves_sequences),
            needs_primary: script.statements.iter().any(|facts| needs_primary(facts) || is_serializable(text, facts)),
            plan_to_confirm: match script.statements.as_slice() {
                [facts] if is_planned_to_confirm => planned(text, facts).map(PlanQuery::new),
                // What follows others in its text cannot be planned before they have run.
                _ => None,
            },
            shows_prepared: shows_prepared(text),
            script,
            steps,
            class,
            reason_given: reason.is_some(),
            among: among.cloned(),
            is_confirmed: confirmation == Confirmation::Given,
            generation,
            judge: self.number,
        };
        Judged::new(text, Arc::new(judgement))
    }

    /// Whether rules rewrite a write, or this session has given its table triggers: its command tag does not tell all it changes.
    fn has_untold_rows(&self, facts: &Facts, catalog: &ServerCatalog) -> bool {
        matches!(facts.kind, Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge)
            && facts.writes.iter().any(|write| {
                catalog.has_rules(&write.table) || self.made.contains(&Made::OnTable(write.table.name.as_str().into()))
            })
    }
}

fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells judgements of different times and of different judges apart: no two have the same.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn route(verdict: Verdict, steps: &[Step], script: &Script, limits_bytes: bool) -> Route {
    let permit = match verdict {
        Verdict::Allow(permit) => permit,
        Verdict::Confirm(pending) => return Route::Confirm(pending),
        Verdict::Deny(denial) => return Route::Refuse(denial),
    };
    if permit.guards.single_statement {
        return Route::SingleStatement(permit);
    }
    let limits_reads = limits_bytes || permit.guards.max_rows_returned.is_some();
    let is_one = steps.len() == 1;
    let resets = |facts: &Facts| facts.effects.iter().any(is_reset);
    let is_change = |facts: &Facts| facts.class != Class::Read;
    let stepwise = steps.iter().any(|s| s.max_rows_written.is_some() || s.plan.is_some())
        || (!is_one && steps.iter().any(|s| s.local.is_some()))
        // A reset takes away what the policy forces and what the client asked for when it connected, so that is set again before
        // the next statement.
        || (!is_one && script.statements.iter().any(resets))
        // A read that runs over its limit ends the text: what follows it must not have run.
        || (!is_one && limits_reads && script.statements.iter().any(is_change));
    if stepwise { Route::Stepwise(permit) } else { Route::Whole(permit) }
}

/// Whether a text names `pg_prepared_statements` or the function behind it, or may do so in escapes (`U&"pg\\005f…"`). Views and
/// functions of the database that show it are not known here.
fn shows_prepared(text: &str) -> bool {
    const NAMES: [&[u8]; 2] = [b"pg_prepared_statement", b"u&\""];
    NAMES.iter().any(|name| text.as_bytes().windows(name.len()).any(|part| part.eq_ignore_ascii_case(name)))
}

/// LISTEN is not possible on a standby, a lock there excludes nobody elsewhere, and what acts on the server means the primary.
fn needs_primary(facts: &Facts) -> bool {
    let is_bound = |effect: &Effect| {
        matches!(
            effect,
            Effect::Listen
                | Effect::Unlisten(_)
                | Effect::AdvisoryLock
                | Effect::AdvisoryUnlock
                | Effect::AdvisoryUnlockAll
        )
    };
    let reaches_beyond = |category| match category {
        Category::ProcessControl
        | Category::Files
        | Category::OtherConnection
        | Category::Replication
        | Category::RunsSql
        | Category::LargeObject
        | Category::AdvisoryLock
        | Category::Notification
        | Category::Sequence
        | Category::TransactionId => true,
        Category::Settings | Category::Sleep => false,
    };
    facts.effects.iter().any(is_bound)
        || facts
            .functions
            .iter()
            .filter_map(|call| category(call.name.schema.as_deref(), &call.name.name))
            .any(reaches_beyond)
        // Of the WAL that is written now.
        || facts.functions.iter().any(|call| ["pg_current_wal_", "pg_walfile_name"].iter().any(|of| call.name.name.starts_with(of)))
}

/// Whether a statement may make the transaction, or those to come, SERIALIZABLE, which a standby cannot be.
fn is_serializable(text: &str, facts: &Facts) -> bool {
    facts.effects.iter().any(|effect| match effect {
        Effect::Begin(_) | Effect::SetTransaction(_) => {
            text.as_bytes().windows(SERIALIZABLE.len()).any(|part| part.eq_ignore_ascii_case(SERIALIZABLE.as_bytes()))
        }
        Effect::SetSessionCharacteristics(_) => true,
        Effect::Set { name, .. } => name == "transaction_isolation" || name == DEFAULT_ISOLATION,
        _ => false,
    })
}

const SERIALIZABLE: &str = "serializable";
const DEFAULT_ISOLATION: &str = "default_transaction_isolation";

/// Whether a session with these settings can have its transactions on a standby (Postgres documentation, "Hot Standby").
pub fn works_on_standby(settings: &Settings) -> bool {
    !settings.get(DEFAULT_ISOLATION).is_some_and(|level| level.trim().eq_ignore_ascii_case(SERIALIZABLE))
}

fn changes_rows(facts: &Facts) -> bool {
    // What EXECUTE runs is told by its command tag.
    facts.kind == Kind::Execute
        || !facts.writes.is_empty()
            && matches!(
                facts.kind,
                Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge | Kind::CopyFrom
            )
}

fn is_reset(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::ResetAll | Effect::DiscardAll | Effect::Reset(_) | Effect::Set { value: SettingValue::Default, .. }
    )
}

/// Whether the functions are named anywhere in the text: what asks may be a default, a constraint or a function's body.
fn reads_sequences(text: &str) -> bool {
    let names = [&b"currval"[..], b"lastval"];
    text.as_bytes().windows(7).any(|word| names.iter().any(|name| word.eq_ignore_ascii_case(name)))
}

fn moves_sequences(facts: &Facts) -> bool {
    let is_known = |class| matches!(class, Class::Read | Class::Misc | Class::MiscSet);
    !facts.writes.is_empty()
        || !is_known(facts.class)
        || matches!(
            facts.kind,
            Kind::Do | Kind::Call | Kind::Execute | Kind::UnparsedMaybeRead | Kind::UnparsedMaybeWrite
        )
        || facts.functions.iter().any(|call| {
            let name = &call.name;
            category(name.schema.as_deref(), &name.name) == Some(Category::Sequence) || !is_built_in(&name.name)
        })
}

fn ends_or_begins(effect: &Effect) -> bool {
    matches!(effect, Effect::Begin(_) | Effect::Commit { .. } | Effect::Rollback { .. } | Effect::PrepareTransaction)
}

fn severity(class: &Class) -> u8 {
    match class {
        Class::Misc => 0,
        Class::MiscSet => 1,
        Class::Read => 2,
        Class::Function => 3,
        Class::Write => 4,
        Class::Ddl => 5,
        Class::Role => 6,
    }
}

/// The limits and the access mode of a policy as settings of the server (DESIGN §5): the server enforces them too.
fn forced_settings(policy: &Policy) -> Settings {
    let timeouts = [
        ("statement_timeout", policy.statement_timeout),
        ("lock_timeout", policy.lock_timeout),
        ("idle_in_transaction_session_timeout", policy.idle_in_transaction_timeout),
    ];
    // What the server's own configuration or a role's says must not make it read texts otherwise than they are judged.
    let strings = policy.is_guarded().then(|| ("standard_conforming_strings".to_owned(), "on".to_owned()));
    let read_only = policy.is_read_only().then(|| ("default_transaction_read_only".to_owned(), "on".to_owned()));
    timeouts
        .into_iter()
        .filter_map(|(name, limit)| limit.map(|l| (name.to_owned(), milliseconds(l))))
        .chain(read_only)
        .chain(strings)
        .collect()
}

/// A time as Postgres's settings take it without a unit.
pub fn milliseconds(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}
