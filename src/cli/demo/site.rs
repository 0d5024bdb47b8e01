//! The demo's cluster and proxy: made together, gone together.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{DemoError, Interrupt, own_program};
use crate::config::{Tier, scram_verifier};
use crate::dev::{Cluster, ClusterOptions, free_port, random_password};

/// Our own schema: a small back office, with 5000 e-mail drafts.
const SCHEMA: &str = include_str!("schema.sql");
/// The role that owns the three databases and that the proxy logs in as.
const OWNER: &str = "app";
/// Carries that role's password to the proxy.
const OWNER_PASSWORD: &str = "PGBELAY_DEMO_DATABASE_PASSWORD";
/// How long the proxy may take to get ready.
const START_TIME: Duration = Duration::from_secs(30);
/// How long it may take to stop before it is killed.
const STOP_TIME: Duration = Duration::from_secs(5);
/// The ports of config/pgbelay.toml: nicer to read, if they are free.
const USUAL_PORTS: (u16, u16) = (6432, 9632);

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// A person: role `engineer`.
    Alice,
    /// An application: role `service`.
    App,
}

impl User {
    pub(super) fn name(self) -> &'static str {
        match self {
            User::Alice => "alice",
            User::App => "app",
        }
    }
}

/// Everything that runs. Dropped in the order of the fields: first the proxy, then what stands behind it.
pub(super) struct Site {
    proxy: Proxy,
    cluster: Cluster,
    folder: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
    passwords: Passwords,
}

struct Passwords {
    alice: String,
    app: String,
    owner: String,
}

impl Site {
    /// Makes the cluster, fills it, and starts the proxy; clients are accepted when this returns.
    pub(super) fn build(interrupt: &Interrupt) -> Result<Self, DemoError> {
        let password = || random_password().map_err(DemoError::io("make a password"));
        let passwords = Passwords { alice: password()?, app: password()?, owner: password()? };
        let cluster = Cluster::start(&ClusterOptions::default())?;
        interrupt.check()?;
        cluster.create_role(OWNER, &passwords.owner, "")?;
        for tier in Tier::ALL {
            let database = database_of(tier);
            cluster.create_database(&database, OWNER)?;
            cluster.sql(&database, &format!("SET ROLE {OWNER};\n{SCHEMA}"))?;
        }
        interrupt.check()?;

        let folder = tempfile::Builder::new().prefix("pgbelay-demo-").tempdir();
        let folder = folder.map_err(DemoError::io("make a temporary folder"))?;
        let (listen, admin) = addresses().map_err(DemoError::io("find free ports"))?;
        let config = configuration(cluster.port(), &passwords, listen, admin, &folder.path().join("audit.jsonl"));
        let config_file = folder.path().join("pgbelay.toml");
        fs::write(&config_file, config).map_err(DemoError::file("write", &config_file))?;
        let proxy = Proxy::start(&config_file, &passwords.owner)?;
        let mut site = Self { proxy, cluster, folder, listen, admin, passwords };
        site.wait_until_ready(interrupt)?;
        Ok(site)
    }

    fn wait_until_ready(&mut self, interrupt: &Interrupt) -> Result<(), DemoError> {
        let begin = Instant::now();
        loop {
            self.check_alive()?;
            let why = match get(self.admin, "/readyz") {
                Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => return Ok(()),
                Ok(answer) => answer,
                Err(error) => error.to_string(),
            };
            if begin.elapsed() > START_TIME {
                return Err(DemoError::NotReady { why, log: self.proxy.log() });
            }
            if interrupt.within(Duration::from_millis(50)) {
                return Err(DemoError::Interrupted);
            }
        }
    }

    /// An error when the proxy has ended.
    pub(super) fn check_alive(&mut self) -> Result<(), DemoError> {
        match self.proxy.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(DemoError::ProxyEnded { log: self.proxy.log() }),
            Err(cause) => Err(DemoError::Io { doing: "look at the proxy".to_owned(), cause }),
        }
    }

    /// A connection URL to the proxy.
    pub(super) fn url(&self, user: User, tier: Tier, with_password: bool) -> String {
        let password = if with_password { format!(":{}", self.password(user)) } else { String::new() };
        format!("postgres://{}{password}@{}/app:{tier}", user.name(), self.listen)
    }

    /// A psql that connects to the proxy, to be given more arguments.
    pub(super) fn psql(&self, user: User, tier: Tier) -> Command {
        let mut psql = Command::new(self.cluster.programs().path("psql"));
        // The person's own settings must not change what is shown.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                psql.env_remove(name);
            }
        }
        psql.env("PGPASSWORD", self.password(user)).env("PGCONNECT_TIMEOUT", "10");
        psql.arg("--no-psqlrc").arg(self.url(user, tier, false));
        psql
    }

    fn password(&self, user: User) -> &str {
        match user {
            User::Alice => &self.passwords.alice,
            User::App => &self.passwords.app,
        }
    }

    /// Asks the database itself, past the proxy.
    pub(super) fn ask_directly(&self, tier: Tier, sql: &str) -> Result<String, DemoError> {
        Ok(self.cluster.sql(&database_of(tier), sql)?.trim_end().to_owned())
    }

    /// The server's major version.
    pub(super) fn postgres_version(&self) -> u32 {
        self.cluster.programs().version()
    }

    pub(super) fn audit_file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.folder.path().join("pgbelay.toml")
    }

    pub(super) fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The end of the proxy's log, for an error message.
    pub(super) fn proxy_log(&self) -> String {
        self.proxy.log()
    }
}

fn database_of(tier: Tier) -> String {
    format!("app_{tier}")
}

fn addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (listen, admin) = (address(USUAL_PORTS.0), address(USUAL_PORTS.1));
    // Held together, so that they are two.
    let usual = (TcpListener::bind(listen), TcpListener::bind(admin));
    if let (Ok(_), Ok(_)) = usual {
        return Ok((listen, admin));
    }
    Ok((address(free_port()?), address(free_port()?)))
}

fn configuration(upstream: u16, passwords: &Passwords, listen: SocketAddr, admin: SocketAddr, audit: &Path) -> String {
    let mut text = format!(
        "[listen]\naddress = \"{listen}\"\n\n[admin]\naddress = \"{admin}\"\n\n[audit]\npath = {}\n\n\
         [databases.app]\ndefault_tier = \"int\"\n",
        toml::Value::from(audit.to_string_lossy().into_owned()),
    );
    for tier in Tier::ALL {
        let url = format!("postgres://{OWNER}@127.0.0.1:{upstream}/{}", database_of(tier));
        text.push_str(&format!("{tier} = {{ url = \"{url}\", password_env = \"{OWNER_PASSWORD}\" }}\n"));
    }
    for (user, role, password) in [(User::Alice, "engineer", &passwords.alice), (User::App, "service", &passwords.app)]
    {
        let verifier = scram_verifier(password);
        let verifier = verifier.expose();
        text.push_str(&format!("\n[users.{}]\nrole = \"{role}\"\npassword = \"{verifier}\"\n", user.name()));
    }
    text
}

/// The running proxy; dropping it stops it.
struct Proxy {
    child: Child,
    log_file: PathBuf,
}

impl Proxy {
    fn start(config: &Path, owner_password: &str) -> Result<Self, DemoError> {
        let log_file = config.with_file_name("pgbelay.log");
        let log = File::create(&log_file).map_err(DemoError::file("make", &log_file))?;
        let program = own_program()?;
        let mut command = Command::new(&program);
        command.arg("run").arg("--config").arg(config).env(OWNER_PASSWORD, owner_password);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // Ctrl-C is for the demo, which then stops the proxy in its turn.
        command.process_group(0);
        let child = command.spawn().map_err(DemoError::file("run", &program))?;
        Ok(Self { child, log_file })
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(&self.log_file).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.len().saturating_sub(20);
        format!("the end of its log:\n{}", lines[last..].join("\n"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked first: the id of a child that has ended may be another's by now.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // std can only kill; asking needs a signal, and a shell can always send one.
        let asked = Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &self.child.id().to_string()]).status();
        let begin = Instant::now();
        while asked.is_ok() && begin.elapsed() < STOP_TIME {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // It does not end; and there is nobody to tell that it cannot be killed either.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request; the answer as it comes.
fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Role};

    #[test]
    fn the_configuration_is_valid_and_has_the_defaults() {
        let passwords = Passwords { alice: "a".to_owned(), app: "b".to_owned(), owner: "c".to_owned() };
        let (listen, admin) = ("127.0.0.1:6432".parse().unwrap(), "127.0.0.1:9632".parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let text = configuration(54321, &passwords, listen, admin, &folder.path().join("audit \"x\".jsonl"));
        let env = |name: &str| (name == OWNER_PASSWORD).then(|| "c".to_owned());
        let loaded = config::parse(&text, &folder.path().join("pgbelay.toml"), &env).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let target = loaded.config.target("app:stg").unwrap();
        assert_eq!((target.hosts[0].port, target.dbname.as_str(), target.user.as_str()), (54321, "app_stg", OWNER));
        assert_eq!(loaded.config.target("app").unwrap().tier, Tier::Int);
        assert_eq!(loaded.config.users["alice"].role, Role::Engineer);
        assert_eq!(loaded.config.users["app"].role, Role::Service);
        for password in ["\"a\"", "\"b\"", "\"c\""] {
            assert!(!text.contains(password), "a cleartext password in the file");
        }
    }

    #[test]
    fn the_two_addresses_differ() {
        let (listen, admin) = addresses().unwrap();
        assert_ne!(listen, admin);
    }
}
