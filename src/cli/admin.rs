//! `pgbelay admin`: gives an operator's command to the proxy that runs on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::ConfigArg;
use crate::config::{self, Secret};

/// Arguments of `pgbelay admin`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// What to do
    command: Word,
    /// The database tier, such as app:prod, or * for all; for kill-client the id that `clients` shows
    target: Option<String>,
    /// Returns from a pause, a kill or a reconnect without waiting for the connections to end
    #[arg(long)]
    no_wait: bool,
    /// Longest wait for the connections to end, in seconds; the command stays in force when it is over
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

const AFTER_HELP: &str = "\
Address and token come from [admin] of the configuration: set token_file or token_env there.

  pause        lets transactions end, closes the connections to the server; clients wait
  resume       ends a pause
  reconnect    closes connections once they are given back, and opens new ones
  kill         pauses, and ends all sessions now
  kill-client  ends one session
  disable      takes no new clients          enable   takes them again
  reload       as SIGHUP                     shutdown as SIGTERM
  pools, clients, servers                    show what there is, as JSON

Examples:
  pgbelay admin pause app:prod && systemctl restart postgresql && pgbelay admin resume app:prod
  pgbelay admin clients | jq '.clients[] | select(.pins != [])'
  pgbelay admin kill-client 18f2a-7

Exit status: 0 done; 1 it was refused, or connections are left after --timeout.";

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Pause,
    Resume,
    Reconnect,
    Kill,
    KillClient,
    Disable,
    Enable,
    Reload,
    Shutdown,
    Pools,
    Clients,
    Servers,
}

impl Word {
    fn is_view(self) -> bool {
        matches!(self, Word::Pools | Word::Clients | Word::Servers)
    }

    /// Whether it is done when the server has no connection any more.
    fn empties_the_pool(self) -> bool {
        matches!(self, Word::Pause | Word::Kill)
    }

    fn path(self) -> &'static str {
        match self {
            Word::Pause => "/pause",
            Word::Resume => "/resume",
            Word::Reconnect => "/reconnect",
            Word::Kill => "/kill",
            Word::KillClient => "/kill-client",
            Word::Disable => "/disable",
            Word::Enable => "/enable",
            Word::Reload => "/reload",
            Word::Shutdown => "/shutdown",
            Word::Pools => "/pools",
            Word::Clients => "/clients",
            Word::Servers => "/servers",
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(give(&args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

async fn give(args: &Args) -> Result<(), Failure> {
    let admin = config::load_admin(&args.config.config)?.ok_or("the configuration has no [admin]")?;
    let token = admin.token.ok_or("[admin] has no token: set token_file or token_env, and reload")?;
    let endpoint = Endpoint { address: on_this_machine(admin.address), token };
    let name = if args.command == Word::KillClient { "id" } else { "target" };
    let path = match &args.target {
        Some(target) => format!("{}?{name}={}", args.command.path(), utf8_percent_encode(target, NON_ALPHANUMERIC)),
        None => args.command.path().to_owned(),
    };
    let method = if args.command.is_view() { Method::GET } else { Method::POST };
    let answer = endpoint.ask(method, &path).await?;
    if !args.command.empties_the_pool() || args.no_wait {
        println!("{answer:#}");
        return Ok(());
    }
    let targets: Vec<String> = pools(&answer).filter_map(|pool| Some(pool["target"].as_str()?.to_owned())).collect();
    let pools = endpoint.wait_until_empty(&targets, Duration::from_secs(args.timeout)).await?;
    println!("{:#}", serde_json::json!({ "done": answer["done"], "pools": pools }));
    Ok(())
}

/// An endpoint that listens on all addresses is asked over loopback: it takes commands from nowhere else.
fn on_this_machine(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

struct Endpoint {
    address: SocketAddr,
    token: Secret,
}

impl Endpoint {
    async fn ask(&self, method: Method, path: &str) -> Result<Value, Failure> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| format!("cannot reach the proxy's [admin] address {}: {error}", self.address))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driven = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        driven.abort();
        let text = String::from_utf8_lossy(&body);
        if status == StatusCode::OK {
            return Ok(serde_json::from_str(&text)?);
        }
        let told = serde_json::from_str::<Value>(&text).ok().and_then(|v| Some(v["error"].as_str()?.to_owned()));
        Err(told.unwrap_or_else(|| text.trim_end().to_owned()).into())
    }

    /// Asks until these have no connection to the server any more; returns their pools.
    async fn wait_until_empty(&self, targets: &[String], patience: Duration) -> Result<Vec<Value>, Failure> {
        const PAUSE: Duration = Duration::from_millis(100);
        let until = Instant::now() + patience;
        loop {
            let answer = self.ask(Method::GET, "/pools").await?;
            let asked = |pool: &&Value| targets.iter().any(|target| pool["target"] == target.as_str());
            let found: Vec<Value> = pools(&answer).filter(asked).cloned().collect();
            let left: u64 = found.iter().map(open).sum();
            if left == 0 {
                return Ok(found);
            }
            if Instant::now() >= until {
                return Err(format!(
                    "it is in force, but {left} connections are still in use; `pgbelay admin clients` shows by whom"
                )
                .into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn pools(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["pools"].as_array().into_iter().flatten()
}

fn open(pool: &Value) -> u64 {
    let own = pool["own"].as_array().into_iter().flatten();
    [&pool["primary"], &pool["replicas"]].into_iter().chain(own).filter_map(|part| part["open"].as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_on_all_addresses_is_asked_on_loopback() {
        let asked = |address: &str| on_this_machine(address.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9632"), "127.0.0.1:9632");
        assert_eq!(asked("[::]:9632"), "[::1]:9632");
        assert_eq!(asked("127.0.0.2:9632"), "127.0.0.2:9632");
    }
}
