//! `pgbelay check --connect`: logs in to each upstream once.

use std::sync::Arc;

use crate::config::Config;
use crate::upstream::Endpoint;

/// Logs in to every upstream of the configuration, at the same time; one line each, in the order of the configuration.
/// Returns the report and whether all of them worked.
pub(super) fn connect_all(config: &Config) -> std::io::Result<(String, bool)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let attempts: Vec<_> = config
            .databases
            .values()
            .flat_map(|database| database.targets.values())
            .map(|target| {
                let target = Arc::clone(target);
                (target.name(), tokio::spawn(async move { log_in(target).await }))
            })
            .collect();
        let mut report = String::new();
        let mut all = true;
        for (name, attempt) in attempts {
            let outcome = attempt.await.unwrap_or_else(|e| Err(e.to_string()));
            all &= outcome.is_ok();
            let text = match outcome {
                Ok(text) => text,
                Err(text) => format!("FAILED: {text}"),
            };
            report.push_str(&format!("  {name:<20} {text}\n"));
        }
        (report, all)
    }))
}

async fn log_in(target: Arc<crate::config::Target>) -> Result<String, String> {
    let endpoint = Arc::new(Endpoint::new(target).map_err(|e| e.to_string())?);
    let connection = endpoint.connect().await.map_err(|e| e.to_string())?;
    let parameter = |name| connection.link.parameters.get(name).unwrap_or("unknown").to_owned();
    let superuser = match connection.link.parameters.get("is_superuser") {
        Some("on") => "; WARNING: the role is a superuser, which no read-only transaction or grant holds back",
        _ => "",
    };
    let encrypted = match connection.stream {
        crate::stream::Stream::TlsClient(_) => "TLS",
        crate::stream::Stream::Unix(_) => "Unix socket",
        crate::stream::Stream::Plain(_) | crate::stream::Stream::TlsServer(_) => "not encrypted",
    };
    Ok(format!("ok: Postgres {}, {encrypted}{superuser}", parameter("server_version")))
}
