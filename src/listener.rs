//! Accepts clients and hands them over, within the limit of connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::policy::sqlstate;
use crate::server::Server;
use crate::wire::Report;
use crate::{session, startup};

/// Pause after an accept that failed, as it does when no file can be opened any more: sessions that end make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Accepts clients until the process drains. Cancel safe.
pub async fn accept(server: Arc<Server>, listener: TcpListener) {
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
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            server.metrics.connection_refused("too_many_clients");
            tokio::spawn(refuse(tcp));
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let _place = place;
            // Without it a small answer waits for the acknowledgement of the one before.
            if tcp.set_nodelay(true).is_err() {
                return;
            }
            if let Some(session) = Box::pin(startup::start(server, tcp, peer)).await {
                session::run(session).await;
            }
        });
    }
}

async fn refuse(mut tcp: TcpStream) {
    let mut out = BytesMut::new();
    Report::fatal(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
        .detail("pgbelay has as many clients as [listen] max_clients allows.")
        .hint("Close connections that are not used, or have max_clients raised.")
        .write(&mut out);
    let told = async {
        tcp.write_all_buf(&mut out).await?;
        tcp.shutdown().await
    };
    let _told = tokio::time::timeout(Duration::from_secs(1), told).await;
}
