"""The proxy's process under test, and a stand-in of the same shape that is Postgres itself."""

import copy
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from . import scram, toml
from .cluster import APP_PASSWORD
from .ports import free_port, wait_until
from .wire import Wire

ROOT = Path(__file__).resolve().parents[3]
DIRECT = os.environ.get("PGBELAY_DIRECT") == "1"
REASON = "TEST-1"

# Name: (role, password).
USERS = {
    "alice": ("engineer", "alice-clear-9f2b"),
    "app": ("service", "app-clear-51ad"),
    "mig": ("migrator", "mig-clear-c03e"),
    "bot": ("agent", "bot-clear-77d0"),
    "root": ("admin", "root-clear-18aa"),
    "ann": ("auditor", "ann-clear-e46f"),
}


def binary():
    """The program under test: $PGBELAY_BIN or the debug build."""
    return os.environ.get("PGBELAY_BIN") or str(ROOT / "target" / "debug" / "pgbelay")


def command(*args, stdin=None, env=None, timeout=30, cwd=None):
    """Runs the program with arguments to its end."""
    environment = {k: v for k, v in os.environ.items() if k != "PGBELAY_CONFIG"} | (env or {})
    return subprocess.run([binary(), *map(str, args)], input=stdin, capture_output=True, text=True,
                          env=environment, timeout=timeout, cwd=cwd)


def merge(base, extra):
    """`base` with `extra` laid over it, table by table."""
    result = copy.deepcopy(base)
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def certificates(folder, *args):
    """`pgbelay certs` into a folder; returns the folder."""
    result = command("certs", folder, *args)
    assert result.returncode == 0, result.stderr
    return Path(folder)


class Endpoint:
    """What tests need of whatever they connect to."""

    host = "127.0.0.1"
    port = None

    def dbname(self, database, tier):
        """The name to connect to."""
        return f"{database}:{tier}" if tier else database

    def login(self, user="app", tier="int", database="app", reason=REASON, **extra):
        """libpq parameters of one login."""
        options = " ".join(filter(None, [f"-c pgbelay.reason={reason}" if reason else "", extra.pop("options", "")]))
        return {"host": self.host, "port": self.port, "user": user, "password": USERS[user][1] if user in USERS else "",
                "dbname": self.dbname(database, tier), "options": options or None} | extra

    def connect(self, user="app", tier="int", database="app", *, reason=REASON, autocommit=True, cls=psycopg.Connection,
                cursor_factory=None, row_factory=None, **extra):
        """A psycopg connection."""
        more = {k: v for k, v in {"cursor_factory": cursor_factory, "row_factory": row_factory}.items() if v}
        return cls.connect(autocommit=autocommit, **more,
                           **self.login(user, tier, database, reason, **extra))

    def env(self, user="app", tier="int", database="app", reason=REASON, **extra):
        """The same login as libpq environment variables, for programs."""
        login = self.login(user, tier, database, reason, **extra)
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
                 "options": "PGOPTIONS"}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PG") or k.startswith("PG_")}
        return kept | {names[k]: str(v) for k, v in login.items() if v is not None}

    def wire(self, timeout=15.0):
        """A raw connection."""
        return Wire(self.host, self.port, timeout)

    def wire_login(self, user="app", tier="int", database="app", reason=REASON, version=0x30000, **params):
        """A raw connection that is logged in."""
        wire = self.wire()
        login = {"user": user, "database": self.dbname(database, tier)} | params
        if reason:
            login["options"] = f"-c pgbelay.reason={reason}"
        wire.startup_messages = wire.login(login, USERS[user][1], version)
        return wire


class Direct(Endpoint):
    """Postgres itself, with the proxy's users as roles: shows that a test asks only for what Postgres does."""

    def __init__(self, cluster, config=None, database_names=None):
        self.cluster, self.port = cluster, cluster.port
        self.names = database_names or {}
        self.config = config or {}
        with cluster.admin() as conn:
            for user, (_, password) in USERS.items():
                if user == "app":
                    conn.execute(f"ALTER ROLE app PASSWORD '{APP_PASSWORD}'")
                elif not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone():
                    conn.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}' IN ROLE app")

    def dbname(self, database, tier):
        return self.names.get((database, tier or "int"), f"{database}_{tier or 'int'}")

    def login(self, user="app", *args, **kwargs):
        result = super().login(user, *args, **kwargs)
        return result | ({"password": APP_PASSWORD} if user == "app" and "password" not in kwargs else {})

    def wire_login(self, user="alice", tier="int", database="app", reason=REASON, version=0x30000, **params):
        # The role `app` has another password here; any other role has the same rights.
        return super().wire_login("alice" if user == "app" else user, tier, database, reason, version, **params)

    def start(self, wait_for=None):
        """Postgres runs already."""
        return self

    def close(self):
        """Nothing to stop."""


class Proxy(Endpoint):
    """`pgbelay run` with a configuration of its own in a temporary directory."""

    def __init__(self, cluster, config=None, database_names=None):
        self.cluster = cluster
        self.base = Path(tempfile.mkdtemp(prefix="pgbelay-proxy-"))
        self.port, self.admin_port = free_port(), free_port()
        self.config_file = self.base / "pgbelay.toml"
        self.audit_file = self.base / "audit.jsonl"
        self.stderr_file = self.base / "stderr.log"
        self.process = None
        # What starts the program, if it is not started itself.
        self.launcher = []
        self.environment = {"TEST_UPSTREAM_PASSWORD": APP_PASSWORD, "RUST_BACKTRACE": "1"}
        self.config = merge(self._base_config(database_names or {}), config or {})
        self.write_config()

    def _base_config(self, names):
        databases = {}
        for tier in ("int", "stg", "prod"):
            names.setdefault(("app", tier), f"app_{tier}")
        for (database, tier), real in names.items():
            entry = databases.setdefault(database, {"default_tier": "int"})
            entry[tier] = {"url": f"postgres://app@{self.cluster.host}:{self.cluster.port}/{real}",
                           "password_env": "TEST_UPSTREAM_PASSWORD"}
        pool = {"min": 0, "max": 10}
        return {
            "listen": {"address": f"{self.host}:{self.port}"},
            "admin": {"address": f"{self.host}:{self.admin_port}"},
            "audit": {"path": str(self.audit_file)},
            "databases": databases,
            "users": {name: {"role": role, "password": scram.verifier(password)} for name, (role, password) in USERS.items()},
            "tiers": {tier: {"pool": dict(pool)} for tier in ("int", "stg", "prod")},
        }

    def write_config(self, changes=None):
        """Writes the file, with `changes` laid over the configuration for good."""
        if changes:
            self.config = merge(self.config, changes)
        self.config_file.write_text(toml.dumps(self.config))

    def start(self, wait_for="/readyz"):
        """Starts the process and waits until the path answers 200."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | self.environment
        with open(self.stderr_file, "ab") as log:
            self.process = subprocess.Popen([*self.launcher, binary(), "run", "--config", str(self.config_file)],
                                            stdout=log, stderr=log, env=env, cwd=self.base)
        wait_until(lambda: self.answers(wait_for), f"{wait_for} answers 200", 20)
        return self

    def answers(self, path="/readyz", status=200):
        """Whether the admin address answers with this status; fails when the process has ended."""
        assert self.process.poll() is None, f"pgbelay ended with {self.process.returncode}:\n{self.stderr()[-4000:]}"
        try:
            return self.http(path)[0] == status
        except OSError:
            return False

    def http(self, path):
        """Status and body of a GET at the admin address."""
        conn = http.client.HTTPConnection(self.host, self.admin_port, timeout=5)
        try:
            conn.request("GET", path)
            response = conn.getresponse()
            return response.status, response.read().decode()
        finally:
            conn.close()

    def metrics(self):
        """Prometheus samples as {name: [(labels, value)]}."""
        status, text = self.http("/metrics")
        assert status == 200, text
        result = {}
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.M):
            result.setdefault(name, []).append((dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), float(value)))
        return result

    def stderr(self):
        """What the process has written to stdout and stderr."""
        return self.stderr_file.read_text(errors="replace") if self.stderr_file.exists() else ""

    def reload(self, changes=None):
        """Writes the changed file, sends SIGHUP, and returns the record that says how the reload went."""
        self.write_config(changes)
        seen = len(self.records("config.reload"))
        self.process.send_signal(signal.SIGHUP)
        return wait_until(lambda: self.records("config.reload")[seen:], "the reload is recorded")[0]

    def stop(self, timeout=20):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self):
        """kill -9"""
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends the process, whatever state it is in, removes its files, and fails when it has panicked."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        output = self.stderr()
        shutil.rmtree(self.base, ignore_errors=True)
        assert "panicked" not in output, f"the proxy panicked:\n{output[-6000:]}"

    def records(self, event=None, **fields):
        """Audit records on disk, in order; only those with this event and these fields."""
        if not self.audit_file.exists():
            return []
        text = self.audit_file.read_bytes()
        # A last line without its end is still being written.
        lines = text[:text.rfind(b"\n") + 1].splitlines()
        wanted = ({"event": event} if event else {}) | fields
        return [r for r in map(json.loads, lines) if all(r.get(k) == v for k, v in wanted.items())]

    def wait_record(self, event, where=lambda record: True, **fields):
        """The first matching record, once it is on disk."""
        def found():
            return [r for r in self.records(event, **fields) if where(r)]
        return wait_until(found, f"a record {event} {fields}")[0]

    def verify(self, *files):
        """`pgbelay audit verify`"""
        return command("audit", "verify", *(files or [self.audit_file]))

    def rss_kib(self):
        """Resident memory of the process in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))


def endpoint(cluster, config=None, database_names=None):
    """The proxy, or Postgres itself with PGBELAY_DIRECT=1; not started yet."""
    return (Direct if DIRECT else Proxy)(cluster, config, database_names)
