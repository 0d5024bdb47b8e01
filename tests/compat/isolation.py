"""Plays 10,000 random interleavings of 20 sessions over a pool of 3 against Postgres itself: isolation [COUNT [FIRST SEED [WAY]]]"""

import sys
import time

from support.cluster import Cluster
from support.isolation import SESSIONS, SETUP, WAYS, Difference, World, config
from support.proxy import Proxy

POOL = 3
# Sessions live for this many interleavings; each such world has a seed of its own.
WORLD = 100


def main(count=10_000, seed=0, way="plain"):
    cluster = Cluster()
    proxy = None
    try:
        cluster.create()
        for name in ("proxied", "alone"):
            cluster.create_database(name)
            with cluster.connect(name) as conn:
                conn.execute(SETUP)
        tier = WAYS[way]["tier"]
        proxy = Proxy(cluster, config(way, POOL), {("app", tier): "proxied"}).start()
        return play(cluster, proxy, way, int(count), int(seed))
    finally:
        if proxy:
            proxy.close()
        cluster.remove()


def play(cluster, proxy, way, count, seed):
    played = actions = differences = 0
    began = time.monotonic()
    while played < count:
        login = lambda: proxy.wire_login("app", WAYS[way]["tier"], reason=None)
        world = World(seed, login, lambda: cluster.wire("alone"), POOL, way)
        try:
            world.run(min(WORLD, count - played))
        except Difference as difference:
            differences += 1
            print(difference, flush=True)
            world.close()
            # What a difference leaves behind must not be taken for another.
            for name in ("proxied", "alone"):
                with cluster.connect(name) as conn:
                    conn.execute("TRUNCATE iso_rows")
        finally:
            world.close()
        played += max(world.interleavings, 1)
        actions += world.actions
        seed += 1
        print(f"{played} interleavings of {SESSIONS} sessions over {POOL} connections, {actions} actions, "
              f"{differences} differences, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
