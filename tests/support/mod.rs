//! A private Postgres with the proxy in front, for the tests that use a Rust driver.

use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgbelay::config::scram_verifier;
use pgbelay::dev::{Cluster, ClusterOptions, free_port};

/// A running proxy and its database; both go when it is dropped.
pub(crate) struct Proxy {
    _cluster: Cluster,
    port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

const PASSWORD: &str = "secret";

impl Proxy {
    /// `pool_max` connections for each tier of database `app`.
    pub(crate) fn start(pool_max: u32) -> Self {
        let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
        cluster.create_role("app", PASSWORD, "").unwrap();
        for tier in ["int", "prod"] {
            cluster.create_database(&format!("app_{tier}"), "app").unwrap();
            let sql = "CREATE TABLE items (id int PRIMARY KEY, name text);
                       INSERT INTO items SELECT i, 'item ' || i FROM generate_series(1, 100) i;
                       ALTER TABLE items OWNER TO app";
            cluster.sql(&format!("app_{tier}"), sql).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let (port, admin) = (free_port().unwrap(), free_port().unwrap());
        let verifier = scram_verifier(PASSWORD);
        let verifier = verifier.expose();
        let upstream = cluster.port();
        let config = format!(
            r#"
[listen]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:{admin}"
[audit]
path = "audit.jsonl"
[databases.app]
default_tier = "int"
int = {{ url = "postgres://app@127.0.0.1:{upstream}/app_int", password_env = "TEST_PASSWORD" }}
prod = {{ url = "postgres://app@127.0.0.1:{upstream}/app_prod", password_env = "TEST_PASSWORD" }}
[tiers.int]
pool = {{ min = 1, max = {pool_max}, wait = "5s" }}
[tiers.prod]
pool = {{ min = 1, max = {pool_max}, wait = "5s" }}
max_rows_written = 10
[users.service]
role = "service"
password = "{verifier}"
[users.alice]
role = "engineer"
password = "{verifier}"
"#
        );
        let file = folder.path().join("pgbelay.toml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pgbelay"))
            .args(["run", "--config"])
            .arg(&file)
            .env("TEST_PASSWORD", PASSWORD)
            .stderr(Stdio::from(std::fs::File::create(folder.path().join("log")).unwrap()))
            .spawn()
            .unwrap();
        let proxy = Self { _cluster: cluster, port, child, folder };
        proxy.wait_until_ready(admin);
        proxy
    }

    /// A connection string; `database` is `app` or `app:prod`.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user={user} password={PASSWORD} dbname={database} options='-c pgbelay.reason=TEST-1'",
            self.port
        )
    }

    /// The proxy's log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The audit trail.
    pub(crate) fn audit(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn wait_until_ready(&self, admin: u16) {
        use std::io::Write;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if let Ok(mut http) = TcpStream::connect(("127.0.0.1", admin)) {
                http.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
                let mut answer = String::new();
                let _read = http.read_to_string(&mut answer);
                if answer.starts_with("HTTP/1.1 200") {
                    return;
                }
            }
            // Nothing tells when a process begins to listen: it is asked again and again.
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the proxy is not ready:\n{}", self.log());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
        let log = self.log();
        if log.contains("panicked") && !std::thread::panicking() {
            panic!("the proxy panicked:\n{log}");
        }
    }
}
