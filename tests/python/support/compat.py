"""What the comparisons of tests/compat share: a proxy that guards nothing, and a folder for what they fetch."""

import os
from pathlib import Path

from .cluster import SUPERUSER_PASSWORD
from .proxy import ROOT, Proxy
from . import scram

# Kept between runs, outside what git knows.
CACHE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "compat"

# docs/configuration.md, "A plain pooler": nothing is refused, limited or warned about.
PLAIN_POOLER = {
    "unbounded_write": "allow",
    "statement_timeout": "none",
    "lock_timeout": "none",
    "idle_in_transaction_timeout": "none",
    "audit": "changes",
}


def plain_pooler(cluster, databases, pool):
    """A proxy with the guard off: the superuser `postgres` on both sides, at most `pool` connections a database."""
    entry = {"default_tier": "int"}
    config = {
        "databases": {name: entry | {"int": {"url": f"postgres://postgres@{cluster.host}:{cluster.port}/{name}",
                                             "password_env": "TEST_SUPERUSER_PASSWORD"}} for name in databases},
        "users": {"postgres": {"role": "service", "password": scram.verifier(SUPERUSER_PASSWORD)}},
        "tiers": {"int": PLAIN_POOLER | {"pool": {"min": 0, "max": pool, "wait": "20m"}}},
    }
    proxy = Proxy(cluster, config)
    proxy.environment["TEST_SUPERUSER_PASSWORD"] = SUPERUSER_PASSWORD
    return proxy
