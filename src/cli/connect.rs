//! `pgbelay check --connect`: logs in to each host of each upstream once.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::config::{Config, Target};
use crate::stream::Stream;
use crate::upstream::{ConnectError, Connection, Endpoint};

/// Logs in to every upstream of the configuration, at the same time; in the order of the configuration. Returns the report
/// and whether each database has a host that will do.
pub(super) fn connect_all(config: &Config) -> std::io::Result<(String, bool)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let targets = config.databases.values().flat_map(|database| database.targets.values());
        let attempts: Vec<_> = targets
            .flat_map(|target| {
                let replicas = target.replicas.as_ref().map(|replicas| &replicas.target);
                let named = |(name, target): (String, &Arc<Target>)| {
                    let target = Arc::clone(target);
                    (name, tokio::spawn(async move { log_in(target).await }))
                };
                let with_replicas = replicas.map(|replicas| (format!("{} replicas", target.name()), replicas));
                [Some((target.name(), target)), with_replicas].into_iter().flatten().map(named).collect::<Vec<_>>()
            })
            .collect();
        let mut report = String::new();
        let mut all = true;
        for (name, attempt) in attempts {
            let (text, is_usable) = attempt.await.unwrap_or_else(|e| (format!("FAILED: {e}\n"), false));
            all &= is_usable;
            // Writing to a String cannot fail.
            let _ = write!(report, "  {name:<20} {text}");
        }
        (report, all)
    }))
}

/// What is said of one upstream, in one line, or one more for each of several hosts; and whether one of them will do.
async fn log_in(target: Arc<Target>) -> (String, bool) {
    let endpoint = match Endpoint::new(target) {
        Ok(endpoint) => Arc::new(endpoint),
        Err(error) => return (format!("FAILED: {error}\n"), false),
    };
    let hosts = &endpoint.target.hosts;
    let mut lines = vec![];
    for host in 0..hosts.len() {
        lines.push(match endpoint.connect_to(host).await {
            Ok(connection) => (true, format!("ok: {}", describe(&connection))),
            Err(ConnectError::Unsuitable { found, wanted, .. }) => {
                (false, format!("not used: {found}, and target_session_attrs={wanted}"))
            }
            Err(error) => (false, format!("FAILED: {error}")),
        });
    }
    let is_usable = lines.iter().any(|(is_usable, _)| *is_usable);
    if let [(_, only)] = lines.as_slice() {
        return (format!("{only}\n"), is_usable);
    }
    let outcome = if is_usable { "ok" } else { "FAILED: none of its hosts will do" };
    let each = hosts.iter().zip(&lines).map(|(host, (_, line))| format!("    {:<24} {line}\n", host.to_string()));
    (format!("{outcome}\n{}", each.collect::<String>()), is_usable)
}

fn describe(connection: &Connection) -> String {
    let version = connection.link.parameters.get("server_version").unwrap_or("unknown");
    let role = connection.role.map_or(String::new(), |role| format!("{}, ", role.as_str()));
    let superuser = match connection.link.parameters.get("is_superuser") {
        Some("on") => "; WARNING: the role is a superuser, which no read-only transaction or grant holds back",
        _ => "",
    };
    let encrypted = match connection.stream {
        Stream::TlsClient(_) => "TLS",
        Stream::Unix(_) => "Unix socket",
        Stream::Plain(_) | Stream::TlsServer(_) => "not encrypted",
    };
    format!("Postgres {version}, {role}{encrypted}{superuser}")
}
