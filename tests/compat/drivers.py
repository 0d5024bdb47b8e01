"""The drivers' own test suites, direct and through pgbelay with the guard off: the same tests pass

    scripts/compat drivers [--pool N] [--keep FOLDER] [NAME…]

runs each suite twice, each time on a cluster of its own: once against Postgres, once through pgbelay with transaction pooling and a pool
smaller than what the suite opens. Suites come with the drivers' packages (PyPI's source packages, crates.io), each driver as it is
released. What the packages do not hold cannot be run: psycopg 3 and node-postgres publish their drivers without their tests; psycopg2,
which comes with its own, stands in for psycopg's half of libpq.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from support.cluster import SUPERUSER_PASSWORD, Cluster
from support.compat import CACHE, plain_pooler
from support.proxy import ROOT

# A suite that takes longer has got stuck; so has a single test of one.
TIMEOUT = 3600
TEST_TIMEOUT = 60
HEAD = 400


def main():
    suites = {suite.name: suite for suite in (Asyncpg(), SqlalchemyPsycopg(), SqlalchemyAsyncpg(), Psycopg2(), Pg8000(), TokioPostgres())}
    arguments = argparse.ArgumentParser(prog="scripts/compat drivers", description=__doc__.splitlines()[0])
    arguments.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(suites)}")
    arguments.add_argument("--pool", type=int, default=4, help="most upstream connections a database (default %(default)s)")
    arguments.add_argument("--keep", type=Path, help="where to leave what each side printed")
    arguments.add_argument("--only", help="words that the names of the tests must hold (pytest -k)")
    chosen = arguments.parse_args()
    unknown = set(chosen.names) - set(suites)
    if unknown:
        arguments.error(f"no such suite: {' '.join(sorted(unknown))}")

    table, differing = [], 0
    for name in chosen.names or suites:
        suite = suites[name]
        suite.only = chosen.only
        suite.prepare()
        sides = {}
        for side, pool in (("direct", None), ("pgbelay", chosen.pool)):
            with server(suite, pool) as endpoint:
                sides[side], printed = suite.run(endpoint)
            if chosen.keep:
                chosen.keep.mkdir(parents=True, exist_ok=True)
                (chosen.keep / f"{name}.{side}.log").write_text(printed)
            table.append((name, side, *(sum(o == outcome for o, _ in sides[side].values()) for outcome in ("passed", "failed", "skipped"))))
        absent = ("did not run", "")
        for test in sorted(sides["direct"] | sides["pgbelay"]):
            (before, _), (after, why) = (sides[side].get(test, absent) for side in ("direct", "pgbelay"))
            if before != after:
                differing += 1
                print(f"{name}: {test}: {before} direct, {after} through pgbelay\n    {' '.join(why.split())[:HEAD]}", flush=True)
    print(f"\n{'suite':20}{'side':10}{'passed':>8}{'failed':>8}{'skipped':>8}")
    for name, side, *counts in table:
        print(f"{name:20}{side:10}{''.join(f'{count:8}' for count in counts)}")
    print(f"{differing} tests differ")
    return 1 if differing else 0


@contextlib.contextmanager
def server(suite, pool):
    """A cluster of its own with the suite's databases, and the proxy before it if there is a pool."""
    cluster = Cluster()
    try:
        cluster.create()
        for database in suite.databases:
            with cluster.admin() as conn:
                if database != "postgres":
                    conn.execute(f"CREATE DATABASE {database} TEMPLATE template0")
            with cluster.admin(database) as conn:
                for statement in suite.setup:
                    conn.execute(statement)
        if pool is None:
            yield cluster
            return
        proxy = plain_pooler(cluster, suite.databases, pool, suite.users)
        proxy.start()
        try:
            yield proxy
        finally:
            proxy.close()
    finally:
        cluster.remove()


class Suite:
    """Somebody else's tests."""

    name = ""
    databases = ["postgres"]
    setup = []
    # Other users than the superuser, with their passwords.
    users = {}
    only = None


class PythonSuite(Suite):
    """One from a source package of PyPI, run with pytest against the released driver."""

    package = ""
    # Folders of the package that are needed beside each other.
    folders = ["tests"]
    arguments = ["tests"]
    requirements = []

    def prepare(self):
        """Installs the driver and unpacks its tests."""
        environment = CACHE / "venv"
        self.python = environment / "bin/python"
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        wanted = [self.package, "pytest", "pytest-timeout", *self.requirements]
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
        listed = json.loads(subprocess.run([self.python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
                                           capture_output=True, text=True, check=True).stdout)
        version = next(p["version"] for p in listed if p["name"].lower() == self.package.lower())
        source = self.package.removesuffix("-binary")
        self.folder = CACHE / f"{source}-{version}"
        if self.folder.exists():
            return
        downloads = CACHE / "downloads"
        subprocess.run([self.python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", source,
                        "--dest", downloads, f"{source}=={version}"], check=True)
        unpacked = downloads / f"{source}-{version}"
        subprocess.run(["tar", "-xf", next(downloads.glob(f"{source}-{version}.tar*")), "-C", downloads], check=True)
        self.folder.mkdir()
        # Beside the driver's own sources Python would import those, which are not built.
        for folder in self.folders:
            move = shutil.copytree if (unpacked / folder).is_dir() else shutil.copy
            move(unpacked / folder, self.folder / folder)

    def environment(self, server):
        """What tells the suite where to connect."""
        return {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres", "PGPASSWORD": SUPERUSER_PASSWORD,
                "PGDATABASE": self.databases[0]}

    def options(self, server):
        """What else pytest needs to know."""
        return []

    def run(self, server):
        """Outcome and reason by test, and what was printed."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PG") and k != "PYTHONPATH"}
        select = ["-k", self.only] if self.only else []
        done = subprocess.run(
            [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT}", f"--junitxml={report}", "-o", "junit_family=xunit1",
             *self.options(server), *select, *self.arguments],
            cwd=self.folder, env=kept | self.environment(server), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
        printed = done.stdout.decode(errors="replace")
        # 1 is for tests that failed; anything more, and they did not all run.
        if done.returncode > 1 or not report.exists():
            sys.exit(f"{self.name} did not run:\n{printed[-4000:]}")
        results = {}
        for case in ElementTree.parse(report).iter("testcase"):
            outcome, why = "passed", ""
            for child in case:
                if child.tag in ("failure", "error"):
                    outcome, why = "failed", (child.get("message") or "") + (child.text or "")[-HEAD:]
                elif child.tag == "skipped" and outcome == "passed":
                    outcome = "skipped"
            test = f"{case.get('classname')}.{case.get('name')}"
            if results.get(test, ("passed",))[0] == "passed":
                results[test] = (outcome, why)
        return results, printed


class Asyncpg(PythonSuite):
    """asyncpg"""

    name = package = "asyncpg"
    requirements = ["distro"]


class Sqlalchemy(PythonSuite):
    """SQLAlchemy: its PostgreSQL dialect, and the suite that every dialect has to pass."""

    package = "sqlalchemy"
    folders = ["test", "lib/sqlalchemy/testing/plugin", "setup.cfg", "pyproject.toml"]
    arguments = ["test/dialect/postgresql", "test/dialect/test_suite.py"]
    databases = ["test"]
    # README.unittests.rst of the package.
    setup = ["CREATE SCHEMA test_schema", "CREATE SCHEMA test_schema_2", "CREATE EXTENSION hstore", "CREATE EXTENSION citext",
             "ALTER DATABASE test SET default_text_search_config = 'pg_catalog.english'"]
    requirements = ["greenlet", "typing_extensions", "pytest-xdist"]
    dialect = ""

    def options(self, server):
        return [f"--dburi=postgresql+{self.dialect}://postgres:{SUPERUSER_PASSWORD}@{server.host}:{server.port}/test"]


class SqlalchemyPsycopg(Sqlalchemy):
    """SQLAlchemy over psycopg 3"""

    name, dialect = "sqlalchemy-psycopg", "psycopg"
    requirements = [*Sqlalchemy.requirements, "psycopg[binary]"]


class SqlalchemyAsyncpg(Sqlalchemy):
    """SQLAlchemy over asyncpg"""

    name, dialect = "sqlalchemy-asyncpg", "asyncpg"
    requirements = [*Sqlalchemy.requirements, "asyncpg"]


class Psycopg2(PythonSuite):
    """psycopg2"""

    name, package = "psycopg2", "psycopg2-binary"
    databases = ["psycopg2_test"]
    setup = ["CREATE EXTENSION hstore"]


class Pg8000(PythonSuite):
    """pg8000: a driver in Python alone"""

    name = package = "pg8000"
    folders = arguments = ["test"]
    setup = ["CREATE EXTENSION hstore"]
    requirements = ["pytest-benchmark", "pytest-mock", "pytz"]

    def options(self, server):
        return ["--benchmark-skip", "--ignore=test/test_readme.py"]


class TokioPostgres(Suite):
    """tokio-postgres, as the version that pgbelay itself uses"""

    name = "tokio-postgres"
    setup = ["CREATE EXTENSION hstore", "CREATE EXTENSION citext", "CREATE EXTENSION ltree",
             *(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'password'" for user in ("pass_user", "scram_user"))]
    users = {"pass_user": "password", "scram_user": "password"}

    def prepare(self):
        """Copies the package, whose tests have their server's address built in."""
        metadata = json.loads(subprocess.run(["cargo", "metadata", "--format-version=1", "--locked"], cwd=ROOT, capture_output=True, text=True,
                                             check=True).stdout)
        package = next(p for p in metadata["packages"] if p["name"] == "tokio-postgres")
        source = Path(package["manifest_path"]).parent
        self.tests = source / "tests"
        self.folder = CACHE / source.name
        if not self.folder.exists():
            shutil.copytree(source, self.folder)
            with open(self.folder / "Cargo.toml", "a") as manifest:
                manifest.write("\n[workspace]\n")

    def run(self, server):
        """Outcome and reason by test, and what was printed."""
        for test in self.tests.rglob("*.rs"):
            # Only what is connected to, not what is parsed.
            text = test.read_text()
            if test.name != "parse.rs":
                text = text.replace("5433", str(server.port)).replace("user=postgres", f"user=postgres password={SUPERUSER_PASSWORD}")
            (self.folder / "tests" / test.relative_to(self.tests)).write_text(text)
        done = subprocess.run(
            ["cargo", "test", "--quiet", "--test", "test", "--features",
             "with-chrono-0_4,with-uuid-1,with-serde_json-1,with-time-0_3,with-bit-vec-0_9,with-eui48-1,with-geo-types-0_7",
             "--", "--format=pretty", *([self.only] if self.only else [])],
            cwd=self.folder, env=os.environ | {"CARGO_TARGET_DIR": str(self.folder / "target")}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT)
        words = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}
        reasons = dict(re.findall(r"^---- (\S+) stdout ----\n(.*?)(?=^----|^failures:)", done.stdout, re.M | re.S))
        results = {test: (words[word], reasons.get(test, "")) for test, word in
                   re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", done.stdout, re.M)}
        if not results:
            sys.exit(f"{self.name} did not run:\n{done.stdout[-4000:]}")
        return results, done.stdout


if __name__ == "__main__":
    sys.exit(main())
