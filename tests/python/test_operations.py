"""Start, stop, reload, health and metrics."""

import concurrent.futures
import re
import signal
import socket
import time

import psycopg
import pytest

from support import wire as w
from support.ports import wait_until
from support.wire import SYNC, bind, execute, parse

pytestmark = pytest.mark.needs_proxy


# --- stop ---


def test_stop_without_sessions(make_proxy):
    proxy = make_proxy()
    started = time.monotonic()
    assert proxy.stop() == 0
    assert time.monotonic() - started < 5
    assert proxy.verify().returncode == 0


def test_stop_lets_transactions_finish(make_proxy, cluster):
    proxy = make_proxy({"listen": {"drain": "10s"}})
    with proxy.connect("app", "int") as busy, proxy.connect("app", "int") as idle:
        busy.execute("BEGIN")
        busy.execute("UPDATE projects SET status = 'drained' WHERE id = 35")
        idle.execute("SELECT 1")
        proxy.process.send_signal(signal.SIGTERM)
        # The idle session is told at once; the busy one may finish.
        with pytest.raises(psycopg.OperationalError) as ended:
            wait_until(lambda: idle.execute("SELECT 1") and False, "the idle session is ended")
        assert ended.value.sqlstate in ("57P01", None)
        # Whoever has connected by now is let in.
        with pytest.raises(psycopg.OperationalError):
            wait_until(lambda: proxy.connect("app", "int").close(), "nobody else is let in")
        assert proxy.process.poll() is None
        busy.execute("UPDATE projects SET status = 'drained' WHERE id = 36")
        busy.execute("COMMIT")
        assert proxy.process.wait(8) == 0
    with cluster.connect("app_int") as check:
        assert check.execute("SELECT count(*) FROM projects WHERE status = 'drained'").fetchone() == (2,)
        check.execute("UPDATE projects SET status = 'active' WHERE status = 'drained'")


def test_stop_does_not_wait_for_ever(make_proxy, cluster):
    proxy = make_proxy({"listen": {"drain": "500ms"}})
    with proxy.wire_login("app", "int") as wire:
        wire.simple("BEGIN")
        wire.simple("UPDATE projects SET status = 'cut off' WHERE id = 37")
        started = time.monotonic()
        assert proxy.stop() == 0
        assert 0.3 < time.monotonic() - started < 8
        assert w.errors(wire.rest()) == ["57P01"]
    with cluster.connect("app_int") as check:
        assert check.execute("SELECT count(*) FROM projects WHERE status = 'cut off'").fetchone() == (0,)


def test_a_second_signal_ends_it_at_once(make_proxy):
    proxy = make_proxy({"listen": {"drain": "30s"}})
    with proxy.wire_login("app", "int") as wire:
        wire.simple("BEGIN")
        wire.simple("SELECT 1")
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: proxy.answers("/readyz", 503), "it drains")
        proxy.process.send_signal(signal.SIGTERM)
        proxy.process.wait(8)


def test_draining_is_not_ready(make_proxy):
    proxy = make_proxy({"listen": {"drain": "10s"}})
    with proxy.connect("app", "int") as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: proxy.answers("/readyz", 503), "it says that it is not ready")
        assert proxy.http("/healthz")[0] == 200
        busy.execute("COMMIT")
    assert proxy.process.wait(8) == 0


def test_stop_closes_the_servers_connections(make_proxy, cluster):
    name = cluster.fresh_database("stopped")
    proxy = make_proxy(None, {("app", "int"): name})
    with proxy.connect("app", "int") as conn:
        conn.execute("SELECT 1")
    assert cluster.backends(name)
    assert proxy.stop() == 0
    wait_until(lambda: not cluster.backends(name), "the connections are closed")
    cluster.drop_database(name)


# --- start ---


def test_address_in_use(make_proxy):
    first = make_proxy()
    second = make_proxy({"listen": {"address": first.config["listen"]["address"]}}, start=False)
    with pytest.raises(AssertionError, match="ended with"):
        second.start()
    assert str(first.port) in second.stderr()


def test_broken_configuration_does_not_start(make_proxy):
    proxy = make_proxy({"tiers": {"prod": {"unbounded_write": "perhaps"}}}, start=False)
    with pytest.raises(AssertionError, match="ended with"):
        proxy.start()
    assert "unbounded_write" in proxy.stderr()


def test_starts_while_the_database_is_away(make_proxy):
    """It listens, says that it is not ready, and answers clients with what is wrong."""
    with socket.socket() as nothing:
        nothing.bind(("127.0.0.1", 0))
        url = f"postgres://app@127.0.0.1:{nothing.getsockname()[1]}/app"
        proxy = make_proxy({"databases": {"app": {tier: {"url": url} for tier in ("int", "stg", "prod")}}}, start=False)
        proxy.start(wait_for="/healthz")
        wait_until(lambda: proxy.answers("/readyz", 503), "it is not ready")
        with pytest.raises(psycopg.OperationalError) as failure, proxy.connect("app", "int") as conn:
            conn.execute("SELECT 1")
        assert failure.value.sqlstate in ("08001", None)


# --- reload ---


def test_reload_changes_the_policy_of_running_sessions(make_proxy):
    proxy = make_proxy()
    with proxy.connect("app", "prod") as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("UPDATE projects SET name = name")
        proxy.reload({"tiers": {"prod": {"unbounded_write": "allow"}}})
        wait_until(lambda: allowed(conn, "UPDATE projects SET name = name"), "the new policy holds")
        proxy.reload({"tiers": {"prod": {"unbounded_write": "deny"}}})
        wait_until(lambda: not allowed(conn, "UPDATE projects SET name = name"), "the old policy holds again")


def allowed(conn, statement):
    """Whether the proxy lets it through."""
    try:
        conn.execute(statement)
        return True
    except psycopg.errors.InsufficientPrivilege:
        return False


def test_prepared_statements_are_judged_again_after_a_reload(make_proxy):
    """A verdict is remembered with the policy's generation."""
    proxy = make_proxy({"tiers": {"prod": {"unbounded_write": "allow"}}})
    with proxy.wire_login("app", "prod") as wire:
        wire.send(parse("UPDATE projects SET name = name", "kept"), bind("kept"), execute(), SYNC)
        assert w.errors(wire.until()) == []
        proxy.reload({"tiers": {"prod": {"unbounded_write": "deny"}}})

        def refused():
            wire.send(bind("kept"), execute(), SYNC)
            return w.errors(wire.until())

        assert wait_until(refused, "it is refused") == ["42501"]


def test_reload_changes_a_role(make_proxy):
    proxy = make_proxy()
    with proxy.connect("alice", "prod") as conn:
        assert not writes(conn)
        proxy.reload({"users": {"alice": {"role": "service"}}})
        with proxy.connect("alice", "prod") as renewed:
            assert writes(renewed)


def writes(conn):
    """Whether a bounded write works."""
    try:
        conn.execute("UPDATE projects SET name = name WHERE id = 1")
        return True
    except psycopg.errors.ReadOnlySqlTransaction:
        return False


def test_bad_reload_keeps_the_old_configuration(make_proxy):
    proxy = make_proxy()
    with proxy.connect("app", "prod") as conn:
        record = proxy.reload({"tiers": {"prod": {"unbounded_write": "perhaps"}}})
        assert "unbounded_write" in record["message"]
        assert not allowed(conn, "UPDATE projects SET name = name")
        with proxy.connect("app", "prod") as other:
            assert other.execute("SELECT 1").fetchone() == (1,)
    assert samples(proxy, "pgbelay_config_reloads_total", outcome="failed") == 1
    proxy.config_file.write_text("this is [not toml")
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: samples(proxy, "pgbelay_config_reloads_total", outcome="failed") == 2, "the second failure is counted")
    proxy.config_file.unlink()
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: samples(proxy, "pgbelay_config_reloads_total", outcome="failed") == 3, "the third failure is counted")
    proxy.reload({"tiers": {"prod": {"unbounded_write": "allow"}}})
    wait_until(lambda: samples(proxy, "pgbelay_config_reloads_total", outcome="ok") == 1, "the reload is counted")


def test_reload_adds_a_database(make_proxy, cluster):
    proxy = make_proxy()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        proxy.connect("app", "int", "late")
    proxy.reload({"databases": {"late": {"int": dict(proxy.config["databases"]["app"]["stg"])}}})
    with proxy.connect("app", "int", "late") as conn:
        assert conn.execute("SELECT current_database()").fetchone() == ("app_stg",)


def test_reload_changes_the_pool(make_proxy):
    proxy = make_proxy({"tiers": {"int": {"pool": {"max": 1, "wait": "300ms"}}}})
    with proxy.connect("app", "int") as a, proxy.connect("app", "int") as b:
        a.execute("BEGIN")
        a.execute("SELECT 1")
        with pytest.raises(psycopg.errors.TooManyConnections):
            b.execute("SELECT 1")
        proxy.reload({"tiers": {"int": {"pool": {"max": 5}}}})
        assert b.execute("SELECT 1").fetchone() == (1,)
        a.execute("COMMIT")


def test_reloads_under_load(make_proxy):
    proxy = make_proxy()

    def work(i):
        with proxy.connect("app", "prod") as conn:
            return [conn.execute("SELECT %s::int", [k]).fetchone()[0] for k in range(150)] == list(range(150))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, i) for i in range(8)]
        for turn in range(5):
            proxy.reload({"tiers": {"prod": {"max_rows_written": 100 + turn}}})
        assert all(f.result(60) for f in running)


# --- health and metrics ---


def test_health(proxy):
    assert proxy.http("/healthz")[0] == 200
    status, body = proxy.http("/readyz")
    assert status == 200 and '"ready":true' in body.replace(" ", "")
    assert proxy.http("/nosuch")[0] == 404


def samples(proxy, name, **labels):
    """The sum of a metric's samples with these labels."""
    return sum(value for found, value in proxy.metrics().get(name, []) if labels.items() <= found.items())


def test_statements_are_counted(proxy):
    def counted(**labels):
        return samples(proxy, "pgbelay_statements_total", database="app", tier="prod", **labels)

    reads, writes_, denied = counted(**{"class": "READ"}), counted(**{"class": "WRITE", "verdict": "guarded"}), counted(verdict="deny")
    rule = samples(proxy, "pgbelay_denials_total", rule="unbounded-write")
    durations = samples(proxy, "pgbelay_statement_duration_seconds_count", tier="prod")
    with proxy.connect("app", "prod") as conn:
        for _ in range(3):
            conn.execute("SELECT name FROM projects WHERE id = 1")
        conn.execute("UPDATE projects SET name = name WHERE id = 1")
        assert not allowed(conn, "DELETE FROM email_drafts")
    wait_until(lambda: counted(verdict="deny") > denied, "the refusal is counted")
    assert counted(**{"class": "READ"}) - reads == 3
    assert counted(**{"class": "WRITE", "verdict": "guarded"}) - writes_ == 1
    assert counted(verdict="deny") - denied == 1
    assert samples(proxy, "pgbelay_denials_total", rule="unbounded-write") - rule == 1
    assert samples(proxy, "pgbelay_statement_duration_seconds_count", tier="prod") - durations >= 4


def test_sessions_and_pools_are_counted(make_proxy):
    proxy = make_proxy({"tiers": {"int": {"pool": {"max": 3, "wait": "5s"}}}})
    with proxy.connect("app", "int") as a, proxy.connect("app", "int") as b:
        a.execute("BEGIN")
        a.execute("SELECT 1")
        b.execute("LISTEN x")
        for name, expected in (("pgbelay_sessions", 2), ("pgbelay_pool_connections_max", 3), ("pgbelay_pool_connections_in_use", 2),
                               ("pgbelay_sessions_pinned", 1)):
            wait_until(lambda name=name, expected=expected: samples(proxy, name, tier="int") == expected, f"{name} is {expected}")
        a.execute("COMMIT")
    wait_until(lambda: samples(proxy, "pgbelay_sessions") == 0, "the sessions are over")
    wait_until(lambda: samples(proxy, "pgbelay_pool_connections_in_use", tier="int") == 0, "the pool is at rest")


def test_failures_are_counted(proxy):
    before = samples(proxy, "pgbelay_auth_failures_total")
    with pytest.raises(psycopg.OperationalError):
        proxy.connect("alice", "int", password="wrong")
    wait_until(lambda: samples(proxy, "pgbelay_auth_failures_total") == before + 1, "the refused login is counted")
    before = samples(proxy, "pgbelay_protocol_errors_total")
    with proxy.wire_login("alice") as wire:
        wire.send(w.message("?", b""))
        wire.rest()
    wait_until(lambda: samples(proxy, "pgbelay_protocol_errors_total") == before + 1, "the protocol error is counted")


def test_metrics_are_well_formed(proxy):
    text = proxy.http("/metrics")[1]
    for line in text.splitlines():
        assert line == "" or re.fullmatch(r'# (HELP|TYPE) \w+ .*|\w+(\{(\w+="(\\.|[^"\\])*",?)*\})? \S+', line), line
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    for name in ("pgbelay_sessions", "pgbelay_statements_total", "pgbelay_pool_connections_open", "pgbelay_pool_checkout_wait_seconds",
                 "pgbelay_audit_lag_seconds", "pgbelay_audit_failures_total", "pgbelay_build_info"):
        assert name in names, name


def test_log_has_no_statements_and_is_json_where_asked(make_proxy):
    proxy = make_proxy(start=False)
    proxy.environment["PGBELAY_LOG_FORMAT"] = "json"
    proxy.start()
    with proxy.connect("app", "int") as conn:
        conn.execute("SELECT 'not for the log'")
    proxy.stop()
    lines = proxy.stderr().splitlines()
    assert lines and all(line.startswith("{") and line.endswith("}") for line in lines), lines[:5]
    assert "not for the log" not in proxy.stderr()
