//! Whether the process can do its work, as `/readyz` tells.

use std::sync::Arc;

use super::Server;
use crate::admin::{Check, Readiness};

/// What `/readyz` asks.
#[derive(Debug)]
pub struct ServerReadiness(pub Arc<Server>);

impl Readiness for ServerReadiness {
    fn checks(&self) -> Vec<Check> {
        let server = &self.0;
        let check = |name: String, ok: bool, detail: String| Check { name, ok, detail };
        let mut checks = vec![
            check(
                "accepting".to_owned(),
                !server.is_draining(),
                if server.is_draining() { "stopping" } else { "accepting sessions" }.to_owned(),
            ),
            check(
                "audit".to_owned(),
                server.audit.is_healthy(),
                if server.audit.is_healthy() { "written" } else { "cannot be written" }.to_owned(),
            ),
        ];
        for target in server.runtime().targets.values() {
            // What an operator has paused is meant to be waited for: no reason to send clients elsewhere.
            let is_paused = target.pause.is_on();
            let is_reachable = is_paused || target.pool.trouble().is_none();
            let detail = match (is_paused, is_reachable) {
                (true, _) => "paused",
                (false, true) => "reachable",
                (false, false) => "not reachable",
            };
            checks.push(check(
                format!("database {}", target.name),
                is_reachable,
                format!("{detail}: {}", target.hosts()),
            ));
        }
        checks
    }
}
