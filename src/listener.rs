//! Accepts clients and hands them over, within the limit of connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::server::Server;
use crate::startup::Admission;
use crate::{session, startup};

/// Pause after an accept that failed, as it does when no file can be opened any more: sessions that end make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Clients beyond the limit that are told so at the same time; any more are closed without a word.
const TURNED_AWAY: usize = 64;

/// Takes the address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Accepts clients until the process drains. Cancel safe.
pub async fn accept(server: Arc<Server>, listener: TcpListener) {
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let places = Arc::new(Semaphore::new(server.runtime().config.listen.max_clients));
    loop {
        let (tcp, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        server.metrics.connection_accepted();
        let (place, admission) = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => (place, Admission::Welcome),
            Err(_) => match Arc::clone(&turned_away).try_acquire_owned() {
                Ok(place) => (place, Admission::Full),
                Err(_) => {
                    server.metrics.connection_refused("too_many_clients");
                    continue;
                }
            },
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let _place = place;
            // Without it a small answer waits for the acknowledgement of the one before.
            if tcp.set_nodelay(true).is_err() {
                return;
            }
            if let Some(session) = Box::pin(startup::start(server, tcp, peer, admission)).await {
                session::run(session).await;
            }
        });
    }
}
