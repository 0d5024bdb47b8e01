//! Who the client is: what the user's entry asks for, a password, a certificate or both.

use std::sync::Arc;

use super::options::StartupOptions;
use super::scram::ScramFailure;
use super::{Refused, Startup, told};
use crate::auth::read_verifier;
use crate::config::User;
use crate::policy::sqlstate;
use crate::server::Runtime;
use crate::wire::Report;

impl Startup {
    /// The user, proven to be who it says. The answers for unknown users look like those for users with a password.
    pub(super) async fn authenticate(
        &mut self,
        runtime: &Runtime,
        options: &StartupOptions,
    ) -> Result<Arc<User>, Refused> {
        let known = runtime.config.users.get(&options.user).cloned();
        match known {
            Some(user) if user.verifier.is_none() => {
                self.certify(&user, options)?;
                Ok(user)
            }
            known => {
                self.prove_password(runtime, known.as_deref(), options).await?;
                // What is asked beyond the password is told only to those who know it.
                let Some(user) = known else { return Err(self.wrong_password(options, "no such user")) };
                if !user.certificates.is_empty() {
                    self.certify(&user, options)?;
                }
                Ok(user)
            }
        }
        .and_then(|user| self.check_validity(user, options))
    }

    async fn prove_password(
        &mut self,
        runtime: &Runtime,
        user: Option<&User>,
        options: &StartupOptions,
    ) -> Result<(), Refused> {
        let verifier = user.and_then(|user| user.verifier.as_ref()).and_then(|text| match read_verifier(text) {
            Ok(verifier) => Some(verifier),
            Err(error) => {
                tracing::error!(user = options.user, %error, "a user cannot log in");
                None
            }
        });
        match self.scram(runtime, &options.user, verifier).await {
            Ok(_) => Ok(()),
            Err(ScramFailure::Login(why)) => Err(self.wrong_password(options, why)),
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

    fn check_validity(&self, user: Arc<User>, options: &StartupOptions) -> Result<Arc<User>, Refused> {
        match user.valid_until {
            Some(end) if chrono::Utc::now() >= end => {
                let report =
                    told(sqlstate::INVALID_AUTHORIZATION, format!("the login of user \"{}\" has expired", user.name))
                        .hint("Have valid_until moved, or the user removed.");
                let why = format!("valid_until {} has passed", end.to_rfc3339());
                Err(self.login_refused(options, "expired", &why, report))
            }
            _ => Ok(user),
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
