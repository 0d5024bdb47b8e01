"""Sessions that share a pool of three cannot tell it from connections of their own, however the proxy takes their statements:
see support/isolation.py.

`scripts/compat isolation` plays many more.
"""

import pytest

from support.isolation import SETUP, WAYS, World, config

POOL = 3


@pytest.fixture(scope="module", params=WAYS)
def sides(request, cluster, make_module_proxy):
    """How to log in through the proxy and on a connection of one's own, to databases that are alike."""
    way = request.param
    names = [f"isolation_{way}_{side}" for side in ("proxied", "direct")]
    for name in names:
        cluster.create_database(name)
        with cluster.connect(name) as conn:
            conn.execute(SETUP)
    tier = WAYS[way]["tier"]
    proxy = make_module_proxy(config(way, POOL), {("app", tier): names[0]})
    return way, lambda: proxy.wire_login("app", tier, reason=None), lambda: cluster.wire(names[1])


@pytest.mark.needs_proxy
@pytest.mark.parametrize("seed", range(2))
def test_random_interleavings_answer_alike(sides, seed):
    way, proxied, direct = sides
    world = World(seed, proxied, direct, POOL, way)
    try:
        world.run(60)
    finally:
        world.close()
