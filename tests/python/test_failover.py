"""The primary dies under load and its standby takes over."""

import psycopg
import pytest

from support.failover import Failover
from support.ports import wait_until

pytestmark = pytest.mark.needs_proxy


def test_failover_under_load():
    with Failover() as site:
        load = site.load(8)
        try:
            load.wait_for_writes(20)
            killed, promoted = site.fail_over()
            load.wait_for_writes(20)
        finally:
            load.stop()
        lost, doubled = load.lost_and_doubled(site.written())
        assert not lost and not doubled
        # Probes are at most a second apart, and the standby is the second host.
        assert load.first_success_after(promoted) - promoted < 5
        errors = load.errors()
        # Each client lost at most what it had in flight: 08006, or 25P02 behind it in its transaction.
        assert set(errors) <= {"08006", "25P02", "57P01", "57P02"}, errors
        assert max(len(failed) for failed in load.failed) <= 2, load.failed
        shown = site.proxy.http("/readyz")[1]
        assert f"127.0.0.1:{site.primary.port} (not used), 127.0.0.1:{site.standby.port} (primary)" in shown


def test_sessions_outlive_the_failover():
    """What a session has set is there on the new primary; an open transaction is over."""
    with Failover() as site, site.proxy.connect("app", "int") as idle, site.proxy.connect("app", "int") as busy:
        idle.execute("SET work_mem = '7MB'")
        for _ in range(6):
            idle.execute("SELECT %s::int", [1], prepare=True)
        busy.execute("BEGIN")
        busy.execute("INSERT INTO writes VALUES (1, 1)")
        site.fail_over()
        assert idle.execute("SHOW work_mem").fetchone() == ("7MB",)
        assert idle.execute("SELECT %s::int", [1], prepare=True).fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError) as lost:
            busy.execute("INSERT INTO writes VALUES (1, 2)")
        assert lost.value.sqlstate == "08006"
        busy.execute("ROLLBACK")
        busy.execute("INSERT INTO writes VALUES (1, 3)")
        wait_until(lambda: site.written() == {(1, 3): 1}, "only what was committed is there")
