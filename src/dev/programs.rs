//! Finds the Postgres programs and the account they can run as.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ClusterError;

/// The oldest server that the proxy is meant for.
const OLDEST: u32 = 13;
/// What a cluster needs of an installation; `psql` may stand elsewhere.
const SERVER_PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];
/// Where distributions put versioned installations: a folder, and what stands before and behind the version.
const INSTALLATIONS: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// One installation of Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    bin: PathBuf,
    version: u32,
}

impl Programs {
    /// The newest versioned installation, else that of `PATH`, else that of `pg_config`. `PGBELAY_PG_BIN` names a folder that
    /// comes before all.
    pub fn find() -> Result<Self, ClusterError> {
        if let Some(bin) = env::var_os("PGBELAY_PG_BIN").map(PathBuf::from) {
            return Self::at(&bin).ok_or(ClusterError::NoServer { looked_in: vec![bin] });
        }
        let mut looked_in: Vec<PathBuf> = versioned();
        looked_in.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        looked_in.extend(pg_config());
        looked_in.iter().find_map(|bin| Self::at(bin)).ok_or(ClusterError::NoServer { looked_in })
    }

    fn at(bin: &Path) -> Option<Self> {
        SERVER_PROGRAMS.iter().all(|name| bin.join(name).is_file()).then_some(())?;
        let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
        let version = major_version(&String::from_utf8_lossy(&output.stdout))?;
        (version >= OLDEST).then(|| Self { bin: bin.to_owned(), version })
    }

    /// The server's major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The path of a program: of this installation where it has it, else looked for in `PATH`.
    pub fn path(&self, name: &str) -> PathBuf {
        let own = self.bin.join(name);
        if own.is_file() { own } else { PathBuf::from(name) }
    }
}

/// `postgres (PostgreSQL) 15.20 (Debian …)` → 15; `17beta1` → 17.
fn major_version(output: &str) -> Option<u32> {
    let (_, version) = output.split_once("(PostgreSQL) ")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The folders of [`INSTALLATIONS`] that exist, newest version first.
fn versioned() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, before, behind) in INSTALLATIONS {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|n| n.strip_prefix(before)).and_then(|v| v.parse().ok());
            found.extend(version.map(|v| (v, entry.path().join(behind))));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, bin)| bin).collect()
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// The account that the server runs as: Postgres refuses to run as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The one this process has.
    Own,
    /// Another, because this process is root's.
    Other {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Account {
    /// The caller's own, unless that is root: then `postgres`, else `nobody`. `own_file` is a file that this process made.
    pub fn choose(own_file: &Path) -> Result<Self, ClusterError> {
        // std has no geteuid; the owner of a file one has just made says the same.
        let uid = fs::metadata(own_file).map_err(ClusterError::io("look at", own_file))?.uid();
        if uid != 0 {
            return Ok(Account::Own);
        }
        let passwd = Path::new("/etc/passwd");
        let accounts = fs::read_to_string(passwd).map_err(ClusterError::io("read", passwd))?;
        Self::ordinary(&accounts).ok_or(ClusterError::NoAccount)
    }

    fn ordinary(passwd: &str) -> Option<Self> {
        ["postgres", "nobody"].into_iter().find_map(|wanted| {
            let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
            fields.filter(|f| f.first() == Some(&wanted)).find_map(|f| {
                let (uid, gid) = (f.get(2)?.parse().ok()?, f.get(3)?.parse().ok()?);
                (uid != 0).then_some(Account::Other { uid, gid })
            })
        })
    }

    /// Makes `path` the account's.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        match self {
            Account::Own => Ok(()),
            Account::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Makes `command` run as the account.
    pub(super) fn run_as(self, command: &mut Command) {
        match self {
            Account::Own => {}
            Account::Other { uid, gid } => {
                command.uid(uid).gid(gid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_major_versions() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 19beta2\n"), Some(19));
        assert_eq!(major_version("postgres (PostgreSQL) devel\n"), None);
        assert_eq!(major_version("something else"), None);
    }

    #[test]
    fn prefers_postgres_to_nobody_and_never_takes_root() {
        let both =
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\npostgres:x:101:104:,,,:/x:/bin/sh\n";
        assert_eq!(Account::ordinary(both), Some(Account::Other { uid: 101, gid: 104 }));
        let nobody = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(Account::ordinary(nobody), Some(Account::Other { uid: 65534, gid: 65533 }));
        assert_eq!(Account::ordinary("postgres:x:0:0::/:/bin/sh\n"), None);
        assert_eq!(Account::ordinary("root:x:0:0:root:/root:/bin/bash\npostgres:x\n"), None);
    }

    #[test]
    fn a_folder_without_the_programs_is_no_installation() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(Programs::at(empty.path()), None);
    }
}
