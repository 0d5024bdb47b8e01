"""Runs the node-postgres tests of tests/node against the shared proxy; skipped where node or its modules are not installed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).resolve().parent.parent / "node"

pytestmark = pytest.mark.skipif(shutil.which("node") is None or not (NODE / "node_modules" / "pg").exists(),
                                reason="needs node and `npm ci` in tests/node")


@pytest.mark.parametrize("file", sorted(p.name for p in (NODE / "test").glob("*.test.js")))
def test_node_postgres(proxy, file):
    logins = {}
    for user, tier in (("app", "int"), ("app", "prod"), ("alice", "prod")):
        login = proxy.login(user, tier)
        logins[f"{user}-{tier}"] = {"user": login["user"], "password": login["password"], "database": login["dbname"]}
    env = {k: v for k, v in os.environ.items() if not k.startswith("PG") or k == "PGBELAY_DIRECT"}
    env |= {"PGBELAY_TEST_HOST": proxy.host, "PGBELAY_TEST_PORT": str(proxy.port), "PGBELAY_TEST_LOGINS": json.dumps(logins)}
    result = subprocess.run(["node", "--test", f"test/{file}"], cwd=NODE, env=env, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
