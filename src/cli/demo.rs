//! `pgbelay demo`: a private Postgres cluster with three tiers, the proxy in front of it, and a tour that checks each thing
//! it shows.

mod screen;
mod site;
mod tour;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Tier;
use crate::dev::ClusterError;
use screen::Screen;
use site::{Site, User};

/// Arguments of `pgbelay demo`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Leave everything running after the tour, until Ctrl-C, and print how to connect
    #[arg(long)]
    stay: bool,
}

const AFTER_HELP: &str = "\
Makes a Postgres cluster in a temporary folder, with the same small schema in three databases (int, stg
and prod), starts the proxy in front of it, and shows with psql a read, a write, and what becomes of a
DELETE without WHERE. Needs the Postgres server programs (Debian: postgresql); PGBELAY_PG_BIN names their
folder where they are not found. Everything is stopped and removed at the end.

Examples:
  pgbelay demo
  pgbelay demo --stay

Exit status: 0 everything was as the tour says; 1 something was not; 130 interrupted.";

/// Why the demo ended early.
#[derive(Debug, Error)]
enum DemoError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("cannot {doing}: {cause}")]
    Io { doing: String, cause: io::Error },
    #[error("the proxy did not get ready: {why}\n{log}")]
    NotReady { why: String, log: String },
    #[error("the proxy ended by itself\n{log}")]
    ProxyEnded { log: String },
    #[error("this did not do what it should: {why}\n{log}")]
    Wrong { why: String, log: String },
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |cause| DemoError::Io { doing, cause }
    }

    fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{doing} {}", path.display()))
    }
}

/// Runs the command: 0 when all went as it should, 1 when something did not, 130 on Ctrl-C before the end of the tour.
pub fn run(args: Args) -> ExitCode {
    match demonstrate(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(DemoError::Interrupted) => ExitCode::from(130),
        Err(error) => {
            // The terminal may be gone.
            let _ = writeln!(io::stderr(), "pgbelay demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(args: &Args) -> Result<(), DemoError> {
    let interrupt = Interrupt::listen().map_err(DemoError::io("listen for signals"))?;
    // Ctrl-C reaches the programs that run just then as well; that they failed is no news.
    show(args, &interrupt)
        .map_err(|error| if interrupt.within(Duration::from_millis(100)) { DemoError::Interrupted } else { error })
}

fn show(args: &Args, interrupt: &Interrupt) -> Result<(), DemoError> {
    let mut screen = Screen::stdout();
    screen.line("Starting a private Postgres and the proxy …")?;
    let mut site = Site::build(interrupt)?;
    tour::lead(&mut screen, &site, interrupt)?;
    if args.stay {
        invite(&mut screen, &site)?;
        while !interrupt.within(Duration::from_millis(500)) {
            site.check_alive()?;
        }
        screen.line("\nStopping.")?;
    }
    Ok(())
}

/// Tells how to connect while the demo stays up.
fn invite(screen: &mut Screen, site: &Site) -> Result<(), DemoError> {
    screen.title("Your turn: everything stays up until Ctrl-C")?;
    for tier in Tier::ALL {
        let url = site.url(User::Alice, tier, true);
        let reason = if tier == Tier::Prod { "PGOPTIONS='-c pgbelay.reason=demo' " } else { "" };
        screen.line(&format!("\n  {tier} ({}), as the engineer alice and as the service app", tier.colour()))?;
        screen.line(&format!("    {reason}psql '{url}'"))?;
        screen.line(&format!("    DATABASE_URL={}", site.url(User::App, tier, true)))?;
    }
    screen.line(&format!("\n  audit trail   {}", site.audit_file().display()))?;
    screen.line(&format!("  configuration {}", site.config_file().display()))?;
    screen.line(&format!("  metrics       http://{}/metrics", site.admin_address()))
}

/// Ctrl-C, SIGTERM and the end of the terminal, turned into something to ask for: the cluster and the proxy must be stopped
/// before the process ends.
struct Interrupt(Receiver<()>);

impl Interrupt {
    fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut int, mut term, mut hup) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
        };
        let (tell, told) = channel();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = int.recv() => {}
                        _ = term.recv() => {}
                        _ = hup.recv() => {}
                    }
                    if tell.send(()).is_err() {
                        return;
                    }
                }
            });
        })?;
        Ok(Self(told))
    }

    /// Waits for as long as `time`; true as soon as a signal has come.
    fn within(&self, time: Duration) -> bool {
        match self.0.recv_timeout(time) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        }
    }

    /// An error once a signal has come.
    fn check(&self) -> Result<(), DemoError> {
        if self.within(Duration::ZERO) { Err(DemoError::Interrupted) } else { Ok(()) }
    }
}

/// This program, to be run as the proxy and for the audit commands.
fn own_program() -> Result<PathBuf, DemoError> {
    std::env::current_exe().map_err(DemoError::io("find this program"))
}
