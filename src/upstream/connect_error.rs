//! Why a connection to Postgres could not be made.

use std::io;

use super::ServerRole;
use crate::policy::sqlstate;

/// Why a connection to Postgres could not be made. `Display` is meant for the operator's log; clients are told
/// [`ConnectError::client_text`], which names no host.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket could not be opened, or broke.
    #[error("cannot reach {host}:{port}: {source}")]
    Io {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// It took longer than `connect_timeout`.
    #[error("no connection to {host}:{port} within {seconds} s")]
    Timeout {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// The limit in seconds.
        seconds: u64,
    },
    /// The server does not offer TLS, but `sslmode` asks for it.
    #[error("{host}:{port} does not offer TLS, which sslmode asks for")]
    NoTls {
        /// Host.
        host: String,
        /// Port.
        port: u16,
    },
    /// The server answered with an error.
    #[error("the server refused the login: {message} (SQLSTATE {sqlstate})")]
    Refused {
        /// SQLSTATE.
        sqlstate: String,
        /// Primary message.
        message: String,
    },
    /// The handshake failed, or the certificate is not one that `sslmode` accepts.
    #[error("TLS with {host}:{port} failed: {source}")]
    Tls {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The server works, but is none that `target_session_attrs` asks for.
    #[error("{host}:{port} is {found}, and target_session_attrs={wanted} asks for another")]
    Unsuitable {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// What it is.
        found: ServerRole,
        /// What was asked for.
        wanted: &'static str,
    },
    /// No host was left to try: each is behind by more than `max_replica_lag`, or there is none.
    #[error("every replica is behind by more than max_replica_lag")]
    Lagging,
    /// Several hosts, and none would do.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoHost(Vec<ConnectError>),
    /// The server asks for something not configured or not supported.
    #[error("{0}")]
    Authentication(String),
    /// The server speaks no Postgres.
    #[error("unexpected answer from the server: {0}")]
    Protocol(String),
}

impl ConnectError {
    /// What a client may know: no address, no server text that could name one.
    pub fn client_text(&self) -> &'static str {
        match self {
            ConnectError::Io { .. } => "The database server cannot be reached.",
            ConnectError::Timeout { .. } => "The database server does not answer.",
            ConnectError::NoTls { .. } => "The database server does not offer TLS.",
            ConnectError::Tls { .. } => "The database server's TLS is not accepted.",
            ConnectError::Unsuitable { .. } => "No database server of the kind that is asked for can be reached.",
            ConnectError::Lagging => "No replica is near enough to its primary.",
            ConnectError::Refused { sqlstate, .. } if sqlstate.starts_with("53") => {
                "The database server has no connection left."
            }
            ConnectError::Refused { sqlstate, .. } if sqlstate.starts_with("57") => {
                "The database server is starting up or shutting down."
            }
            ConnectError::Refused { .. } | ConnectError::Authentication(_) => {
                "The database server refused the proxy's login."
            }
            ConnectError::Protocol(_) => "The database server gave an answer that is not understood.",
            ConnectError::NoHost(errors) => {
                let mut texts = errors.iter().map(ConnectError::client_text);
                let first = texts.next().unwrap_or("No database server is configured.");
                if texts.all(|text| text == first) { first } else { "None of the database servers can be used now." }
            }
        }
    }

    /// A short word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            ConnectError::Io { .. } => "io",
            ConnectError::Timeout { .. } => "timeout",
            ConnectError::NoTls { .. } => "no_tls",
            ConnectError::Tls { .. } => "tls",
            ConnectError::Unsuitable { .. } | ConnectError::Lagging => "unsuitable",
            ConnectError::Refused { .. } => "refused",
            ConnectError::Authentication(_) => "authentication",
            ConnectError::Protocol(_) => "protocol",
            ConnectError::NoHost(errors) => errors.first().map_or("unsuitable", ConnectError::kind),
        }
    }

    /// The SQLSTATE that a client is told.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            ConnectError::Refused { sqlstate, .. } if sqlstate.starts_with("57") => sqlstate::CANNOT_CONNECT_NOW,
            ConnectError::NoHost(errors) => errors.first().map_or(sqlstate::CANNOT_CONNECT, ConnectError::sqlstate),
            _ => sqlstate::CANNOT_CONNECT,
        }
    }

    /// Whether it may be over in a moment: a server that restarts, a failover, no connection left. What is wrong with
    /// passwords, certificates or the protocol lasts until somebody mends it.
    pub fn is_passing(&self) -> bool {
        match self {
            ConnectError::Io { .. }
            | ConnectError::Timeout { .. }
            | ConnectError::Unsuitable { .. }
            | ConnectError::Lagging => true,
            ConnectError::Refused { sqlstate, .. } => sqlstate.starts_with("57") || sqlstate.starts_with("53"),
            ConnectError::NoTls { .. }
            | ConnectError::Tls { .. }
            | ConnectError::Authentication(_)
            | ConnectError::Protocol(_) => false,
            ConnectError::NoHost(errors) => errors.iter().any(ConnectError::is_passing),
        }
    }

    /// Whether no other host is to be tried: as in libpq, a login that is refused. The next one would refuse it as well.
    pub(super) fn is_final(&self) -> bool {
        match self {
            ConnectError::Authentication(_) => true,
            ConnectError::Refused { sqlstate, .. } => sqlstate.starts_with("28"),
            _ => false,
        }
    }

    /// Whether it says that the host is gone, or is not what it was.
    pub(super) fn is_of_host(&self) -> bool {
        match self {
            ConnectError::Io { .. } | ConnectError::Timeout { .. } | ConnectError::Unsuitable { .. } => true,
            ConnectError::Refused { sqlstate, .. } => sqlstate.starts_with("57"),
            _ => false,
        }
    }
}
