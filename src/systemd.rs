//! What systemd hands over, and what it is told: sd_listen_fds(3), sd_notify(3). Without systemd nothing happens.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// Sockets that systemd listens on for the proxy, in the order of the socket unit.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For clients.
    pub listen: Option<TcpListener>,
    /// For operators.
    pub admin: Option<TcpListener>,
}

/// Why a socket cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// There are more than the two that are known.
    #[error(
        "systemd passes {0} sockets; pass one for [listen], or two: for [listen] and for [admin], in this order in one \
         socket unit"
    )]
    TooMany(usize),
    /// It is none that listens for TCP connections.
    #[error("the socket that systemd passes for [{table}] cannot be used: {cause}")]
    Unusable {
        /// Whose socket it is to be.
        table: &'static str,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// The configuration, and what it says of TLS, is about another address.
    #[error(
        "the socket that systemd passes for [{table}] is bound to {bound}, but its address is {configured}; make them the same"
    )]
    OtherAddress {
        /// Whose socket it is to be.
        table: &'static str,
        /// Where the socket is.
        bound: SocketAddr,
        /// What the configuration says.
        configured: SocketAddr,
    },
}

impl Sockets {
    /// Takes what systemd passes. Call it before the first thread is started: it takes variables out of the environment.
    pub fn take(listen: SocketAddr, admin: Option<SocketAddr>) -> Result<Self, SocketError> {
        let mut passed = ListenFd::from_env();
        if passed.len() > 1 + usize::from(admin.is_some()) {
            return Err(SocketError::TooMany(passed.len()));
        }
        let mut take = |index: usize, table: &'static str, configured: SocketAddr| {
            let unusable = |cause| SocketError::Unusable { table, cause };
            let Some(socket) = passed.take_tcp_listener(index).map_err(unusable)? else { return Ok(None) };
            socket.set_nonblocking(true).map_err(unusable)?;
            let bound = socket.local_addr().map_err(unusable)?;
            if bound != configured {
                return Err(SocketError::OtherAddress { table, bound, configured });
            }
            Ok(Some(socket))
        };
        let listen = take(0, "listen", listen)?;
        let admin = admin.map(|address| take(1, "admin", address)).transpose()?.flatten();
        Ok(Self { listen, admin })
    }
}

/// What the process tells systemd of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves clients, with the configuration as it is now.
    Ready,
    /// It loads the configuration again; [`State::Ready`] follows.
    Reloading,
    /// It stops.
    Stopping,
}

/// Tells systemd, if it asked to be told.
pub fn notify(state: State) {
    let told = match state {
        State::Ready => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("serving clients")]),
        State::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now, NotifyState::Status("reloading")])),
        State::Stopping => {
            sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("waiting for sessions to end")])
        }
    };
    if let Err(error) = told {
        tracing::warn!(%error, "systemd cannot be notified");
    }
}

/// Gives the signs of life that `WatchdogSec=` asks for, twice in its time; ends at once when it asks for none.
pub async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit > Duration::ZERO) else { return };
    let mut tick = tokio::time::interval(limit / 2);
    loop {
        tick.tick().await;
        if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
            tracing::warn!(%error, "systemd's watchdog cannot be fed");
        }
    }
}
