//! `pgbelay run`: the proxy itself.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::admin::{self, AdminState};
use crate::cli::ConfigArg;
use crate::listener::Bound;
use crate::server::{Server, ServerOperator, ServerReadiness};
use crate::session::{Order, Sessions};
use crate::systemd::{Sockets, State};
use crate::telemetry::{self, LogFormat};
use crate::{config, listener, systemd};

/// Arguments of `pgbelay run`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Threads that serve clients; as many as there are processors unless given
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
}

const AFTER_HELP: &str = "\
Signals: SIGTERM and SIGINT stop gracefully (a second one at once), SIGHUP loads the configuration again.
Logs go to standard error; PGBELAY_LOG sets the level, PGBELAY_LOG_FORMAT=json the format.

Examples:
  pgbelay run --config config/pgbelay.toml
  PGBELAY_LOG=debug pgbelay run

Exit status: 0 stopped as asked; 1 it could not start.";

/// Runs the proxy until it is stopped.
pub fn run(args: Args) -> ExitCode {
    let started = start(&args);
    match started {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgbelay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    telemetry::init(LogFormat::from_env()?)?;
    let config = config::load(&args.config.config)?;
    let (address, admin_address) = (config.listen.address, config.admin.as_ref().map(|admin| admin.address));
    // Before there is any thread.
    let sockets = Sockets::take(address, admin_address)?;
    let metrics = telemetry::install_metrics()?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        builder.worker_threads(threads.get());
    }
    let runtime = builder.enable_all().build()?;
    runtime.block_on(async {
        // Both addresses are taken before anything else, so that a second process fails at once. Nobody can connect before the
        // audit trail is open: a process that cannot have it must not turn clients away from one that has.
        let bound = match sockets.listen {
            Some(socket) => Bound::Inherited(socket),
            None => listener::bind(address, config.listen.reuse_port).map_err(|e| cannot_listen(address, &e))?,
        };
        let admin = match (sockets.admin, admin_address) {
            (Some(socket), _) => Some(tokio::net::TcpListener::from_std(socket)?),
            (None, Some(address)) => Some(admin::bind(address).await?),
            (None, None) => None,
        };
        let server = Server::new(config)?;
        let listener = bound.listen().map_err(|e| cannot_listen(address, &e))?;
        let address = listener.address().unwrap_or(address);
        let mut signals = Signals::new()?;
        tokio::spawn(Arc::clone(&server).keep_time());
        tokio::spawn(Arc::clone(&server).maintain());
        if let Some(admin) = admin {
            let state = AdminState {
                readiness: Arc::new(ServerReadiness(Arc::clone(&server))),
                metrics,
                operator: Arc::new(ServerOperator(Arc::clone(&server))),
            };
            let server = Arc::clone(&server);
            tokio::spawn(async move { admin::serve(admin, state, server.stopped()).await });
        }
        let accepting = tokio::spawn(listener::accept(Arc::clone(&server), listener));
        tracing::info!(%address, "listening on {address}");
        tokio::spawn(systemd::feed_watchdog());
        systemd::notify(State::Ready);

        signals.serve(&server).await;
        systemd::notify(State::Stopping);
        stop(&server, accepting, &mut signals).await;
        Ok(())
    })
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> String {
    format!("cannot listen on [listen] address {address}: {error}")
}

/// Lets sessions finish, then ends them, then closes the audit trail.
async fn stop(server: &Arc<Server>, accepting: JoinHandle<()>, signals: &mut Signals) {
    let drain = server.runtime().config.drain;
    tracing::info!(sessions = server.sessions.count(), ?drain, "stopping");
    server.drain();
    let finished = async {
        // The last clients are let in.
        let _closed = accepting.await;
        let mut tick = tokio::time::interval(Sessions::TICK);
        while server.is_busy() {
            tick.tick().await;
            server.drain();
        }
    };
    tokio::select! {
        () = finished => {}
        () = tokio::time::sleep(drain) => tracing::warn!("drain time is over"),
        () = signals.stop() => tracing::warn!("stopping at once"),
    }
    server.sessions.order_all(Order::Kill);
    let killed = async {
        let mut tick = tokio::time::interval(Sessions::TICK);
        while server.sessions.count() > 0 {
            tick.tick().await;
        }
    };
    let _killed = tokio::time::timeout(std::time::Duration::from_secs(6), killed).await;
    server.stop();
    if let Err(error) = server.audit.close().await {
        tracing::error!(%error, "audit trail could not be closed");
    }
    tracing::info!("stopped");
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Loads the configuration again on SIGHUP, until a signal asks to stop.
    async fn serve(&mut self, server: &Arc<Server>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = server.shutdown_asked() => return,
                _ = self.hangup.recv() => {
                    systemd::notify(State::Reloading);
                    let server = Arc::clone(server);
                    // Reads files; not on a thread that serves clients.
                    let loaded = tokio::task::spawn_blocking(move || server.reload()).await;
                    if let Ok(Err(error)) = loaded {
                        tracing::error!("configuration not loaded again, the old one stays: {error}");
                    }
                    systemd::notify(State::Ready);
                }
            }
        }
    }

    /// Resolves on the next signal that asks to stop. Cancel safe.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
