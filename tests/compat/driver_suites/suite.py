"""What all suites have in common."""

# A suite that takes longer has got stuck; so has a single test of one.
TIMEOUT = 3600
TEST_TIMEOUT = 60
# So much of a failure's reason is kept.
HEAD = 400


class Suite:
    """Somebody else's tests."""

    name = ""
    databases = ["postgres"]
    setup = []
    # Databases that every cluster has, and its tests connect to.
    others = []
    # Other users than the superuser, with their passwords.
    users = {}
    only = None
