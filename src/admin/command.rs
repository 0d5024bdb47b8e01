//! What operators can ask for besides the pages for monitoring: who may, what there is, and how it is written in a request.

use std::net::SocketAddr;
use std::pin::Pin;

use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::response::Answer;

/// Which database tiers a command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// The one of this name, as clients would connect to it.
    One(String),
}

/// What changes something. The words are PgBouncer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Uses no connection any more once the transactions that run have ended; clients wait.
    Pause(Scope),
    /// Ends a pause.
    Resume(Scope),
    /// Closes connections as soon as they are given back, idle ones at once.
    Reconnect(Scope),
    /// Pauses, and ends all sessions now.
    Kill(Scope),
    /// Ends one session, by its id.
    KillClient(String),
    /// Takes no new clients.
    Disable(Scope),
    /// Takes new clients again.
    Enable(Scope),
    /// Loads the configuration again.
    Reload,
    /// Stops the process, as SIGTERM does.
    Shutdown,
}

/// What is only looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The pools and how full they are.
    Pools,
    /// The clients' sessions.
    Clients,
    /// The connections to the servers.
    Servers,
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such database tier, or no such session.
    #[error("{0}")]
    Unknown(String),
    /// It was tried and failed; nothing has changed.
    #[error("{0}")]
    Failed(String),
    /// It cannot be recorded, so it is not done.
    #[error("not done, since the audit trail cannot be written: {0}")]
    NotAudited(String),
}

/// The process, as operators see it.
pub trait Operator: Send + Sync {
    /// Whether commands are taken at all, and this token may give them. A wrong one is recorded.
    fn allows(&self, token: &str, by: SocketAddr) -> Allowance;

    /// What there is now.
    fn view(&self, view: View) -> Value;

    /// Does it, and tells what has changed.
    fn run(&self, command: Command, by: SocketAddr) -> Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send>>;
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// No commands are taken: the configuration has no token.
    Off,
    /// It is the wrong one.
    Wrong,
    /// It is the right one.
    Granted,
}

/// What a path asks for.
enum Asked {
    View(View),
    Command(Result<Command, &'static str>),
}

/// Answers a request for something of this module; `None` when the path is none of its.
///
/// Commands, and views, which name clients, are for the machine itself and whoever has the token: it never crosses a network.
pub(super) async fn answer(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    peer: SocketAddr,
    operator: &dyn Operator,
) -> Option<Answer> {
    let asked = asked(uri)?;
    let wanted = match asked {
        Asked::View(_) => Method::GET,
        Asked::Command(_) => Method::POST,
    };
    if *method != wanted {
        return Some(Answer::only(wanted));
    }
    if !peer.ip().to_canonical().is_loopback() {
        return Some(Answer::forbidden("commands are taken from this machine only, over a loopback address\n"));
    }
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match operator.allows(token.unwrap_or_default(), peer) {
        Allowance::Off => {
            return Some(Answer::forbidden("no commands are taken; set token_file or token_env in [admin]\n"));
        }
        Allowance::Wrong => return Some(Answer::unauthorized()),
        Allowance::Granted => {}
    }
    Some(match asked {
        Asked::View(view) => Answer::json(hyper::StatusCode::OK, &operator.view(view)),
        Asked::Command(Err(missing)) => Answer::json(hyper::StatusCode::BAD_REQUEST, &json!({"error": missing})),
        Asked::Command(Ok(command)) => match operator.run(command, peer).await {
            Ok(done) => Answer::json(hyper::StatusCode::OK, &done),
            Err(refusal) => {
                let status = match refusal {
                    Refusal::Unknown(_) => hyper::StatusCode::NOT_FOUND,
                    Refusal::Failed(_) => hyper::StatusCode::CONFLICT,
                    Refusal::NotAudited(_) => hyper::StatusCode::SERVICE_UNAVAILABLE,
                };
                Answer::json(status, &json!({"error": refusal.to_string()}))
            }
        },
    })
}

fn asked(uri: &Uri) -> Option<Asked> {
    let parameter = |name: &str| {
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
        Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    let scope = || match parameter("target").as_deref() {
        None => None,
        Some("*") => Some(Scope::All),
        Some(name) => Some(Scope::One(name.to_owned())),
    };
    // What ends or refuses clients names its target: a forgotten one must not mean all.
    let named = || scope().ok_or("name a target, such as target=app:prod, or target=* for all");
    let or_all = || scope().unwrap_or(Scope::All);
    Some(Asked::Command(Ok(match uri.path() {
        "/pools" => return Some(Asked::View(View::Pools)),
        "/clients" => return Some(Asked::View(View::Clients)),
        "/servers" => return Some(Asked::View(View::Servers)),
        "/pause" => Command::Pause(or_all()),
        "/resume" => Command::Resume(or_all()),
        "/reconnect" => Command::Reconnect(or_all()),
        "/enable" => Command::Enable(or_all()),
        "/kill" => return Some(Asked::Command(named().map(Command::Kill))),
        "/disable" => return Some(Asked::Command(named().map(Command::Disable))),
        "/kill-client" => {
            let id = parameter("id").ok_or("name the client, as in id=18f2a-7; /clients lists them");
            return Some(Asked::Command(id.map(Command::KillClient)));
        }
        "/reload" => Command::Reload,
        "/shutdown" => Command::Shutdown,
        _ => return None,
    })))
}
