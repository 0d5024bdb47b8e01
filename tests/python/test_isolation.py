"""Sessions that share a pool of three cannot tell it from connections of their own: see support/isolation.py.

`scripts/compat isolation` plays many more.
"""

import pytest

from support.isolation import SETUP, World

POOL = 3
PROXIED, ALONE = "isolation_proxied", "isolation_direct"


@pytest.fixture(scope="module")
def sides(cluster, make_module_proxy):
    """How to log in through the proxy and on a connection of one's own, to databases that are alike."""
    for name in (PROXIED, ALONE):
        cluster.create_database(name)
        with cluster.connect(name) as conn:
            conn.execute(SETUP)
    proxy = make_module_proxy({"tiers": {"int": {"pool": {"min": 0, "max": POOL, "wait": "10s"}}}}, {("app", "int"): PROXIED})
    return proxy, cluster


@pytest.mark.needs_proxy
@pytest.mark.parametrize("seed", range(4))
def test_random_interleavings_answer_alike(sides, seed):
    proxy, cluster = sides
    world = World(seed, lambda: proxy.wire_login("app", "int", reason=None), lambda: cluster.wire(ALONE), POOL)
    try:
        world.run(60)
    finally:
        world.close()
