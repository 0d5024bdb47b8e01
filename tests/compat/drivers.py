"""The drivers' own test suites, direct and through pgbelay with the guard off: the same tests pass

    scripts/compat drivers [--pool N] [--keep FOLDER] [NAME…]

runs each suite twice, each time on a cluster of its own: once against Postgres, once through pgbelay with transaction pooling and a pool
smaller than what the suite opens. Suites come with the drivers' packages (PyPI's source packages, crates.io, Debian's source package of
node-postgres), each driver as it is released. psycopg 3 publishes its driver without its tests, and Debian's mirrors do not all have
its source package: psycopg2, which comes with its own, stands in for psycopg's half of libpq, and SQLAlchemy's suite runs over psycopg 3.

tests/compat/differences.toml says why a test differs; the exit code is 0 when it does so of each that differs.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from driver_suites.node import NodePostgres
from driver_suites.python import Asyncpg, Pg8000, Psycopg2, SqlalchemyAsyncpg, SqlalchemyPsycopg
from driver_suites.rust import TokioPostgres
from driver_suites.suite import HEAD
from support.cluster import Cluster
from support.compat import plain_pooler
from support.differences import Known

SUITES = [Asyncpg(), SqlalchemyPsycopg(), SqlalchemyAsyncpg(), Psycopg2(), Pg8000(), NodePostgres(), TokioPostgres()]


def main():
    suites = {suite.name: suite for suite in SUITES}
    arguments = argparse.ArgumentParser(prog="scripts/compat drivers", description=__doc__.splitlines()[0])
    arguments.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(suites)}")
    arguments.add_argument("--pool", type=int, default=4, help="most upstream connections a database (default %(default)s)")
    arguments.add_argument("--keep", type=Path, help="where to leave what each side printed")
    arguments.add_argument("--only", help="words that the names of the tests must hold (pytest -k)")
    chosen = arguments.parse_args()
    unknown = set(chosen.names) - set(suites)
    if unknown:
        arguments.error(f"no such suite: {' '.join(sorted(unknown))}")

    table, differing, unexplained = [], 0, 0
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
        absent, known, differ = ("did not run", ""), Known(name), []
        for test in sorted(sides["direct"] | sides["pgbelay"]):
            (before, _), (after, why) = (sides[side].get(test, absent) for side in ("direct", "pgbelay"))
            if before == after:
                continue
            differ.append(test)
            reason = known.reason(test)
            unexplained += reason is None
            said = f"because {' '.join(reason.split())}" if reason else f"UNEXPLAINED: {' '.join(why.split())[:HEAD]}"
            print(f"{name}: {test}: {before} direct, {after} through pgbelay\n    {said}", flush=True)
        differing += len(differ)
        if not chosen.only:
            for gone in known.unseen(differ):
                print(f"{name}: {gone}: no difference any more; take it off differences.toml")
    print(f"\n{'suite':20}{'side':10}{'passed':>8}{'failed':>8}{'skipped':>8}")
    for name, side, *counts in table:
        print(f"{name:20}{side:10}{''.join(f'{count:8}' for count in counts)}")
    print(f"{differing} tests differ, {unexplained} of them for no known reason")
    return 1 if unexplained else 0


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
        proxy = plain_pooler(cluster, suite.databases + suite.others, pool, suite.users)
        proxy.start()
        try:
            yield proxy
        finally:
            proxy.close()
    finally:
        cluster.remove()


if __name__ == "__main__":
    sys.exit(main())
