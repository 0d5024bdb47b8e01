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


def plain_pooler(cluster, databases, pool, users=None):
    """A proxy with the guard off, at most `pool` connections a database: upstream all are the superuser `postgres`, which is the
    name of the proxy's user, too; `users` are more of those, with their passwords."""
    entry = {"default_tier": "int"}
    config = {
        "databases": {name: entry | {"int": {"url": f"postgres://postgres@{cluster.host}:{cluster.port}/{name}",
                                             "password_env": "TEST_SUPERUSER_PASSWORD"}} for name in databases},
        "users": {name: {"role": "service", "password": scram.verifier(password)}
                  for name, password in ({"postgres": SUPERUSER_PASSWORD} | (users or {})).items()},
        "tiers": {"int": PLAIN_POOLER | {"pool": {"min": 0, "max": pool, "wait": "20m"}}},
    }
    proxy = Proxy(cluster, config)
    proxy.environment["TEST_SUPERUSER_PASSWORD"] = SUPERUSER_PASSWORD
    return proxy
