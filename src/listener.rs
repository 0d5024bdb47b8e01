//! Accepts clients and hands them over, within the limit of connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::server::Server;
use crate::startup::Admission;
use crate::{session, startup};

/// Pause after an accept that failed, as it does when no file can be opened any more: sessions that end make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Clients beyond the limit that are told so at the same time; any more are closed without a word.
const TURNED_AWAY: usize = 64;

/// Connections that wait to be accepted; the system may lower it.
const BACKLOG: u32 = 1024;

/// An address that is taken; nobody can connect yet.
#[derive(Debug)]
pub enum Bound {
    /// A socket of the process's own.
    Own(TcpSocket),
    /// A socket that another process holds open as well, and will go on listening on.
    Inherited(std::net::TcpListener),
}

/// Clients can connect.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    /// Whoever waits to be accepted when the process stops is the successor's.
    has_successor: bool,
}

/// Takes the address; with `reuse_port` another process may have it as well.
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Bound> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    Ok(Bound::Own(socket))
}

impl Bound {
    /// Lets clients connect.
    pub fn listen(self) -> io::Result<Listener> {
        match self {
            Bound::Own(socket) => Ok(Listener { tcp: socket.listen(BACKLOG)?, has_successor: false }),
            Bound::Inherited(socket) => Ok(Listener { tcp: TcpListener::from_std(socket)?, has_successor: true }),
        }
    }
}

impl Listener {
    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Accepts clients until the process drains. Whoever has connected by then is served, unless a successor will do it.
pub async fn accept(server: Arc<Server>, listener: Listener) {
    let door = Door { server, inside: Arc::default(), turned_away: Arc::default() };
    loop {
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            () = door.server.drain_begun() => break,
        };
        match accepted {
            Ok((tcp, peer)) => door.admit(tcp, peer),
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if listener.has_successor {
        return;
    }
    // For these clients the connection is made: closing the socket would reset it.
    let Ok(waiting) = listener.tcp.into_std() else { return };
    while let Ok((tcp, peer)) = waiting.accept() {
        if tcp.set_nonblocking(true).is_ok()
            && let Ok(tcp) = TcpStream::from_std(tcp)
        {
            door.admit(tcp, peer);
        }
    }
}

struct Door {
    server: Arc<Server>,
    inside: Arc<AtomicUsize>,
    turned_away: Arc<AtomicUsize>,
}

/// One of a limited number of places.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let one_more = |taken: usize| (taken < limit).then_some(taken + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Door {
    fn admit(&self, tcp: TcpStream, peer: SocketAddr) {
        let server = Arc::clone(&self.server);
        server.metrics.connection_accepted();
        // The limit of the configuration as it is now.
        let limit = server.runtime().config.listen.max_clients;
        let (place, admission) = match Place::take(&self.inside, limit) {
            Some(place) => (place, Admission::Welcome),
            None => match Place::take(&self.turned_away, TURNED_AWAY) {
                Some(place) => (place, Admission::Full),
                None => {
                    server.metrics.connection_refused("too_many_clients");
                    return;
                }
            },
        };
        let starting = server.starting();
        tokio::spawn(async move {
            let _place = place;
            // Without it a small answer waits for the acknowledgement of the one before.
            if tcp.set_nodelay(true).is_err() {
                return;
            }
            let session = Box::pin(startup::start(server, tcp, peer, admission)).await;
            drop(starting);
            if let Some(session) = session {
                session::run(session).await;
            }
        });
    }
}
