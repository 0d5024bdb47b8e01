//! Who the client is: what the user's entry asks for, a password, a certificate or both.

use std::sync::Arc;

use super::options::StartupOptions;
use super::scram::ScramFailure;
use super::{Refused, Startup, told};
use crate::auth::{ScramKeys, read_verifier};
use crate::config::{Origin, User};
use crate::policy::sqlstate;
use crate::server::{Runtime, TargetRuntime};
use crate::wire::Report;

/// A user that is who it says.
pub(super) struct Login {
    pub(super) user: Arc<User>,
    /// What it has proved; `None` where its certificate was enough.
    pub(super) keys: Option<ScramKeys>,
}

impl Startup {
    /// The user, proven to be who it says. The answers for unknown users look like those for users with a password.
    pub(super) async fn authenticate(&mut self, runtime: &Runtime, options: &StartupOptions) -> Result<Login, Refused> {
        let known = match runtime.config.users.get(&options.user) {
            Some(user) => Some(Arc::clone(user)),
            None => self.look_up(runtime, options).await?,
        };
        let login = match known {
            Some(user) if user.origin == Origin::Configured && user.verifier.is_none() => {
                self.certify(&user, options)?;
                Login { user, keys: None }
            }
            known => {
                let keys = self.prove_password(runtime, known.as_deref(), options).await?;
                // What is asked beyond the password is told only to those who know it.
                let Some(user) = known else { return Err(self.wrong_password(options, "no such user")) };
                if !user.certificates.is_empty() {
                    self.certify(&user, options)?;
                }
                Login { user, keys: Some(keys) }
            }
        };
        self.check_validity(&login.user, options)?;
        Ok(login)
    }

    /// The user as the database knows it that the client wants to reach.
    async fn look_up(&self, runtime: &Runtime, options: &StartupOptions) -> Result<Option<Arc<User>>, Refused> {
        let Some(target) = wanted(runtime, options) else { return Ok(None) };
        let Some(lookup) = &target.lookup else { return Ok(None) };
        match lookup.find(&options.user).await {
            Ok(found) => Ok(found),
            Err(error) => {
                let report = target.unreachable(&error).ending_session();
                Err(self.login_refused(options, "auth_query", "auth_query could not be asked", report))
            }
        }
    }

    async fn prove_password(
        &mut self,
        runtime: &Runtime,
        user: Option<&User>,
        options: &StartupOptions,
    ) -> Result<ScramKeys, Refused> {
        let verifier = user.and_then(|user| user.verifier.as_ref()).and_then(|text| match read_verifier(text) {
            Ok(verifier) => Some(verifier),
            Err(error) => {
                tracing::error!(user = options.user, %error, "a user cannot log in");
                None
            }
        });
        match self.scram(runtime, &options.user, verifier).await {
            Ok(proven) => Ok(proven.keys),
            Err(ScramFailure::Login(why)) => {
                // Its password may have been changed a moment ago.
                if let Some(target) = wanted(runtime, options)
                    && let Some(lookup) = &target.lookup
                {
                    lookup.forget(&options.user);
                }
                Err(self.wrong_password(options, why))
            }
            Err(ScramFailure::Refused(Refused::Told(report))) => {
                Err(self.login_refused(options, "protocol", &report.message.clone(), report))
            }
            Err(ScramFailure::Refused(refused)) => Err(refused),
        }
    }

    /// Checks that the client's certificate is one of the user's; that a CA of `client_ca` signed it was checked before.
    fn certify(&self, user: &User, options: &StartupOptions) -> Result<(), Refused> {
        let wanted = || user.certificates.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        match &self.certificate {
            Some(certificate) if certificate.has_any(&user.certificates) => Ok(()),
            Some(certificate) => {
                let report = told(
                    sqlstate::INVALID_AUTHORIZATION,
                    format!("certificate authentication failed for user \"{}\"", user.name),
                )
                .detail(format!("The client's certificate is for {certificate}."))
                .hint("Use the user's own certificate (sslcert and sslkey), or log in as the user it is for.");
                let why = format!("the client certificate is for {certificate}, not {}", wanted());
                Err(self.login_refused(options, "certificate", &why, report))
            }
            None => {
                let report = told(
                    sqlstate::INVALID_AUTHORIZATION,
                    format!("connection requires a valid client certificate for user \"{}\"", user.name),
                )
                .hint("Connect with TLS, and give the certificate and its key by sslcert and sslkey.");
                let why = format!("no client certificate, but {} is needed", wanted());
                Err(self.login_refused(options, "certificate", &why, report))
            }
        }
    }

    fn check_validity(&self, user: &User, options: &StartupOptions) -> Result<(), Refused> {
        match user.valid_until {
            Some(end) if chrono::Utc::now() >= end => {
                let report =
                    told(sqlstate::INVALID_AUTHORIZATION, format!("the login of user \"{}\" has expired", user.name))
                        .hint("Have its end moved (valid_until, or VALID UNTIL in the database), or the user removed.");
                let why = format!("valid until {}", end.to_rfc3339());
                Err(self.login_refused(options, "expired", &why, report))
            }
            _ => Ok(()),
        }
    }

    fn wrong_password(&self, options: &StartupOptions, why: &str) -> Refused {
        let message = format!("password authentication failed for user \"{}\"", options.user);
        self.login_refused(options, "password", why, told(sqlstate::INVALID_PASSWORD, message))
    }

    /// Notes that a login was refused; `kind` is for the metrics, `why` for the audit trail.
    pub(super) fn login_refused(
        &self,
        options: &StartupOptions,
        kind: &'static str,
        why: &str,
        report: Report,
    ) -> Refused {
        self.server.metrics.auth_failure(kind);
        self.record_refusal(options, report.sqlstate, why);
        Refused::Told(report)
    }
}

/// The database tier that the client asks for.
fn wanted(runtime: &Runtime, options: &StartupOptions) -> Option<Arc<TargetRuntime>> {
    let target = runtime.config.target(&options.database).ok()?;
    runtime.target(&target)
}
