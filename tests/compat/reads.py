"""Runs all that counts as a read, of a suite and its mutations, and shows that the server gives none a transaction id: reads FILE."""

import argparse
import concurrent.futures
import json
import sys
import time
from collections import Counter
from pathlib import Path

from regression import database, statements
from support.cluster import Cluster
from support.mutate import Mutator
from support.proxy import Proxy
from support.transaction_ids import NOT_TOLD, Runner
from support.verdicts import is_read, is_unparsed, judge, table_functions

# A session that may write, which is warned of each call that may do anything.
WARNING = {"roles": {"service": {tier: {"opaque_write": "warn", "dangerous": "warn"} for tier in ("int", "stg")}}}
SETTINGS = ("SET lock_timeout = '100ms'", "SET work_mem = '16MB'", "SET max_parallel_workers_per_gather = 0")


def main():
    parser = argparse.ArgumentParser(prog="scripts/compat reads", description=__doc__)
    parser.add_argument("file", help="JSON Lines with sql and kind, in the order of the suite")
    parser.add_argument("--mutations", type=int, default=100_000, help="how many (100000)")
    parser.add_argument("--seed", type=int, default=20260101, help="the same seed makes the same mutations")
    parser.add_argument("--timeout", type=int, default=150, help="most milliseconds of one statement (150)")
    parser.add_argument("--sessions", type=int, default=2, help="how many run at once (2)")
    parser.add_argument("--save", type=Path, help="writes the counter-examples to this file as JSON Lines")
    args = parser.parse_args()

    suite = statements.load(args.file)
    originals = [s.sql for s in suite]
    texts = list(dict.fromkeys(originals + Mutator(originals, args.seed).some(args.mutations)))
    judged = judge(texts, "engineer", "prod")
    reads = [(text, facts) for text, facts in zip(texts, judged) if is_read(facts)]
    print(f"{len(originals)} statements and {args.mutations} mutations (seed {args.seed}): {len(texts)} different texts, {len(reads)} are reads")

    cluster = Cluster()
    try:
        cluster.create()
        made, failed = database.prepare(cluster, suite, "regression")
        print(f"database: {made} statements made its objects, {failed} failed")
        proxy = Proxy(cluster, WARNING, {("app", "int"): "regression", ("app", "stg"): "regression"})
        try:
            proxy.start()
            # What could not be parsed runs where it counts as a read: on a careful tier.
            readable = [(text, facts) for text, facts in reads if not is_unparsed(facts)]
            unparsed = [(text, facts) for text, facts in reads if is_unparsed(facts)]
            found = run(proxy, "int", readable, args) + run(proxy, "stg", unparsed, args)
        finally:
            proxy.close()
    finally:
        cluster.remove()
    if args.save:
        args.save.write_text("".join(json.dumps({"sql": text, "id": outcome.assigned}) + "\n" for text, outcome in found))
    sys.exit(1 if found else 0)


def run(proxy, tier, reads, args):
    """Runs the reads in sessions that may write and prints what became of them; returns those that were given an id which no
    rule explains."""
    retried = []
    begun = time.monotonic()

    def share(number):
        mine = reads[number::args.sessions]
        runner = Runner(lambda: proxy.wire_login("app", tier), SETTINGS, args.timeout)
        try:
            return [(*read, outcome) for read, outcome in zip(mine, runner.run(text for text, _ in mine), strict=True)]
        finally:
            retried.extend(runner.retried)
            runner.close()

    with concurrent.futures.ThreadPoolExecutor(args.sessions) as pool:
        done = [row for part in pool.map(share, range(args.sessions)) for row in part]
    outcomes = [outcome for _, _, outcome in done if outcome]
    errors = Counter(o.sqlstate for o in outcomes if o.sqlstate)
    assigned = [(text, o, o.warnings() + table_functions(facts)) for text, facts, o in done if o and o.assigned is not None]
    named = [names for _, _, names in assigned if names]
    found = [(text, o) for text, o, names in assigned if not names]
    print(f"{tier}: {len(done)} reads run in {time.monotonic() - begun:.0f} s; {sum(errors.values())} ended in an error "
          f"{dict(errors.most_common(6))}; {len(done) - len(outcomes)} had no answer")
    for text in retried:
        print(f"    no answer among others: {statements.plain(text, 300)}")
    for text, _, outcome in done:
        if not outcome:
            print(f"    no answer: {statements.plain(text, 300)}")
    print(f"  given a transaction id: {len(assigned)}; named by the rules: {len(named)} "
          f"{dict(Counter(names[0].split(' is ')[0] for names in named).most_common(8))}")
    print(f"  given one that no rule names: {len(found)}")
    for text, outcome in found[:40]:
        print(f"    {statements.plain(text, 300)}" + (" (not told)" if outcome.assigned == NOT_TOLD else ""))
    return found


if __name__ == "__main__":
    main()
