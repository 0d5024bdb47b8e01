//! A private Postgres cluster in a temporary folder: made in a second or two, gone with its value.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use thiserror::Error;

use super::programs::{Account, Programs};
use super::{free_port, random_password};

/// Why a cluster cannot be made or used. Each says what to do.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// No usable installation.
    #[error(
        "no Postgres server found (13 or later, with initdb and pg_ctl); install one (Debian: postgresql) or set \
         PGBELAY_PG_BIN to its bin folder; looked in: {}", shown(.looked_in)
    )]
    NoServer {
        /// The folders that were looked in.
        looked_in: Vec<PathBuf>,
    },
    /// The process is root's and there is nobody else.
    #[error("Postgres does not run as root, and there is no account postgres or nobody; run this as an ordinary user")]
    NoAccount,
    /// A file or program cannot be used.
    #[error("cannot {doing} {}: {cause}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A Postgres program failed.
    #[error("{program} failed: {said}")]
    Program {
        /// The program.
        program: String,
        /// What it wrote to standard error, and the end of the server's log where that may say more.
        said: String,
    },
}

impl ClusterError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| ClusterError::Io { doing, path, cause }
    }
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// How a cluster is made.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// `max_connections`; the server's own default (100) when `None`.
    pub max_connections: Option<u32>,
    /// Further settings of postgresql.conf, as name and value; they win over the cluster's own.
    pub settings: Vec<(String, String)>,
}

/// How a cluster is stopped (`pg_ctl stop -m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Sessions are ended, then a clean shutdown.
    Fast,
    /// At once, without a checkpoint; the next start recovers.
    Immediate,
}

impl StopMode {
    fn as_str(self) -> &'static str {
        match self {
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
        }
    }
}

/// A running (or stopped) cluster. Dropping it stops the server and removes every file.
///
/// It listens on loopback and on a Unix-domain socket in its folder, asks everybody for a password (SCRAM), and does not
/// flush to disk: fast, and safe against everything but a crash of the machine.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    programs: Programs,
    account: Account,
    port: u16,
    password: String,
}

/// The superuser.
const SUPERUSER: &str = "postgres";
/// How long a server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two tries to start.
const PAUSE: Duration = Duration::from_millis(50);
/// How many ports are tried.
const PORTS: usize = 20;
/// A Unix-domain socket's path has room for 107 bytes on Linux, 103 on macOS; `/.s.PGSQL.65535` needs 15.
const LONGEST_FOLDER: usize = 85;

impl Cluster {
    /// Makes a cluster and starts it; it accepts connections when this returns.
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let programs = Programs::find()?;
        let folder = temporary_folder()?;
        let account = Account::choose(folder.path())?;
        account.own(folder.path()).map_err(ClusterError::io("give away", folder.path()))?;
        let password = random_password().map_err(ClusterError::io("make a password for", folder.path()))?;
        let mut cluster = Self { folder, programs, account, port: 0, password };
        cluster.initialise(options)?;
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    fn initialise(&self, options: &ClusterOptions) -> Result<(), ClusterError> {
        let password_file = self.file("password");
        fs::write(&password_file, &self.password).map_err(ClusterError::io("write", &password_file))?;
        self.account.own(&password_file).map_err(ClusterError::io("give away", &password_file))?;
        let mut initdb = self.server_program("initdb");
        initdb.args(["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C", "--no-instructions"]);
        initdb.arg(format!("--username={SUPERUSER}"));
        initdb.arg("--pwfile").arg(&password_file).arg("--pgdata").arg(self.data());
        self.run(initdb, "initdb", None)?;
        fs::remove_file(&password_file).map_err(ClusterError::io("remove", &password_file))?;

        let conf = self.data().join("postgresql.conf");
        let mut file = fs::OpenOptions::new().append(true).open(&conf).map_err(ClusterError::io("open", &conf))?;
        file.write_all(self.settings(options).as_bytes()).map_err(ClusterError::io("write", &conf))
    }

    fn settings(&self, options: &ClusterOptions) -> String {
        let mut lines = String::from("\n");
        let folder = self.folder.path().to_string_lossy();
        let own = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", folder.as_ref()),
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
        ];
        let mut set = |name: &str, value: &str| {
            // postgresql.conf: the last line of a name wins; a quote inside a value is doubled.
            lines.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        };
        own.iter().for_each(|(name, value)| set(name, value));
        if let Some(max) = options.max_connections {
            set("max_connections", &max.to_string());
        }
        options.settings.iter().for_each(|(name, value)| set(name, value));
        lines
    }

    fn start_on_free_port(&mut self) -> Result<(), ClusterError> {
        let mut attempts = 0;
        loop {
            self.port = free_port().map_err(ClusterError::io("find a port for", self.folder.path()))?;
            match self.start_again() {
                Err(error) if attempts < PORTS && error.to_string().contains("Address already in use") => attempts += 1,
                result => return result,
            }
        }
    }

    /// Starts a stopped or killed cluster again, on its own port.
    pub fn start_again(&self) -> Result<(), ClusterError> {
        let begin = Instant::now();
        loop {
            match self.try_start() {
                // The backends of a killed server end one by one; until then it refuses to start.
                Err(error) if begin.elapsed() < PATIENCE && error.to_string().contains("shared memory block") => {
                    sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    fn try_start(&self) -> Result<(), ClusterError> {
        let log = self.file("server.log");
        let earlier = fs::metadata(&log).map(|m| m.len()).unwrap_or(0);
        let mut start = self.server_program("pg_ctl");
        start.arg("start").arg("--wait").arg("--silent").arg("--timeout").arg(PATIENCE.as_secs().to_string());
        start.arg("--pgdata").arg(self.data()).arg("--log").arg(&log).arg("--options").arg(format!("-p {}", self.port));
        match self.run(start, "pg_ctl start", None) {
            Ok(_) => Ok(()),
            Err(ClusterError::Program { program, said }) => {
                let whole = fs::read(&log).unwrap_or_default();
                let new = whole.get(usize::try_from(earlier).unwrap_or(0)..).unwrap_or_default();
                Err(ClusterError::Program { program, said: format!("{said}\n{}", String::from_utf8_lossy(new)) })
            }
            Err(other) => Err(other),
        }
    }

    /// Stops the server; see [`Cluster::start_again`].
    pub fn stop(&self, mode: StopMode) -> Result<(), ClusterError> {
        let mut stop = self.server_program("pg_ctl");
        stop.arg("stop").arg("--wait").arg("--silent").arg("--timeout").arg(PATIENCE.as_secs().to_string());
        stop.arg("--pgdata").arg(self.data()).arg("--mode").arg(mode.as_str());
        self.run(stop, "pg_ctl stop", None).map(drop)
    }

    /// Stops the server and starts it again.
    pub fn restart(&self, mode: StopMode) -> Result<(), ClusterError> {
        self.stop(mode)?;
        self.start_again()
    }

    /// Kills the server's first process without warning (SIGKILL), as the kernel does when memory is short. Its backends end
    /// soon after. [`Cluster::start_again`] recovers.
    pub fn kill(&self) -> Result<(), ClusterError> {
        let pid_file = self.data().join("postmaster.pid");
        let lines = fs::read_to_string(&pid_file).map_err(ClusterError::io("read", &pid_file))?;
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -s KILL \"$0\"", lines.lines().next().unwrap_or_default()]);
        self.run(kill, "kill", None)?;
        // Both name a process that may stay visible as a zombie where nobody reaps it (a container), and would then keep a
        // new server from starting. That none of the old backends lives is told by the shared memory, not by these.
        for stale in [pid_file, self.file(&format!(".s.PGSQL.{}.lock", self.port))] {
            fs::remove_file(&stale).map_err(ClusterError::io("remove", &stale))?;
        }
        Ok(())
    }

    /// Runs `sql` as the superuser with psql, stopping at the first error; gives back what it prints: rows with `|` between
    /// columns, without headers.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, ClusterError> {
        let mut psql = self.psql(database);
        psql.args(["--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"]);
        self.run(psql, "psql", Some(sql)).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A psql that connects as the superuser, to be given more arguments.
    pub fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.programs.path("psql"));
        psql.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "10").env_remove("PGOPTIONS");
        psql.arg("--no-psqlrc").arg("--host").arg(self.folder.path()).arg("--port").arg(self.port.to_string());
        psql.arg("--username").arg(SUPERUSER).arg("--dbname").arg(database);
        psql
    }

    /// Makes a role that may log in. `attributes` are those of CREATE ROLE (`""`, `"SUPERUSER"`, `"CREATEDB"` …).
    pub fn create_role(&self, name: &str, password: &str, attributes: &str) -> Result<(), ClusterError> {
        let statement = format!(
            "CREATE ROLE {} LOGIN {attributes} PASSWORD '{}'",
            quoted_identifier(name),
            password.replace('\'', "''")
        );
        self.sql("postgres", &statement).map(drop)
    }

    /// Makes a database that `owner` owns.
    pub fn create_database(&self, name: &str, owner: &str) -> Result<(), ClusterError> {
        let statement = format!("CREATE DATABASE {} OWNER {}", quoted_identifier(name), quoted_identifier(owner));
        self.sql("postgres", &statement).map(drop)
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix-domain socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The superuser's name and password.
    pub fn superuser(&self) -> (&str, &str) {
        (SUPERUSER, &self.password)
    }

    /// The installation in use.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("server.log")).unwrap_or_default()).into_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.file("data")
    }

    fn server_program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.path(name));
        self.account.run_as(&mut command);
        // The caller's folder may be closed to the account.
        command.current_dir(self.folder.path());
        for variable in ["PGDATA", "PGPORT", "PGHOST", "PGOPTIONS", "PGDATABASE", "PGUSER"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, mut command: Command, name: &str, input: Option<&str>) -> Result<Output, ClusterError> {
        let program = PathBuf::from(command.get_program());
        let failed = |cause| ClusterError::Io { doing: "run", path: program, cause };
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = (|| {
            let mut child = command.spawn()?;
            if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
                match stdin.write_all(text.as_bytes()) {
                    // A psql that has stopped at an error reads no further: its status tells.
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                    _ => {}
                }
            }
            child.wait_with_output()
        })()
        .map_err(failed)?;
        if output.status.success() {
            return Ok(output);
        }
        let said = [&output.stderr[..], &output.stdout[..]].map(String::from_utf8_lossy).concat();
        Err(ClusterError::Program { program: name.to_owned(), said: said.trim().to_owned() })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be stopped already; and there is nobody to tell.
        let _ = self.stop(StopMode::Immediate);
    }
}

fn temporary_folder() -> Result<TempDir, ClusterError> {
    let usual = std::env::temp_dir();
    // A long TMPDIR (macOS has one) would leave no room for the socket's name.
    let parent = if usual.as_os_str().len() > LONGEST_FOLDER { PathBuf::from("/tmp") } else { usual };
    tempfile::Builder::new()
        .prefix("pgbelay-")
        .tempdir_in(&parent)
        .map_err(ClusterError::io("make a folder in", &parent))
}

fn quoted_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// One cluster serves all checks: it is the costly part.
    #[test]
    fn a_cluster_lives_and_dies() {
        let options = ClusterOptions {
            max_connections: Some(17),
            settings: vec![("work_mem".to_owned(), "5MB".to_owned()), ("cluster_name".to_owned(), "it's".to_owned())],
        };
        let cluster = Cluster::start(&options).unwrap();
        let sql = |text: &str| cluster.sql("postgres", text);
        assert_eq!(sql("SHOW max_connections; SHOW work_mem; SHOW cluster_name").unwrap(), "17\n5MB\nit's\n");

        cluster.create_role("app", "it's secret", "").unwrap();
        cluster.create_database("app \"int\"", "app").unwrap();
        let owner = "SELECT d.datname, r.rolname, r.rolsuper FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba
            WHERE d.datname LIKE 'app%'";
        assert_eq!(sql(owner).unwrap(), "app \"int\"|app|f\n");
        let scram = sql("SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname IN ('app', 'postgres')").unwrap();
        assert_eq!(scram, "SCRAM-SHA-256$\nSCRAM-SHA-256$\n");

        let error = sql("SELECT 1; SELECT 1/0; SELECT 2").unwrap_err();
        assert!(error.to_string().contains("division by zero"), "{error}");
        let refused = cluster.psql("postgres").env("PGPASSWORD", "wrong").args(["-c", "SELECT 1"]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("password authentication failed"), "{said}");

        sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
        cluster.restart(StopMode::Fast).unwrap();
        assert_eq!(sql("SELECT n FROM kept").unwrap(), "7\n");
        sql("INSERT INTO kept VALUES (8); CHECKPOINT").unwrap();
        cluster.kill().unwrap();
        assert!(sql("SELECT 1").is_err());
        cluster.start_again().unwrap();
        assert_eq!(sql("SELECT sum(n) FROM kept").unwrap(), "15\n");
        assert!(cluster.log().contains("automatic recovery in progress"), "{}", cluster.log());

        let (port, folder) = (cluster.port(), cluster.socket_folder().to_owned());
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(cluster);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!folder.exists());
    }

    #[test]
    fn errors_say_where_was_looked() {
        let error = ClusterError::NoServer { looked_in: vec!["/a".into(), "/b c".into()] };
        assert!(error.to_string().ends_with("looked in: /a, /b c"), "{error}");
    }
}
