"""Suites in the source packages of PyPI, run with pytest."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from support.cluster import SUPERUSER_PASSWORD
from support.compat import CACHE

from .suite import HEAD, TEST_TIMEOUT, TIMEOUT, Suite


class PythonSuite(Suite):
    """One from a source package of PyPI, run with pytest against the released driver."""

    package = ""
    # Folders of the package that are needed beside each other.
    folders = ["tests"]
    arguments = ["tests"]
    requirements = []
    # What in the names of tests depends on where they run.
    decoration = r"(?!)"

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
            test = re.sub(self.decoration, "", f"{case.get('classname')}.{case.get('name')}")
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
    decoration = r"_postgresql\+\w+_\d+_\d+(?=\.)"
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
    # README.md of the package.
    databases = ["postgres", "pg8000_scram_sha_256"]
    setup = ["CREATE EXTENSION hstore"]
    # A role that its tests make; the password as SASLprep leaves it of theirs.
    users = {"boltzmann": "cha\u30c3s"}
    requirements = ["pytest-benchmark", "pytest-mock", "pytz"]

    def options(self, server):
        return ["--benchmark-skip", "--ignore=test/test_readme.py"]
