//! An authenticated user becomes a session: database, tier, policy, settings, and the greeting.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;
use pgwire::messages::startup::Authentication;

use super::authenticate::Login;
use super::options::StartupOptions;
use super::{Owner, Place, Refused, Startup, told};
use crate::audit::{Event, Record, SessionContext, Written};
use crate::config::{LookupError, OnAuditFailure, Tier, User, format_duration};
use crate::guard::{Judge, LocalAction, Route, denial_report, notice_report, works_on_standby};
use crate::policy::{Pending, SessionTables, WouldDeny, sqlstate};
use crate::server::{Runtime, TargetRuntime};
use crate::session::Session;
use crate::upstream::{CheckoutError, Reach, Settings, SettingsError, push_literal, push_setting_name};
use crate::wire::{Report, TransactionState, put_authentication, put_backend_key, put_parameter_status, put_ready};

/// Size of a cancel key in protocol 3.0, and in 3.2.
const CANCEL_KEY: (usize, usize) = (4, 32);

impl Startup {
    /// The user is who it says: finds database, tier and policy, checks its settings, and greets it.
    pub(super) async fn admit(
        &mut self,
        runtime: &Runtime,
        Login { user, keys }: Login,
        options: StartupOptions,
    ) -> Result<Box<Session>, Refused> {
        let target = runtime.config.target(&options.database).map_err(|error| {
            self.server.metrics.auth_failure("unknown_database");
            self.record_refusal(&options, sqlstate::UNKNOWN_DATABASE, "no such database or tier");
            Refused::Told(unknown_database(&error))
        })?;
        let target = runtime.target(&target).and_then(|target| target.of_user(&user, keys));
        let (Some(target), generation) = (target, runtime.generation) else {
            return Err(told(sqlstate::INTERNAL, "the database is not at work").into());
        };
        if target.is_disabled() {
            self.server.metrics.connection_refused("disabled");
            return Err(told(
                sqlstate::DISABLED,
                format!("database \"{}\" is not currently accepting connections", target.name),
            )
            .detail("An operator has disabled it.")
            .hint("Try again in a while.")
            .into());
        }
        let judge = runtime
            .judge(user.role, &target, SystemTime::now())
            .ok_or_else(|| told(sqlstate::INTERNAL, "the role has no policy on this tier"))?;
        let places = self.take_places(&user, &target, &options)?;
        let mut out = BytesMut::new();
        let (initial, would_deny) = initial_settings(&judge, &options, &mut out).map_err(Refused::Told)?;
        let may_read_replica = judge.policy.is_read_only() && works_on_standby(&initial);
        let reach = if may_read_replica { Reach::Replica } else { Reach::Primary };
        let (initial, told_parameters) = self.greeting(&target, &initial, reach).await?;
        if judge.policy.is_guarded() {
            // Rules that rest on the server's catalog cannot be kept without it.
            let loaded = self.while_connected(target.ensure_catalog(&self.server)).await?;
            loaded.map_err(|error| Refused::Told(target.unreachable(&error)))?;
        }
        let context = Arc::new(SessionContext {
            id: self.server.next_session_id(),
            user: user.name.clone(),
            role: Some(user.role),
            database: target.target.database.clone(),
            tier: Some(target.target.tier),
            client: Some(self.peer),
            application_name: options.application_name().map(str::to_owned),
            tls: self.tls.clone(),
            written: Written::default(),
        });
        let key_size = if self.minor == 0 { CANCEL_KEY.0 } else { CANCEL_KEY.1 };
        let registered = self
            .server
            .sessions
            .register(key_size, Arc::clone(&context))
            .ok_or_else(|| told(sqlstate::INTERNAL, "the system has no randomness"))?;
        let client = self.stream.take().ok_or_else(|| Refused::Gone(io::ErrorKind::NotConnected.into()))?;
        if let Err(refused) = self.record_start(&judge, &context, &options, would_deny) {
            self.stream = Some(client);
            return Err(refused);
        }
        // From here on there is a session, and it records its end, whatever becomes of the client.
        let notices = std::mem::take(&mut out);
        put_authentication(Authentication::Ok, &mut out);
        for (name, value) in told_parameters.iter() {
            put_parameter_status(name, value, &mut out);
        }
        put_backend_key(registered.control.pid, &registered.control.key, &mut out);
        out.extend_from_slice(&notices);
        if let Some(notice) = name_truncated(options.application_name(), told_parameters.get("application_name")) {
            notice.write(&mut out);
        }
        if let Some(banner) = banner(&judge) {
            banner.write(&mut out);
        }
        put_ready(TransactionState::Idle, &mut out);
        Ok(Box::new(Session {
            server: Arc::clone(&self.server),
            client,
            greeting: out,
            registered,
            target,
            context,
            judge,
            generation,
            initial,
            told: told_parameters,
            reason: options.reason,
            user,
            places,
        }))
    }

    /// The session's places among those of its user and of its database (SQLSTATE 53300 when there is none).
    fn take_places(
        &self,
        user: &User,
        target: &TargetRuntime,
        options: &StartupOptions,
    ) -> Result<[Place; 2], Refused> {
        let take = |owner: Owner, most: Option<u32>, kind: &'static str, whose: String| {
            self.server.places.take(owner, most).ok_or_else(|| {
                let report = told(sqlstate::TOO_MANY_CONNECTIONS, format!("too many connections for {whose}"))
                    .detail(format!("max_connections allows {}.", most.unwrap_or_default()))
                    .hint("Close connections that are not used, or have max_connections raised.");
                self.login_refused(options, kind, &report.message.clone(), report)
            })
        };
        let of_user = format!("user \"{}\"", user.name);
        let of_database = format!("database \"{}\"", target.name);
        Ok([
            take(Owner::User(user.name.clone()), user.max_connections, "user_connections", of_user)?,
            take(
                Owner::Database(target.name.clone()),
                target.target.max_connections,
                "database_connections",
                of_database,
            )?,
        ])
    }

    async fn greeting(
        &self,
        target: &TargetRuntime,
        initial: &Settings,
        reach: Reach,
    ) -> Result<(Settings, crate::upstream::Parameters), Refused> {
        // Whoever waits is told before the time for logging in is over.
        let patience = self.server.runtime().config.listen.login_timeout / 2;
        match self.while_connected(target.greeting(initial, reach, patience)).await? {
            Ok(Ok(greeting)) => Ok(greeting),
            Ok(Err(SettingsError::Refused { sqlstate: code, message })) => {
                // The server's own words: they speak of the client's own setting.
                Err(told(sqlstate::INVALID_AUTHORIZATION, message)
                    .detail(format!("The server refused a setting of the connection (SQLSTATE {code})."))
                    .hint("Check the connection's options and PGOPTIONS.")
                    .into())
            }
            Ok(Err(SettingsError::Connect(error))) => Err(target.unreachable(&error).ending_session().into()),
            Err(CheckoutError::Connect(error)) => Err(target.unreachable(&error).ending_session().into()),
            Err(CheckoutError::Full { max, waited }) => Err(target.full(max, waited).ending_session().into()),
            Err(CheckoutError::Paused { waited }) => Err(target.paused(waited).ending_session().into()),
        }
    }

    fn record_start(
        &self,
        judge: &Judge,
        context: &Arc<SessionContext>,
        options: &StartupOptions,
        would_deny: Vec<WouldDeny>,
    ) -> Result<(), Refused> {
        let start = Record::of(Event::SessionStart, context);
        let record = Record { reason: options.reason.clone(), would_deny: would_deny.into(), ..start };
        match (self.server.audit.record(record), judge.policy.on_audit_failure) {
            (Ok(()), _) => Ok(()),
            (Err(error), OnAuditFailure::Allow) => {
                tracing::error!(%error, "audit record lost");
                Ok(())
            }
            (Err(error), OnAuditFailure::Deny) => {
                tracing::error!(%error, "session refused: it cannot be audited");
                Err(told(sqlstate::AUDIT_FAILURE, "the session cannot be audited, so it is refused")
                    .hint("Tell whoever runs pgbelay; connect again once the audit trail is mended.")
                    .into())
            }
        }
    }
}

fn unknown_database(error: &LookupError) -> Report {
    match error {
        LookupError::UnknownDatabase(name) => {
            told(sqlstate::UNKNOWN_DATABASE, format!("database \"{name}\" does not exist"))
                .hint("Connect to a database of the configuration, as NAME or NAME:TIER, for example app:prod.")
        }
        LookupError::UnknownTier { database, tier, known } => {
            let names: Vec<String> = known.iter().map(|t| format!("{database}:{t}")).collect();
            told(sqlstate::UNKNOWN_DATABASE, format!("database \"{database}\" has no tier \"{tier}\""))
                .hint(format!("It has: {}.", names.join(", ")))
        }
    }
}

/// The settings a session begins with: the policy's, and those of the start-up message as far as the policy lets them be set.
/// Also what rules in report mode would have refused of them.
fn initial_settings(
    judge: &Judge,
    options: &StartupOptions,
    out: &mut BytesMut,
) -> Result<(Settings, Vec<WouldDeny>), Report> {
    // A client that gives no name has none; the proxy's connections have the proxy's.
    let mut settings = judge.forced.with("application_name", "");
    let mut would_deny = Vec::new();
    for (name, value) in &options.settings {
        let mut sql = "SET ".to_owned();
        push_setting_name(name, &mut sql);
        sql.push_str(" TO ");
        push_literal(value, &mut sql);
        let judged = judge.judge(&sql, Some("connection"), SessionTables::NONE);
        match &judged.route {
            Route::Refuse(denial) | Route::Confirm(Pending { denial, .. }) => {
                return Err(denial_report(denial).ending_session());
            }
            Route::Whole(_) | Route::Stepwise(_) => {}
            Route::SingleStatement(_) => {
                return Err(told(sqlstate::INVALID_AUTHORIZATION, format!("invalid connection setting \"{name}\"")));
            }
        }
        would_deny.extend(judged.permit().into_iter().flat_map(|permit| permit.would_deny.iter().cloned()));
        match judged.local() {
            Some(LocalAction::Limit { name, notice, .. }) => {
                if let Some(notice) = notice {
                    notice_report(notice).write(out);
                }
                debug_assert!(judge.forced.get(name).is_some(), "a limit that is held is one that is forced");
            }
            Some(LocalAction::Show(_) | LocalAction::Set { .. }) | None => settings = settings.with(name, value),
        }
    }
    Ok((settings, would_deny))
}

/// What Postgres says of an `application_name` that is longer than a name may be (SQLSTATE 42622), from what was asked for and got.
fn name_truncated(asked: Option<&str>, got: Option<&str>) -> Option<Report> {
    let (asked, got) = asked.zip(got)?;
    let is_cut = got.len() < asked.len() && asked.starts_with(got) && !got.is_empty();
    let notice = || Report::notice(format!("identifier \"{asked}\" will be truncated to \"{got}\""));
    is_cut.then(|| Report { sqlstate: "42622", ..notice() })
}

/// What a person is told when connecting to a guarded tier.
fn banner(judge: &Judge) -> Option<Report> {
    let policy = &judge.policy;
    if !policy.role.is_human() || policy.tier == Tier::Int {
        return None;
    }
    let access = if policy.is_read_only() { "read-only" } else { "read-write" };
    let limit = match policy.session_limit {
        Some(limit) => format!("the session ends in {}", format_duration(limit)),
        None => "the session has no time limit".to_owned(),
    };
    let banner = Report::notice(format!("{} ({}): {access}, {limit}", policy.tier, policy.tier.colour()))
        .detail("Every statement is recorded.");
    Some(if policy.reason == crate::config::ReasonRule::Required {
        banner.hint("Say why you are here: SET pgbelay.reason = 'INC-42'; SHOW pgbelay.limits tells the limits.")
    } else {
        banner.hint("SHOW pgbelay.limits tells the limits.")
    })
}
