"""A primary that dies under load, and its standby that takes over: what clients see, and what became of their writes."""

import collections
import threading
import time

import psycopg

from .cluster import Cluster
from .ports import wait_until
from .proxy import Proxy


class Failover:
    """A primary with a synchronous standby behind a proxy: what was acknowledged is on both."""

    def __init__(self, pool=5, wait="20s"):
        self.primary, self.standby, self.proxy = Cluster(), None, None
        self.pool, self.wait = pool, wait

    def __enter__(self):
        try:
            self.primary.create_empty()
            self.standby = self.primary.standby()
            with self.primary.admin() as conn:
                conn.execute("CREATE TABLE writes (worker int, n int)")
                conn.execute("GRANT ALL ON writes TO app")
            # On the primary alone: the standby must not wait for a standby of its own.
            self.primary.configure("synchronous_standby_names = '*'")
            hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.primary, self.standby))
            self.proxy = Proxy(self.primary, {"tiers": {"int": {"pool": {"min": 0, "max": self.pool, "wait": self.wait}}}})
            self.proxy.config["databases"]["app"] = {"int": {
                "url": f"postgres://app@{hosts}/postgres?target_session_attrs=read-write",
                "password_env": "TEST_UPSTREAM_PASSWORD"}}
            self.proxy.write_config()
            self.proxy.start()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        try:
            if self.proxy:
                self.proxy.close()
        finally:
            for server in (self.standby, self.primary):
                if server:
                    server.remove()

    def load(self, workers):
        """Starts clients that write, one row a statement, each row once."""
        return Load(self.proxy, workers)

    def fail_over(self):
        """Kills the primary and promotes the standby. Returns when the primary was killed and when the standby writes."""
        killed = time.monotonic()
        self.primary.kill()
        self.standby.promote()
        return killed, time.monotonic()

    def written(self):
        """How often each row is on the new primary."""
        with self.standby.admin() as conn:
            return {(worker, n): count for worker, n, count in
                    conn.execute("SELECT worker, n, count(*) FROM writes GROUP BY 1, 2")}


class Load:
    """Clients that write until they are stopped. A write that fails is not repeated: it may have happened."""

    def __init__(self, proxy, workers):
        self.proxy = proxy
        self.acknowledged = [[] for _ in range(workers)]
        self.failed = [[] for _ in range(workers)]
        self.times = [[] for _ in range(workers)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(i,)) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    def _work(self, i):
        conn, n = None, 0
        while not self._stop.is_set():
            n += 1
            try:
                if conn is None or conn.closed:
                    conn = self.proxy.connect("app", "int")
                # Some in a transaction of their own, some alone.
                if n % 3:
                    conn.execute("INSERT INTO writes VALUES (%s, %s)", [i, n])
                else:
                    with conn.transaction():
                        conn.execute("INSERT INTO writes VALUES (%s, %s)", [i, n])
                self.acknowledged[i].append(n)
                self.times[i].append(time.monotonic())
            except psycopg.Error as error:
                self.failed[i].append((n, error.sqlstate or type(error).__name__))
        if conn is not None:
            conn.close()

    def wait_for_writes(self, more, seconds=30):
        """Waits until every client has written `more` rows from now on."""
        before = [len(done) for done in self.acknowledged]
        wait_until(lambda: all(len(done) >= had + more for done, had in zip(self.acknowledged, before)),
                   f"every client has written {more} more rows", seconds)

    def stop(self):
        """Ends the clients."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def first_success_after(self, moment):
        """When the first write was acknowledged that followed a moment."""
        return min(at for times in self.times for at in times if at > moment)

    def errors(self):
        """How many errors of each SQLSTATE."""
        return collections.Counter(code for failed in self.failed for _, code in failed)

    def lost_and_doubled(self, written):
        """Acknowledged writes that are not there, and writes that are there twice."""
        acknowledged = {(i, n) for i, done in enumerate(self.acknowledged) for n in done}
        return acknowledged - written.keys(), {row for row, count in written.items() if count > 1}
