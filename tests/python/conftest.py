"""Fixtures: one Postgres cluster a run, one proxy with the default policy a run, and proxies of their own for modules."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.cluster import Cluster  # noqa: E402
from support.proxy import DIRECT, endpoint  # noqa: E402
from support.sessions import LOGINS  # noqa: E402


def pytest_configure():
    """A run that is terminated stops its servers, as one that is interrupted does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Skips what only the proxy does when the tests run against Postgres itself."""
    if DIRECT:
        skip = pytest.mark.skip(reason="needs the proxy")
        for item in items:
            if item.get_closest_marker("needs_proxy"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def cluster():
    """A private Postgres."""
    server = Cluster()
    try:
        server.create()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def shared_proxy(cluster):
    """The proxy with the built-in policies and small pools."""
    server = endpoint(cluster)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def proxy(shared_proxy):
    """The shared proxy; the test fails when it has ended or panicked."""
    yield shared_proxy
    if not DIRECT:
        assert shared_proxy.process.poll() is None, f"the proxy has ended:\n{shared_proxy.stderr()[-4000:]}"
        assert "panicked" not in shared_proxy.stderr(), shared_proxy.stderr()[-6000:]


@pytest.fixture(params=LOGINS, ids="-".join)
def wire(proxy, request):
    """A raw session: unguarded; guarded and writing; guarded and read-only."""
    user, tier = request.param
    with proxy.wire_login(user, tier) as conn:
        yield conn


@pytest.fixture(params=LOGINS[:2], ids="-".join)
def writer(proxy, request):
    """A raw session that may write: unguarded, guarded."""
    user, tier = request.param
    with proxy.wire_login(user, tier) as conn:
        yield conn


@pytest.fixture(scope="module")
def make_module_proxy(cluster):
    """Makes proxies that live as long as the module: make(config, database_names)."""
    yield from _maker(cluster)


@pytest.fixture
def make_proxy(cluster):
    """Makes proxies that live as long as the test: make(config, database_names)."""
    yield from _maker(cluster)


def _maker(cluster):
    made = []

    def make(config=None, database_names=None, start=True):
        server = endpoint(cluster, config, database_names)
        made.append(server)
        return server.start() if start else server

    yield make
    failures = []
    for server in made:
        try:
            server.close()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)
