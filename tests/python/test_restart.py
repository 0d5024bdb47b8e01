"""One process takes over from another: no client is refused meanwhile. And what systemd hands over and is told."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import psycopg
import pytest

from support.ports import wait_until
from support.proxy import binary

pytestmark = pytest.mark.needs_proxy


class Callers:
    """Threads that connect, run a statement and hang up, again and again; they note what fails."""

    def __init__(self, proxy, threads=4):
        self.proxy, self.failed, self.done, self.slowest = proxy, [], 0, 0.0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self):
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                with self.proxy.connect() as conn:
                    conn.execute("SELECT 1")
                self.done += 1
            except psycopg.Error as error:
                self.failed.append(error)
            self.slowest = max(self.slowest, time.monotonic() - started)


def settled(callers, more=20):
    """Waits until so many more calls were answered."""
    before = callers.done
    wait_until(lambda: callers.done >= before + more or callers.failed, "clients are served", 20)


def test_a_successor_takes_over_without_a_refused_client(make_proxy):
    """SO_REUSEPORT: the new process listens before the old one stops. Each has an audit trail of its own."""
    old = make_proxy({"listen": {"reuse_port": True}})
    new = make_proxy({"listen": {"reuse_port": True, "address": f"127.0.0.1:{old.port}"}}, start=False)
    new.port = old.port
    with Callers(old) as callers:
        settled(callers)
        new.start()
        settled(callers)
        assert old.stop() == 0
        settled(callers)
    assert not callers.failed, callers.failed
    assert old.verify().returncode == 0 and new.stop() == 0 and new.verify().returncode == 0
    served = [len(proxy.records("session.start")) for proxy in (old, new)]
    assert min(served) > 0 and sum(served) >= callers.done


def test_without_reuse_port_the_address_is_taken(make_proxy):
    first = make_proxy({"listen": {"reuse_port": True}})
    second = make_proxy({"listen": {"address": f"127.0.0.1:{first.port}"}}, start=False)
    with pytest.raises(AssertionError, match="cannot listen on"):
        second.start()


def test_a_process_that_cannot_have_the_trail_takes_no_clients(make_proxy):
    """It must not keep clients waiting that the one that runs could serve."""
    first = make_proxy({"listen": {"reuse_port": True}})
    second = make_proxy({"listen": {"reuse_port": True, "address": f"127.0.0.1:{first.port}"},
                         "audit": {"path": str(first.audit_file)}}, start=False)
    with Callers(first) as callers:
        settled(callers)
        with pytest.raises(AssertionError, match="audit"):
            second.start()
        settled(callers)
    assert not callers.failed, callers.failed


# --- systemd ---


@contextlib.contextmanager
def listening(address="127.0.0.1"):
    with socket.socket() as sock:
        sock.bind((address, 0))
        sock.listen(128)
        yield sock


def activate(proxy, *sockets, notify=None, watchdog=None):
    """Starts the process as systemd does: with listening sockets from descriptor 3 on, and variables that speak of them."""
    moves = " ".join(f"{3 + i}<&{sock.fileno()}" for i, sock in enumerate(sockets))
    script = f'LISTEN_PID=$$ LISTEN_FDS={len(sockets)} exec "$@" {moves}'
    env = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | proxy.environment
    env |= {"NOTIFY_SOCKET": notify} if notify else {}
    env |= {"WATCHDOG_USEC": str(watchdog)} if watchdog else {}
    script = script if sockets else 'exec "$@"'
    with open(proxy.stderr_file, "ab") as log:
        proxy.process = subprocess.Popen(["bash", "-c", script, "bash", binary(), "run", "--config", str(proxy.config_file)],
                                         stdout=log, stderr=log, env=env, cwd=proxy.base,
                                         pass_fds=[sock.fileno() for sock in sockets])


def address_of(sock):
    return f"127.0.0.1:{sock.getsockname()[1]}"


def ended(proxy):
    """Waits for a process that does not start; returns what it said."""
    assert proxy.process.wait(10) == 1
    return proxy.stderr()


def test_a_restart_behind_a_socket_of_systemd_refuses_nobody(make_proxy):
    """One trail, one process at a time: clients wait in the socket's queue meanwhile."""
    with listening() as sock, listening() as admin:
        proxy = make_proxy({"listen": {"address": address_of(sock)}, "admin": {"address": address_of(admin)}}, start=False)
        proxy.port, proxy.admin_port = sock.getsockname()[1], admin.getsockname()[1]
        activate(proxy, sock, admin)
        wait_until(proxy.answers, "it is ready")
        with Callers(proxy) as callers:
            settled(callers)
            for _ in range(3):
                assert proxy.stop() == 0
                activate(proxy, sock, admin)
                settled(callers)
        assert not callers.failed, callers.failed
        assert callers.slowest < 15
        assert proxy.verify().returncode == 0


def test_a_socket_for_another_address_is_refused(make_proxy):
    """What the configuration says of TLS is about its own address."""
    with listening() as sock:
        proxy = make_proxy(start=False)
        activate(proxy, sock)
        said = ended(proxy)
        assert f"is bound to {address_of(sock)}, but its address is 127.0.0.1:{proxy.port}" in said


def test_sockets_that_are_of_no_use_are_refused(make_proxy):
    with listening() as a, listening() as b, listening() as c, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        proxy = make_proxy({"listen": {"address": address_of(a)}, "admin": {"address": address_of(b)}}, start=False)
        activate(proxy, a, b, c)
        assert "systemd passes 3 sockets" in ended(proxy)
        activate(proxy, udp)
        assert "for [listen] cannot be used" in ended(proxy)


@pytest.fixture
def notified(tmp_path):
    """A socket as systemd has it for notifications; next() is the next message as a dict."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path = str(tmp_path / "notify")
        sock.bind(path)
        sock.settimeout(15)

        def message():
            return dict(line.split("=", 1) for line in sock.recv(4096).decode().splitlines())
        yield path, message


def test_systemd_is_told_of_start_reload_and_stop(make_proxy, notified):
    path, message = notified
    proxy = make_proxy(start=False)
    activate(proxy, notify=path)
    assert message()["READY"] == "1"
    proxy.connect().close()  # Ready means that clients can connect.
    for text in (proxy.config_file.read_text(), "nonsense"):
        proxy.config_file.write_text(text)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        proxy.process.send_signal(signal.SIGHUP)
        reloading = message()
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        # A reload that fails leaves it as ready as before.
        assert message()["READY"] == "1"
    proxy.process.send_signal(signal.SIGTERM)
    assert message()["STOPPING"] == "1"
    assert proxy.process.wait(10) == 0


def test_the_watchdog_is_fed(make_proxy, notified):
    path, message = notified
    proxy = make_proxy(start=False)
    activate(proxy, notify=path, watchdog=400_000)
    seen = [message() for _ in range(5)]
    assert sum("WATCHDOG" in m for m in seen) == 4 and sum("READY" in m for m in seen) == 1
    started = time.monotonic()
    assert message() == {"WATCHDOG": "1"} and message() == {"WATCHDOG": "1"}
    assert time.monotonic() - started < 0.8


# --- stop ---


def test_a_client_that_has_just_connected_is_served(make_proxy):
    """Its connection was accepted: it gets its first statement in, though the process stops."""
    proxy = make_proxy({"listen": {"drain": "20s"}})
    with proxy.connect() as busy, proxy.connect() as fresh, proxy.wire() as dialled:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: proxy.answers("/readyz", 503), "it stops")
        dialled.login({"user": "app", "database": "app:int"}, "app-clear-51ad")
        assert not [m for m in dialled.simple("SELECT 1") if m.kind == "E"]
        assert fresh.execute("SELECT 1").fetchone() == (1,)
        busy.execute("COMMIT")
    assert proxy.process.wait(10) == 0


def test_a_client_that_connects_and_says_nothing_does_not_hold_up_the_stop(make_proxy):
    proxy = make_proxy({"listen": {"drain": "30s"}})
    with socket.create_connection(("127.0.0.1", proxy.port)), proxy.connect():
        wait_until(lambda: proxy.metrics()["pgbelay_connections_accepted_total"][0][1] >= 2, "both are accepted")
        started = time.monotonic()
        assert proxy.stop() == 0
        assert time.monotonic() - started < 8


def test_the_limit_of_clients_follows_a_reload(make_proxy):
    proxy = make_proxy({"listen": {"max_clients": 1}})
    with proxy.connect():
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            proxy.connect()
        proxy.reload({"listen": {"max_clients": 2}})
        proxy.connect().close()
