"""PostgreSQL's own regression schedule, direct and through pgbelay with the guard off: the same result, test by test

    scripts/compat pg_regress [--pool N] [--keep FOLDER] [TEST…]

runs the parallel schedule of the installed server's major version twice, each time on a cluster of its own: once against Postgres,
once through pgbelay, whose pool is smaller than the number of tests that run at once. With names only those tests run, behind the ones
that make their tables. What a test prints through pgbelay must be what it prints without, byte by byte; tests/compat/differences.toml
has the exceptions with their reasons, and the exit code is 0 when there are no others.

The statements come with Debian's source package, their C functions are compiled against the headers of postgresql-server-dev; both are
downloaded with apt into target/compat and not installed.
"""

import argparse
import concurrent.futures
import difflib
import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

from support.cluster import SUPERUSER_PASSWORD, Cluster, program
from support.compat import CACHE, plain_pooler
from support.debian import Archive, unpack
from support.differences import Known

DATABASE = "regression"
# Tests that others stand on (src/test/regress/parallel_schedule says which need which).
FOUNDATIONS = ["test_setup", "create_function_c", "create_misc", "create_operator", "create_procedure", "create_table", "create_type",
               "create_index", "create_aggregate", "create_view"]
# A test that takes longer has got stuck.
TIMEOUT = 900
HEAD = 24


def main():
    arguments = argparse.ArgumentParser(prog="scripts/compat pg_regress", description=__doc__.splitlines()[0])
    arguments.add_argument("tests", metavar="TEST", nargs="*", help="only these, behind the ones they stand on")
    arguments.add_argument("--pool", type=int, default=6, help="most upstream connections (default %(default)s)")
    arguments.add_argument("--keep", type=Path, help="where to leave the results of both sides")
    arguments.add_argument("--whole", action="store_true", help="print whole differences, not only their heads")
    chosen = arguments.parse_args()

    suite = Suite.fetched()
    groups = suite.schedule(chosen.tests)
    direct = Side(suite, "direct")
    through = Side(suite, "pgbelay", chosen.pool)
    for side in (direct, through):
        started = time.monotonic()
        side.run(groups)
        print(f"{side.name}: {len(side.results)} tests in {time.monotonic() - started:.0f} s", flush=True)
    if chosen.keep:
        for side in (direct, through):
            side.keep(chosen.keep / side.name)

    differing = [test for group in groups for test in group if direct.results[test] != through.results[test]]
    known, unexplained = Known("pg_regress"), []
    for test in differing:
        reason = known.reason(test, changes(direct.results[test], through.results[test]))
        if reason:
            print(f"\n--- {test}: differs because {' '.join(reason.split())}")
            continue
        unexplained.append(test)
        diff = list(difflib.unified_diff(direct.results[test].splitlines(), through.results[test].splitlines(),
                                         "direct", "pgbelay", lineterm="", n=4))
        shown = diff if chosen.whole else diff[:HEAD]
        print(f"\n--- {test}: {len(diff)} lines of difference", *shown, sep="\n")
    as_expected = {side.name: sum(suite.expects(test, text) for test, text in side.results.items()) for side in (direct, through)}
    print(f"\n{len(direct.results)} tests, {len(differing)} differ through pgbelay: {' '.join(differing) or 'none'}; "
          f"for no known reason: {' '.join(unexplained) or 'none'}")
    print(f"as Postgres expects them: {as_expected['direct']} direct, {as_expected['pgbelay']} through pgbelay")
    return 1 if unexplained else 0


def changes(direct, through):
    """What stands in the place of what: the lines of both sides, one text for each place."""
    before, after = direct.splitlines(), through.splitlines()
    places = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return ["\n".join(before[a:b] + after[c:d]) for tag, a, b, c, d in places if tag != "equal"]


class Suite:
    """The regression tests of one version of Postgres, ready to run."""

    def __init__(self, folder, library):
        self.folder, self.library = folder, library

    @classmethod
    def fetched(cls):
        """Downloads and compiles what is not there yet."""
        version = int(subprocess.run([program("postgres"), "--version"], capture_output=True, text=True, check=True)
                      .stdout.split()[2].split(".")[0].split("devel")[0])
        base = CACHE / f"postgresql-{version}"
        base.mkdir(parents=True, exist_ok=True)
        folder, library = base / "regress", base / "regress.so"
        debian = Archive(base)
        if not folder.exists():
            unpack(debian.source(f"postgresql-{version}", "*.orig.tar.*[!c]"), "src/test/regress", folder)
        if not library.exists():
            headers = debian.binary(f"postgresql-server-dev-{version}") / f"usr/include/postgresql/{version}/server"
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-I", headers, folder / "regress.c", "-o", library], check=True)
        return cls(folder, library)

    def schedule(self, names):
        """The tests in groups that run at once."""
        lines = (self.folder / "parallel_schedule").read_text().splitlines()
        groups = [line.removeprefix("test:").split() for line in lines if line.startswith("test:")]
        if not names:
            return groups
        known = {test for group in groups for test in group}
        unknown = set(names) - known
        if unknown:
            sys.exit(f"no such test: {' '.join(sorted(unknown))}")
        wanted = {*FOUNDATIONS, *names}
        return [kept for kept in ([test for test in group if test in wanted] for group in groups) if kept]

    def expects(self, test, text):
        """Whether this is one of the results that Postgres's own runner accepts; like it, blanks do not count."""
        def plain(result):
            return [" ".join(line.split()) for line in result.splitlines()]

        expected = self.folder / "expected"
        files = [expected / f"{test}.out", *(expected / f"{test}_{i}.out" for i in range(10))]
        return any(plain(file.read_text(errors="replace")) == plain(text) for file in files if file.exists())


class Side:
    """One run of the schedule on a cluster of its own."""

    def __init__(self, suite, name, pool=None):
        self.suite, self.name, self.pool = suite, name, pool
        self.results, self.log = {}, ""

    def run(self, groups):
        """Runs all groups and remembers what each test printed."""
        cluster = Cluster()
        proxy = None
        self.work = cluster.base / "regress"
        try:
            cluster.create()
            self._prepare(cluster)
            server = cluster
            if self.pool:
                server = proxy = plain_pooler(cluster, [DATABASE], self.pool)
                proxy.start()
            for group in groups:
                with concurrent.futures.ThreadPoolExecutor(len(group)) as threads:
                    printed = threads.map(lambda test: self._test(cluster, server, test), group)
                    self.results.update(zip(group, printed))
                if proxy and proxy.process.poll() is not None:
                    sys.exit(f"pgbelay ended with {proxy.process.returncode} in {' '.join(group)}:\n{proxy.stderr()[-4000:]}")
        finally:
            self.log = cluster.log.read_text(errors="replace")
            try:
                if proxy:
                    proxy.close()
            finally:
                cluster.remove()

    def keep(self, folder):
        """Writes the results and the server's log into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for test, text in self.results.items():
            (folder / f"{test}.out").write_text(text)
        (folder / "server.log").write_text(self.log)

    def _prepare(self, cluster):
        """The files where the server can read them, and the database as pg_regress makes it."""
        shutil.copytree(self.suite.folder, self.work)
        shutil.copy(self.suite.library, self.work)
        for name in ("results", "testtablespace"):
            (self.work / name).mkdir()
        if cluster.identity:
            account = pwd.getpwnam(cluster.identity["user"])
            for path in [self.work, *self.work.rglob("*")]:
                os.chown(path, account.pw_uid, account.pw_gid)
        library = Path(subprocess.run([program("pg_config"), "--pkglibdir"], capture_output=True, text=True).stdout.strip() or
                       Path(program("postgres")).parent.parent / "lib")
        for module in ("refint", "autoinc"):
            shutil.copy(library / f"{module}.so", self.work)
        with cluster.admin() as conn:
            conn.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
            for name, value in {"lc_messages": "C", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C", "bytea_output": "hex",
                                "timezone_abbreviations": "Default"}.items():
                conn.execute(f"ALTER DATABASE {DATABASE} SET {name} TO '{value}'")

    def _test(self, cluster, server, test):
        """Runs one test with psql as pg_regress does (pg_regress_main.c); returns what it printed."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.work), "LC_MESSAGES": "C", "LANG": "C",
                       "PGAPPNAME": f"pg_regress/{test}", "PG_ABS_SRCDIR": str(self.work), "PG_ABS_BUILDDIR": str(self.work),
                       "PG_LIBDIR": str(self.work), "PG_DLSUFFIX": ".so", "PGTZ": "America/Los_Angeles", "PGDATESTYLE": "Postgres, MDY",
                       "PGOPTIONS": "-c intervalstyle=postgres_verbose", "PGHOST": server.host, "PGPORT": str(server.port),
                       "PGUSER": "postgres", "PGPASSWORD": SUPERUSER_PASSWORD}
        with open(self.work / "sql" / f"{test}.sql") as script:
            psql = subprocess.Popen(
                [program("psql"), "-X", "-a", "-q", "-d", DATABASE, "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"],
                stdin=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=self.work, **cluster.identity)
            try:
                printed = psql.communicate(timeout=TIMEOUT)[0]
            except subprocess.TimeoutExpired:
                psql.kill()
                printed = psql.communicate()[0] + f"\nended after {TIMEOUT} s\n".encode()
        return printed.decode(errors="backslashreplace").replace(str(self.work), "FOLDER")


if __name__ == "__main__":
    sys.exit(main())
