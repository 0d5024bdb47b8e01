"""Plays 10,000 random interleavings of 20 sessions over a pool of 3 against Postgres itself: isolation [COUNT [FIRST SEED]]"""

import sys
import time

from support.cluster import Cluster
from support.isolation import SESSIONS, SETUP, Difference, World
from support.proxy import Proxy

POOL = 3
# Sessions live for this many interleavings; each such world has a seed of its own.
WORLD = 100


def main(count=10_000, seed=0):
    cluster = Cluster()
    proxy = None
    try:
        cluster.create()
        for name in ("proxied", "alone"):
            cluster.create_database(name)
            with cluster.connect(name) as conn:
                conn.execute(SETUP)
        proxy = Proxy(cluster, {"tiers": {"int": {"pool": {"min": 0, "max": POOL, "wait": "10s"}}}}, {("app", "int"): "proxied"}).start()
        return play(cluster, proxy, count, seed)
    finally:
        if proxy:
            proxy.close()
        cluster.remove()


def play(cluster, proxy, count, seed):
    played = actions = differences = 0
    began = time.monotonic()
    while played < count:
        world = World(seed, lambda: proxy.wire_login("app", "int", reason=None), lambda: cluster.wire("alone"), POOL)
        try:
            world.run(min(WORLD, count - played))
        except Difference as difference:
            differences += 1
            # What a difference leaves behind must not be taken for another.
            for name in ("proxied", "alone"):
                with cluster.connect(name) as conn:
                    conn.execute("TRUNCATE iso_rows")
            print(difference, flush=True)
        finally:
            world.close()
        played += max(world.interleavings, 1)
        actions += world.actions
        seed += 1
        print(f"{played} interleavings of {SESSIONS} sessions over {POOL} connections, {actions} actions, "
              f"{differences} differences, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
