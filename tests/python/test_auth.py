"""Who may log in, to what, and what a refusal gives away."""

import concurrent.futures
import re

import psycopg
import pytest

from support import scram
from support import wire as w
from support.proxy import USERS
from support.wire import startup_packet

pytestmark = pytest.mark.needs_proxy


def refusal(proxy, user, password, database="app:int"):
    """The messages of a login that must fail: the SASL challenge as text, and the error's fields."""
    with proxy.wire() as wire:
        wire.send(startup_packet({"user": user, "database": database}))
        request = wire.receive()
        assert request.kind == "R", request
        client = scram.Client(password)
        first = client.first()
        wire.send(w.message("p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first))
        challenge = wire.receive()
        assert challenge.kind == "R", challenge
        wire.send(w.message("p", client.final(challenge.body[4:])))
        messages = wire.rest()
        assert w.kinds(messages) == "E", messages
        return challenge.body[4:].decode(), messages[0].fields()


def shape(challenge):
    """A challenge without its random parts: lengths and the iteration count."""
    nonce, salt, iterations = (part.split("=", 1)[1] for part in challenge.split(","))
    return len(nonce), len(salt), iterations


def test_wrong_password(proxy):
    _, error = refusal(proxy, "alice", "wrong")
    assert (error["S"], error["C"]) == ("FATAL", "28P01")
    assert error["M"] == 'password authentication failed for user "alice"'


def test_unknown_user_is_answered_like_a_wrong_password(proxy):
    known_challenge, known = refusal(proxy, "alice", "wrong")
    unknown_challenge, unknown = refusal(proxy, "nobody", "wrong")
    assert shape(known_challenge) == shape(unknown_challenge)
    assert {k: v.replace("nobody", "alice") for k, v in unknown.items()} == known


def test_unknown_users_have_steady_salts(proxy):
    """A salt that changed between two tries would tell that the user is not known."""
    def salt(user):
        return re.search(r"s=([^,]+)", refusal(proxy, user, "x")[0])[1]

    assert salt("nobody") == salt("nobody")
    assert salt("nobody") != salt("somebody")


def test_empty_password(proxy):
    assert refusal(proxy, "alice", "")[1]["C"] == "28P01"


def test_upstream_password_does_not_log_in(proxy):
    """The database's own password is no password of the proxy."""
    from support.cluster import APP_PASSWORD
    assert refusal(proxy, "app", APP_PASSWORD)[1]["C"] == "28P01"


def test_failures_are_recorded_without_secrets(proxy):
    refusal(proxy, "alice", "try-this-password-8812")
    refusal(proxy, "mallory", "and-this-one-9913")
    for user in ("alice", "mallory"):
        record = proxy.wait_record("auth.fail", user=user)
        assert record["client"].startswith("127.0.0.1:") and record["sqlstate"] == "28P01"
    text = proxy.audit_file.read_text() + proxy.stderr()
    assert "try-this" not in text and "and-this" not in text and "SCRAM-SHA-256$" not in text


@pytest.mark.parametrize("database, expected", [
    ("nosuch", 'database "nosuch" does not exist'),
    ("nosuch:prod", 'database "nosuch" does not exist'),
])
def test_unknown_database(proxy, database, expected):
    with pytest.raises(psycopg.OperationalError, match=expected):
        proxy.connect("alice", None, database)


@pytest.mark.parametrize("database", ["app:production", "app:", "app:PROD", "app:prod:x"])
def test_unknown_tier_names_those_there_are(proxy, database):
    with pytest.raises(psycopg.OperationalError) as failure:
        proxy.connect("alice", None, database)
    for tier in ("int", "stg", "prod"):
        assert tier in str(failure.value)


def test_databases_are_not_told_to_strangers(proxy):
    """Whether a database exists is answered after authentication only."""
    assert refusal(proxy, "alice", "wrong", "nosuch")[1]["C"] == "28P01"
    assert refusal(proxy, "nobody", "wrong", "app:nosuch")[1]["C"] == "28P01"


def test_bare_name_is_the_default_tier(proxy):
    with proxy.connect("app", None) as conn:
        assert conn.execute("SELECT current_database()").fetchone() == ("app_int",)


def test_default_tier_and_plain_name(make_proxy):
    proxy = make_proxy({"databases": {"app": {"default_tier": "stg", "prod": {"name": "app_production"}}}})
    with proxy.connect("app", None) as conn:
        assert conn.execute("SELECT current_database()").fetchone() == ("app_stg",)
    with proxy.connect("app", None, "app_production") as conn:
        assert conn.execute("SELECT current_database()").fetchone() == ("app_prod",)
        assert conn.execute("SHOW pgbelay.tier").fetchone() == ("prod",)


def test_many_logins_at_once(proxy):
    def work(i):
        try:
            with proxy.connect("app", "int", password="wrong" if i % 3 == 0 else USERS["app"][1]) as conn:
                return conn.execute("SELECT %s::int", [i]).fetchone()[0]
        except psycopg.OperationalError as error:
            return "28P01" if "password authentication failed" in str(error) else str(error)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert list(pool.map(work, range(60))) == ["28P01" if i % 3 == 0 else i for i in range(60)]


def test_password_change_by_reload(make_proxy):
    proxy = make_proxy()
    with proxy.connect("alice", "int") as before:
        proxy.reload({"users": {"alice": {"password": scram.verifier("the-new-one")}}})
        with proxy.connect("alice", "int", password="the-new-one") as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            proxy.connect("alice", "int")
        assert before.execute("SELECT 'still here'").fetchone() == ("still here",)


def test_removed_user_cannot_log_in_again(make_proxy):
    proxy = make_proxy()
    proxy.connect("bot", "int").close()
    del proxy.config["users"]["bot"]
    proxy.reload()
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "bot"'):
        proxy.connect("bot", "int")


@pytest.mark.parametrize("password", ["plain-from-env", "pässwörd ☃ mit Leerzeichen", scram.verifier("from-verifier")])
def test_password_from_the_environment(make_proxy, password):
    proxy = make_proxy(start=False)
    proxy.config["users"]["alice"] = {"role": "engineer", "password_env": "ALICE_PASSWORD"}
    proxy.write_config()
    proxy.environment["ALICE_PASSWORD"] = password
    proxy.start()
    clear = "from-verifier" if password.startswith("SCRAM") else password
    with proxy.connect("alice", "int", password=clear) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        proxy.connect("alice", "int", password=clear + "x")


def test_session_user_is_the_proxys_role_upstream(proxy):
    """People do not have roles of their own in the database; the trail knows who they are."""
    with proxy.connect("alice", "prod") as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("app",)


def test_verifier_with_other_iterations(make_proxy):
    proxy = make_proxy({"users": {"alice": {"password": scram.verifier("slow-one", 15000)}}})
    with proxy.connect("alice", "int", password="slow-one") as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
