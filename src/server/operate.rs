//! What operators ask of the process while it runs (docs/operations.md, "Commands").

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{Server, TargetRuntime};
use crate::admin::{Allowance, Command, Operator, Refusal, Scope, View};
use crate::audit::{Event, Record};
use crate::session::{Control, Order};
use crate::upstream::{Pool, ServerRole};

/// The process, as operators see it.
#[derive(Debug)]
pub struct ServerOperator(pub Arc<Server>);

impl Operator for ServerOperator {
    fn allows(&self, token: &str, by: SocketAddr) -> Allowance {
        let runtime = self.0.runtime();
        let Some(known) = runtime.config.admin.as_ref().and_then(|admin| admin.token.as_ref()) else {
            return Allowance::Off;
        };
        // Hashes are compared, whole, so that the time taken tells nothing of the token.
        let (known, given) = (digest(&SHA256, known.expose().as_bytes()), digest(&SHA256, token.as_bytes()));
        if known.as_ref().iter().zip(given.as_ref()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0 {
            return Allowance::Granted;
        }
        tracing::warn!(%by, "admin command without the right token");
        self.0.record(order_record(format!("admin.refused: without the right token, by {by}")));
        Allowance::Wrong
    }

    fn view(&self, view: View) -> Value {
        let server = &self.0;
        match view {
            View::Pools => {
                json!({ "pools": server.targets(&Scope::All).iter().map(|t| pool_view(server, t)).collect::<Vec<_>>() })
            }
            View::Clients => {
                json!({ "clients": server.sessions.all().iter().map(|c| client_view(c)).collect::<Vec<_>>() })
            }
            View::Servers => json!({ "servers": server_views(server) }),
        }
    }

    fn run(&self, command: Command, by: SocketAddr) -> Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send>> {
        let server = Arc::clone(&self.0);
        Box::pin(async move { server.operate(command, by).await })
    }
}

impl Server {
    /// Does what an operator asks, once it is on record.
    async fn operate(self: Arc<Self>, command: Command, by: SocketAddr) -> Result<Value, Refusal> {
        let (word, scope) = match &command {
            Command::Pause(scope) => ("pause", Some(scope)),
            Command::Resume(scope) => ("resume", Some(scope)),
            Command::Reconnect(scope) => ("reconnect", Some(scope)),
            Command::Kill(scope) => ("kill", Some(scope)),
            Command::Disable(scope) => ("disable", Some(scope)),
            Command::Enable(scope) => ("enable", Some(scope)),
            Command::KillClient(_) => ("kill-client", None),
            Command::Reload => ("reload", None),
            Command::Shutdown => ("shutdown", None),
        };
        let targets = scope.map(|scope| self.find(scope)).transpose()?.unwrap_or_default();
        let client = match &command {
            Command::KillClient(id) => Some(self.client(id)?),
            _ => None,
        };
        let of: Vec<&str> = match &client {
            Some(client) => vec![&client.context.id],
            None => targets.iter().map(|target| target.name.as_str()).collect(),
        };
        let of = if of.is_empty() { String::new() } else { format!("{}, ", of.join(" ")) };
        let record = order_record(format!("admin.{word}: {of}by {by}"));
        self.audit.commit(record).await.map_err(|error| Refusal::NotAudited(error.to_string()))?;
        tracing::info!(%by, "admin {word}: {of}");

        match command {
            Command::Pause(_) => self.pause(&targets),
            Command::Resume(_) => targets.iter().for_each(|target| target.pause.set(false)),
            Command::Reconnect(_) => targets.iter().for_each(|target| target.reconnect()),
            Command::Kill(_) => {
                self.pause(&targets);
                self.sessions_of(&targets).iter().for_each(|control| control.order(Order::Kill));
            }
            Command::KillClient(_) => client.iter().for_each(|control| control.order(Order::Kill)),
            Command::Disable(_) => targets.iter().for_each(|t| t.is_disabled.store(true, Ordering::Release)),
            Command::Enable(_) => targets.iter().for_each(|t| t.is_disabled.store(false, Ordering::Release)),
            Command::Reload => {
                let server = Arc::clone(&self);
                // Reads files; not on a thread that serves clients.
                let loaded = tokio::task::spawn_blocking(move || server.reload()).await;
                loaded.map_err(|e| Refusal::Failed(e.to_string()))?.map_err(|e| Refusal::Failed(e.to_string()))?;
            }
            Command::Shutdown => self.shut_down(),
        }
        Ok(match &client {
            Some(client) => json!({ "done": word, "client": client.context.id }),
            None if targets.is_empty() => json!({ "done": word }),
            None => {
                let pools: Vec<Value> = targets.iter().map(|target| pool_view(&self, target)).collect();
                json!({ "done": word, "pools": pools })
            }
        })
    }

    /// Closes idle connections; sessions that could give theirs back are woken to do it.
    fn pause(&self, targets: &[Arc<TargetRuntime>]) {
        for target in targets {
            target.pause.set(true);
            target.reconnect();
        }
        self.sessions_of(targets).iter().for_each(|control| control.wake());
    }

    fn find(&self, scope: &Scope) -> Result<Vec<Arc<TargetRuntime>>, Refusal> {
        let found = self.targets(scope);
        match scope {
            Scope::One(name) if found.is_empty() => {
                let known: Vec<String> = self.targets(&Scope::All).iter().map(|target| target.name.clone()).collect();
                Err(Refusal::Unknown(format!("there is no \"{name}\"; there are {}", known.join(", "))))
            }
            Scope::All | Scope::One(_) => Ok(found),
        }
    }

    /// In the order of their names.
    fn targets(&self, scope: &Scope) -> Vec<Arc<TargetRuntime>> {
        let runtime = self.runtime();
        match scope {
            Scope::All => runtime.targets.values().cloned().collect(),
            Scope::One(name) => {
                runtime.config.target(name).ok().and_then(|target| runtime.target(&target)).into_iter().collect()
            }
        }
    }

    fn client(&self, id: &str) -> Result<Arc<Control>, Refusal> {
        let found = self.sessions.all().into_iter().find(|control| control.context.id == id);
        found.ok_or_else(|| Refusal::Unknown(format!("there is no client \"{id}\"; /clients lists them")))
    }

    fn sessions_of(&self, targets: &[Arc<TargetRuntime>]) -> Vec<Arc<Control>> {
        let is_of = |control: &Control, target: &TargetRuntime| {
            control.context.database == target.target.database && control.context.tier == Some(target.target.tier)
        };
        let all = self.sessions.all().into_iter();
        all.filter(|control| targets.iter().any(|target| is_of(control, target))).collect()
    }
}

fn order_record(message: String) -> Record {
    Record { message: Some(message), ..Record::new(Event::Admin) }
}

fn pool_view(server: &Server, target: &Arc<TargetRuntime>) -> Value {
    let now = |pool: &Arc<Pool>| {
        let usage = pool.usage();
        let host = |host: crate::upstream::HostView| json!({ "host": host.host, "role": host.role.map(ServerRole::as_str), "open": host.open });
        json!({
            "max": usage.max,
            "open": usage.open,
            "idle": usage.idle,
            "in_use": usage.open.saturating_sub(usage.idle),
            "waiting": usage.waiting,
            "trouble": pool.trouble(),
            "hosts": pool.endpoint.hosts().into_iter().map(host).collect::<Vec<_>>(),
        })
    };
    let own_view = |own: &Arc<TargetRuntime>| {
        let mut view = now(&own.pool);
        view["user"] = own.pool.endpoint.pass_through().map(|own| own.user.as_str()).into();
        view
    };
    json!({
        "target": target.name,
        "paused": target.pause.is_on(),
        "disabled": target.is_disabled(),
        "clients": server.sessions_of(std::slice::from_ref(target)).len(),
        "primary": now(&target.pool),
        "replicas": target.replicas.as_ref().map(|replicas| now(&replicas.pool)),
        "own": target.own_pools.all().iter().map(own_view).collect::<Vec<_>>(),
    })
}

fn client_view(control: &Control) -> Value {
    let context = &control.context;
    let backend = control.cancel.backend();
    json!({
        "id": context.id,
        "user": context.user,
        "role": context.role.map(|role| role.as_str()),
        "target": context.tier.map(|tier| format!("{}:{tier}", context.database)),
        "client": context.client.map(|address| address.to_string()),
        "application_name": context.application_name,
        "tls": context.tls,
        "pins": control.pins(),
        "server": backend.map(|(host, pid)| json!({ "host": host, "pid": pid })),
    })
}

/// Connections that clients hold, then those that nobody uses.
fn server_views(server: &Server) -> Vec<Value> {
    let mut views = vec![];
    for control in server.sessions.all() {
        if let Some((host, pid)) = control.cancel.backend() {
            let target = control.context.tier.map(|tier| format!("{}:{tier}", control.context.database));
            views.push(json!({ "target": target, "host": host, "pid": pid, "client": control.context.id }));
        }
    }
    for target in server.targets(&Scope::All) {
        for idle in target.pools().iter().flat_map(|pool| pool.idle_connections()) {
            views.push(json!({
                "target": target.name,
                "host": idle.host,
                "pid": idle.pid,
                "client": null,
                "age_seconds": idle.age.as_secs(),
                "idle_seconds": idle.idle.as_secs(),
            }));
        }
    }
    views
}
