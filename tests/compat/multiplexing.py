"""500 clients in short transactions with SET, prepared statements and now and then a temporary table over a pool of 10: [SECONDS]"""

import asyncio
import random
import statistics
import sys
import time

import psycopg

from support.cluster import Cluster
from support.proxy import Proxy

CLIENTS, POOL = 500, 10
SCHEMA = """
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
INSERT INTO accounts SELECT n, 0 FROM generate_series(1, 1000) n;
CREATE TABLE moves (client int NOT NULL, serial int NOT NULL, PRIMARY KEY (client, serial));
"""


class Client:
    """One application session: it thinks, does a short transaction, and checks that its session is its own."""

    def __init__(self, proxy, index):
        self.login = proxy.login("app", "int", reason=None)
        self.index, self.random = index, random.Random(index)
        self.done, self.temporary, self.errors, self.slowest = 0, 0, [], 0.0

    async def run(self, until):
        try:
            async with await psycopg.AsyncConnection.connect(**self.login, autocommit=True, prepare_threshold=1) as conn:
                await conn.execute(f"SET application_name = 'client {self.index}'")
                while time.monotonic() < until:
                    await asyncio.sleep(self.random.random())
                    began = time.monotonic()
                    await self.transaction(conn)
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.done += 1
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is the result
            self.errors.append(f"client {self.index}: {error!r}")

    async def transaction(self, conn):
        if self.random.random() < 0.1:
            await conn.execute(f"SET work_mem = '{64 + self.index}kB'")
        if self.random.random() < 0.03:
            self.temporary += 1
            async with conn.transaction():
                await conn.execute("CREATE TEMP TABLE picked ON COMMIT DROP AS SELECT id FROM accounts LIMIT 3")
                await conn.execute("UPDATE accounts SET balance = balance + 1 WHERE id IN (SELECT id FROM picked) AND id = 1")
        async with conn.transaction():
            await conn.execute("INSERT INTO moves VALUES (%s, %s)", [self.index, self.done])
            await conn.execute("UPDATE accounts SET balance = balance + 1 WHERE id = %s", [self.index + 2])
        cursor = await conn.execute("SELECT current_setting('application_name'), (SELECT count(*) FROM moves WHERE client = %s)", [self.index])
        seen = await cursor.fetchone()
        if seen != (f"client {self.index}", self.done + 1):
            raise AssertionError(f"saw {seen} after {self.done + 1} transactions")


def total(proxy, name):
    """The sum of a metric over the pool of the tier."""
    return sum(value for labels, value in proxy.metrics().get(name, []) if labels.get("tier") == "int")


async def watch(proxy, until):
    """How many connections are held, sampled evenly."""
    held = []
    while time.monotonic() < until:
        held.append(await asyncio.to_thread(total, proxy, "pgbelay_pool_connections_in_use"))
        await asyncio.sleep(0.1)
    return held


async def play(proxy, seconds):
    clients = [Client(proxy, i) for i in range(CLIENTS)]
    until = time.monotonic() + seconds
    watching = asyncio.create_task(watch(proxy, until))
    await asyncio.gather(*(client.run(until) for client in clients))
    held = await watching
    done = sum(c.done for c in clients)
    errors = [error for c in clients for error in c.errors]
    print(f"{CLIENTS} clients over {POOL} connections for {seconds} s: {done} rounds ({done / seconds:.0f}/s), "
          f"{sum(c.temporary for c in clients)} with a temporary table, {len(errors)} errors")
    print(f"connections held: {statistics.mean(held):.1f} on average, so a client holds one {statistics.mean(held) / CLIENTS:.2%} of the time; "
          f"slowest round {max(c.slowest for c in clients):.2f} s")
    for error in errors[:10]:
        print(error)
    return 1 if errors or not done else 0


def main(seconds=30):
    cluster = Cluster()
    proxy = None
    try:
        cluster.create()
        with cluster.connect("app_int") as conn:
            conn.execute(SCHEMA)
        proxy = Proxy(cluster, {"tiers": {"int": {"pool": {"min": 0, "max": POOL, "wait": "30s"}}}}).start()
        return asyncio.run(play(proxy, seconds))
    finally:
        if proxy:
            proxy.close()
        cluster.remove()


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
