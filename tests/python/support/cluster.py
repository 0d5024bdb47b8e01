"""A private Postgres cluster in a temporary directory."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from .ports import free_port, wait_until
from .wire import Wire

SCHEMA = Path(__file__).resolve().parents[2] / "corpus" / "schema.sql"
TEMPLATE = "tpl_app"
APP_PASSWORD = "upstream-app-7c1d"
SUPERUSER_PASSWORD = "upstream-super-44e0"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": 150,
    "max_prepared_transactions": 5,
    "log_statement": "all",
    "log_line_prefix": "%p %u@%d ",
    "logging_collector": "off",
    # The tests never crash the machine, and comparisons must not see background work.
    "fsync": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
}


def bindir():
    """The folder of Postgres's server programs: $PG_BINDIR, Debian's newest, or wherever pg_config says."""
    named = os.environ.get("PG_BINDIR")
    if named:
        return Path(named)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if debian:
        return debian[-1].parent
    return Path(subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip())


def program(name):
    """A Postgres program's path."""
    return str(bindir() / name)


def _children(parent):
    """The processes of a process."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            pids.append(int(stat.parent.name))
    return pids


class Cluster:
    """Postgres with scram-sha-256 for everybody, a superuser `postgres` and a role `app` that is none."""

    host = "127.0.0.1"

    def __init__(self):
        self.base = Path(tempfile.mkdtemp(prefix="pgbelay-pg-"))
        self.port = free_port()
        self.data = self.base / "data"
        self.log = self.base / "server.log"
        # Postgres refuses to run as root.
        self.identity = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self.identity:
            account = pwd.getpwnam("postgres")
            os.chown(self.base, account.pw_uid, account.pw_gid)
        self.process = None
        self._serial = 0

    def create(self):
        """Makes the cluster, starts it, and loads the template database."""
        self.create_empty()
        with self.admin() as conn:
            conn.execute(f"CREATE DATABASE {TEMPLATE} OWNER app")
        with self.connect(TEMPLATE) as conn:
            conn.execute(SCHEMA.read_text())
        for name in ("app_int", "app_stg", "app_prod"):
            self.create_database(name)

    def create_empty(self):
        """Makes the cluster and starts it; it has the role `app` and no database for it."""
        secret = self.base / "superuser"
        secret.write_text(SUPERUSER_PASSWORD)
        secret.chmod(0o644)
        subprocess.run(
            [program("initdb"), "-D", str(self.data), "-U", "postgres", "--auth=scram-sha-256",
             f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, capture_output=True, cwd=self.base, **self.identity)
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"port = {self.port}\n")
            conf.writelines(f"{key} = '{value}'\n" for key, value in SETTINGS.items())
        self.start()
        with self.admin() as conn:
            conn.execute(f"CREATE ROLE app LOGIN PASSWORD '{APP_PASSWORD}'")

    def standby(self):
        """A streaming standby of this cluster, in hot standby; the caller removes it."""
        copy = Cluster()
        primary = f"host={self.host} port={self.port} user=postgres password={SUPERUSER_PASSWORD}"
        subprocess.run([program("pg_basebackup"), "-d", primary, "-D", str(copy.data), "-X", "stream", "-c", "fast", "-R",
                        "--no-sync"], check=True, capture_output=True, cwd=copy.base, **copy.identity)
        with open(copy.data / "postgresql.conf", "a") as conf:
            conf.write(f"port = {copy.port}\n")
        copy.start()
        return copy

    def promote(self):
        """Makes a standby a primary, and waits until it is."""
        with self.admin() as conn:
            assert conn.execute("SELECT pg_promote(true, 30)").fetchone() == (True,)

    def caught_up(self, standby):
        """Waits until a standby has replayed all that this cluster has written."""
        with self.admin() as primary, standby.admin() as replica:
            lsn = primary.execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0]
            wait_until(lambda: replica.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [lsn]).fetchone()[0],
                       "the standby has replayed everything")

    def configure(self, *settings):
        """Changes settings (`name = value`) that need no restart."""
        with self.admin() as conn:
            for setting in settings:
                conn.execute(f"ALTER SYSTEM SET {setting}")
            conn.execute("SELECT pg_reload_conf()")

    def kill(self):
        """kill -9 of every process at once, as when the machine dies."""
        self.process.send_signal(signal.SIGSTOP)
        for pid in [*_children(self.process.pid), self.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(30)

    def start(self):
        """Starts the server and waits until it takes connections."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [program("postgres"), "-D", str(self.data)],
                stdout=log, stderr=log, cwd=self.base, **self.identity)

        def ready():
            assert self.process.poll() is None, f"Postgres ended:\n{self.log.read_text()[-4000:]}"
            try:
                self.admin().close()
                return True
            except psycopg.OperationalError:
                return False

        wait_until(ready, "Postgres takes connections", 30)

    def stop(self, how=signal.SIGINT):
        """Stops the server: SIGINT is Postgres's fast shutdown, SIGQUIT the immediate one."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def remove(self):
        """Stops the server and removes its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.base, ignore_errors=True)

    def admin(self, dbname="postgres"):
        """A superuser's connection, past the proxy."""
        return psycopg.connect(host=self.host, port=self.port, user="postgres", password=SUPERUSER_PASSWORD,
                               dbname=dbname, autocommit=True, application_name="test-admin")

    def connect(self, dbname, **kwargs):
        """A connection as the tables' owner, past the proxy."""
        kwargs.setdefault("autocommit", True)
        return psycopg.connect(host=self.host, port=self.port, user="app", password=APP_PASSWORD, dbname=dbname, **kwargs)

    def wire(self, dbname):
        """A raw connection as the tables' owner, past the proxy, logged in."""
        wire = Wire(self.host, self.port)
        wire.login({"user": "app", "database": dbname}, APP_PASSWORD)
        return wire

    def create_database(self, name):
        """A copy of the template."""
        with self.admin() as conn:
            conn.execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE} OWNER app')
        return name

    def fresh_database(self, prefix="fresh"):
        """A copy of the template under a name of its own."""
        self._serial += 1
        return self.create_database(f"{prefix}_{self._serial}")

    def drop_database(self, name):
        """Drops a database together with its connections."""
        with self.admin() as conn:
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def logged(self, needle):
        """The lines of the server's log that hold `needle`."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if needle in line]

    def backends(self, dbname, exclude="test-admin"):
        """Rows of pg_stat_activity of one database, the tests' own left out."""
        with self.admin() as conn:
            return conn.execute(
                "SELECT pid, state, query, application_name FROM pg_stat_activity"
                " WHERE datname = %s AND application_name <> %s AND backend_type = 'client backend'",
                [dbname, exclude]).fetchall()

    def version(self):
        """The server's major version."""
        with self.admin() as conn:
            return int(re.match(r"\d+", conn.execute("SHOW server_version").fetchone()[0]).group())
