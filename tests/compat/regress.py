"""Counts what is refused of the reads and writes of PostgreSQL's regression suite: regress FILE."""

import argparse
import re
import sys
from collections import Counter

from regression import database, statements
from support.cluster import Cluster
from support.verdicts import judge, refusal

READS_REFUSED = 0.005
WRITES_UNPARSED = 0.01

READ_KINDS = {"SelectStmt", "ValuesStmt", "VariableShowStmt", "ExplainStmt"}
WRITE_KINDS = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
READ_ONLY_TRANSACTION = "25006"


def main():
    parser = argparse.ArgumentParser(prog="scripts/compat regress", description=__doc__)
    parser.add_argument("file", help="JSON Lines with sql and kind, in the order of the suite")
    suite = statements.load(parser.parse_args().file)
    passed = reads(suite)
    passed &= writes(suite)
    sys.exit(0 if passed else 1)


def reads(suite):
    """Of the reads, what a read-only person is refused on prod."""
    chosen = [s for s in suite if s.kind in READ_KINDS and (s.kind != "ExplainStmt" or statements.explains_a_query(s.sql))]
    judged = judge([s.sql for s in chosen], "engineer", "prod")
    refused = [(s, refusal(facts)) for s, facts in zip(chosen, judged) if refusal(facts)]
    changing, causes = told_apart(suite, refused)
    print(f"Reads of a read-only person on prod: {len(chosen)} statements {dict(Counter(s.kind for s in chosen))}")
    by_rule = Counter(r["rule"] for _, r in refused)
    print(f"  refused in all: {len(refused)} ({share(len(refused), len(chosen))}) {dict(by_rule)}")
    print(f"  of these no reads, as Postgres itself shows: {len(changing)}")
    for (message, evidence), count in sorted(causes.items()):
        print(f"    {count:4}  {message}: {evidence}")
    left = [pair for pair in refused if pair not in changing]
    real = len(chosen) - len(changing)
    print(f"  refused of {real} reads: {len(left)} ({share(len(left), real)}; at most {READS_REFUSED:.1%})")
    for statement, why in left:
        print(f"    {why['rule']}: {statements.plain(statement.sql, 110)}\n      {why['detail']}")
    return len(left) <= READS_REFUSED * real


def told_apart(suite, refused):
    """The refused statements that are no reads, and how many for each cause: those that Postgres refuses in a READ ONLY transaction, those that it gives a
    transaction id in another, and those refused for the same cause as one of these."""
    cluster = Cluster()
    try:
        cluster.create()
        database.prepare(cluster, suite, "regression")
        with cluster.admin("regression") as conn:
            conn.execute("SET statement_timeout = '2s'")
            evidence = {}
            for statement, why in refused:
                shown = refused_read_only(conn, statement.sql) or changes(conn, statement.sql)
                if shown:
                    evidence.setdefault(cause(statement, why), shown)
    finally:
        cluster.remove()
    changing = [(s, why) for s, why in refused if cause(s, why) in evidence]
    return changing, Counter((why["message"], evidence[cause(s, why)]) for s, why in changing)


def cause(statement, why):
    """What two statements are refused for alike."""
    return statement.sql if why["rule"].startswith("unparsed") else why["message"]


def refused_read_only(conn, sql):
    """Whether Postgres refuses it in a READ ONLY transaction."""
    return "refused in a READ ONLY transaction" if attempt(conn, "BEGIN READ ONLY", sql)[0] == READ_ONLY_TRANSACTION else None


def changes(conn, sql):
    """Whether the server gives its transaction an id."""
    return "given a transaction id" if attempt(conn, "BEGIN", sql)[1] else None


def attempt(conn, begin, sql):
    """The SQLSTATE of a statement and the id of its transaction, which is rolled back."""
    pg = conn.pgconn
    pg.exec_(begin.encode())
    pg.exec_(b"SAVEPOINT before")
    sqlstate = pg.exec_(sql.encode()).error_field(67)
    pg.exec_(b"ROLLBACK TO before")
    assigned = pg.exec_(b"SELECT pg_current_xact_id_if_assigned()").get_value(0, 0)
    pg.exec_(b"ROLLBACK")
    return (sqlstate or b"").decode(), assigned


def writes(suite):
    """Of the writes with a WHERE, what a service is refused on prod because it could not be parsed."""
    chosen = [s for s in suite if s.kind in WRITE_KINDS and re.search(r"(?i)\bwhere\b", statements.plain(s.sql, len(s.sql)))]
    judged = judge([s.sql for s in chosen], "service", "prod")
    refused = [(s, refusal(facts)) for s, facts in zip(chosen, judged) if refusal(facts)]
    unparsed = [s for s, why in refused if why["rule"].startswith("unparsed")]
    print(f"Writes with a WHERE of a service on prod: {len(chosen)} statements {dict(Counter(s.kind for s in chosen))}")
    print(f"  refused because they could not be parsed: {len(unparsed)} ({share(len(unparsed), len(chosen))}; at most {WRITES_UNPARSED:.1%})")
    for statement in unparsed:
        print(f"    {statements.plain(statement.sql)}")
    others = [(s, why) for s, why in refused if s not in unparsed]
    print(f"  refused by other rules: {len(others)}")
    for statement, why in others:
        print(f"    {why['rule']}: {statements.plain(statement.sql, 110)}\n      {why['detail']}")
    return len(unparsed) <= WRITES_UNPARSED * len(chosen)


def share(part, whole):
    """A share in percent."""
    return f"{part / whole:.2%}"


if __name__ == "__main__":
    main()
