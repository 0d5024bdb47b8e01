//! The operators' HTTP endpoint: `/healthz`, `/readyz` and `/metrics`, and their commands.
//!
//! It answers one request a connection and holds no connection for long, so that a slow or hostile client costs little and
//! nobody else a probe.

mod command;
mod response;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::telemetry::Metrics;
pub use command::{Allowance, Command, Operator, Refusal, Scope, View};
use response::Answer;

/// Why the endpoint cannot be served.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address cannot be had.
    #[error("cannot listen on [admin] address {address}: {cause}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
}

/// One condition of being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked: `accepting`, `audit`, `database app`, …
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// The state in words; no secrets.
    pub detail: String,
}

/// Tells whether the process can serve sessions now. `checks` is called for each request and must not block.
pub trait Readiness: Send + Sync {
    /// Every condition; the process is ready when all hold.
    fn checks(&self) -> Vec<Check>;
}

/// What the endpoint shows.
#[derive(Clone)]
pub struct AdminState {
    /// Behind `/readyz`.
    pub readiness: Arc<dyn Readiness>,
    /// Behind `/metrics`.
    pub metrics: Metrics,
    /// Behind the commands.
    pub operator: Arc<dyn Operator>,
}

/// Most connections at once; more are closed unanswered.
const MAX_CONNECTIONS: usize = 64;
/// Most bytes of a request's head (hyper's least is 8 KiB).
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most header lines.
const MAX_HEADERS: usize = 64;
/// Pause after a failed accept (too many open files), in the hope that some are closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take.
#[derive(Clone, Copy)]
struct Patience {
    /// To send its request's head.
    header: Duration,
    /// For the whole connection, answer included.
    connection: Duration,
}

const PATIENCE: Patience = Patience { header: Duration::from_secs(5), connection: Duration::from_secs(15) };

/// Takes the address: an error here belongs to start-up.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    TcpListener::bind(address).await.map_err(|cause| AdminError::Bind { address, cause })
}

/// Serves until `shutdown` completes; connections open then are given up.
pub async fn serve(listener: TcpListener, state: AdminState, shutdown: impl Future<Output = ()>) {
    serve_with(listener, state, shutdown, PATIENCE).await;
}

async fn serve_with(listener: TcpListener, state: AdminState, shutdown: impl Future<Output = ()>, patience: Patience) {
    if let Ok(address) = listener.local_addr() {
        info!(%address, "admin endpoint ready");
    }
    let mut connections = tokio::task::JoinSet::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut shutdown => return,
            // Reaps what has ended; an empty set is disabled by the pattern.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "admin endpoint cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            debug!("admin endpoint is full, connection closed");
            continue;
        };
        let state = state.clone();
        connections.spawn(async move {
            let _place = place;
            if timeout(patience.connection, converse(stream, peer, state, patience.header)).await.is_err() {
                debug!("admin connection took too long");
            }
        });
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, state: AdminState, header_time: Duration) {
    let state = &state;
    let service = service_fn(|request: Request<Incoming>| async move {
        let (method, uri) = (request.method(), request.uri());
        let answer = match command::answer(method, uri, request.headers(), peer, &*state.operator).await {
            Some(answer) => answer,
            None => page(method, uri.path(), state),
        };
        Ok::<_, Infallible>(answer.into_response())
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "admin connection ended");
    }
}

/// What a request of monitoring gets. Bodies of requests are never read.
fn page(method: &Method, path: &str, state: &AdminState) -> Answer {
    let page: fn(&AdminState) -> Answer = match path {
        "/healthz" => |_| Answer::text("ok\n"),
        "/readyz" => |state| Answer::readiness(state.readiness.checks()),
        "/metrics" => |state| Answer::metrics(state.metrics.render()),
        _ => return Answer::not_found(),
    };
    match *method {
        Method::GET | Method::HEAD => page(state),
        _ => Answer::method_not_allowed(),
    }
}

#[cfg(test)]
mod tests;
