"""The commands that need no running proxy: check, explain, password, certs."""

import json
import re
import subprocess

import pytest

from support import scram
from support.proxy import certificates, command
from support.toml import dumps

pytestmark = pytest.mark.needs_proxy

GOOD = {
    "listen": {"address": "127.0.0.1:6432"},
    "admin": {"address": "127.0.0.1:9632"},
    "audit": {"path": "audit.jsonl"},
    "databases": {"app": {"default_tier": "int", "int": {"url": "postgres://app@127.0.0.1/app_int"},
                          "prod": {"url": "postgres://app@127.0.0.1/app_prod", "name": "app_production"}}},
    "users": {"alice": {"role": "engineer", "password": scram.verifier("x")}},
    "tiers": {"prod": {"max_rows_written": 500}},
}


def check(tmp_path, text, *args):
    file = tmp_path / "pgbelay.toml"
    file.write_text(text)
    return command("check", "--config", file, *args)


# --- check ---


def test_check_of_a_good_file(tmp_path):
    result = check(tmp_path, dumps(GOOD))
    assert result.returncode == 0, result.stderr
    for expected in ("app", "prod", "alice", "engineer", "500", "unbounded_write", "read-only"):
        assert expected in result.stdout, expected
    assert "SCRAM-SHA-256$" not in result.stdout + result.stderr


def test_check_reports_every_error_at_once(tmp_path):
    text = dumps(GOOD).replace('role = "engineer"', 'role = "enginer"') + '\n[tiers.stg]\nstatement_timeot = "1s"\nddl = "maybe"\nmax_rows_written = 0\n'
    text = text.replace("SCRAM-SHA-256$4096:", "clear-password-")
    result = check(tmp_path, text)
    assert result.returncode == 1
    for key in ("users.alice.role", "users.alice.password", "tiers.stg.statement_timeot", "tiers.stg.ddl", "tiers.stg.max_rows_written"):
        assert re.search(rf"pgbelay\.toml:\d+:.*{re.escape(key)}", result.stderr), f"{key} in\n{result.stderr}"
    assert "clear-password" not in result.stdout + result.stderr


def test_check_of_broken_and_missing_files(tmp_path):
    assert check(tmp_path, "[listen\naddress").returncode == 1
    missing = command("check", "--config", tmp_path / "nosuch.toml")
    assert missing.returncode != 0 and "nosuch.toml" in missing.stderr


def test_check_uses_the_environment(tmp_path):
    file = tmp_path / "elsewhere.toml"
    file.write_text(dumps(GOOD))
    assert command("check", env={"PGBELAY_CONFIG": str(file)}).returncode == 0


def test_check_connect(make_proxy):
    """Logs in to each upstream."""
    proxy = make_proxy(start=False)
    result = command("check", "--config", proxy.config_file, "--connect", env=proxy.environment)
    assert result.returncode == 0, result.stdout + result.stderr
    proxy.config["databases"]["app"]["stg"]["url"] += "_nosuch"
    proxy.write_config()
    result = command("check", "--config", proxy.config_file, "--connect", env=proxy.environment)
    assert result.returncode == 1
    assert "app:stg" in result.stdout + result.stderr and "nosuch" in result.stdout + result.stderr
    result = command("check", "--config", proxy.config_file, "--connect", env=proxy.environment | {"TEST_UPSTREAM_PASSWORD": "wrong"})
    assert result.returncode == 1 and "wrong" not in result.stdout + result.stderr


def test_example_configuration_is_valid():
    from support.proxy import ROOT
    result = command("check", "--config", ROOT / "config" / "pgbelay.toml", cwd=ROOT,
                     env={name: "x" for name in re.findall(r'password_env\s*=\s*"(\w+)"', (ROOT / "config" / "pgbelay.toml").read_text())})
    assert result.returncode == 0, result.stderr


# --- explain ---

KEYS = {"sql", "kind", "class", "verdict", "rule", "message", "hint", "writes", "tables", "fingerprint"}


def explain(*args, stdin=None, tier="prod", role="service"):
    return command("explain", "--tier", tier, "--role", role, *args, stdin=stdin)


def explained(*args, **kwargs):
    return [json.loads(line) for line in explain("--json", *args, **kwargs).stdout.splitlines()]


def test_explain_exit_codes(tmp_path):
    assert explain("SELECT 1").returncode == 0
    assert explain("DELETE FROM email_drafts").returncode == 1
    assert explain("SELECT 1; DELETE FROM email_drafts; SELECT 2").returncode == 1
    assert command("explain", "--tier", "nosuch", "--role", "service", "SELECT 1").returncode == 2
    assert command("explain", "--role", "service", "SELECT 1").returncode == 2
    assert explain("-f", tmp_path / "nosuch.sql").returncode == 2


def test_explain_json():
    rows = explained("SELECT * FROM projects; UPDATE email_drafts SET status = 'x' WHERE id = 1; DELETE FROM email_drafts WHERE 1=1")
    assert [r["verdict"] for r in rows] == ["allow", "guarded", "deny"]
    assert all(KEYS <= r.keys() for r in rows)
    assert [r["class"] for r in rows] == ["READ", "WRITE", "WRITE"]
    assert [r["kind"] for r in rows] == ["SELECT", "UPDATE", "DELETE"]
    assert rows[0]["tables"] == ["projects"]
    denied = rows[2]
    assert denied["rule"] == "unbounded-write"
    assert denied["message"] == "DELETE without an effective WHERE is not allowed on prod"
    assert denied["hint"] and denied["writes"]
    assert denied["sql"] == "DELETE FROM email_drafts WHERE 1=1"


@pytest.mark.parametrize("role, tier, statement, verdict", [
    ("engineer", "prod", "SELECT * FROM projects", "read_only"),
    ("engineer", "prod", "UPDATE projects SET name = 'x' WHERE id = 1", "deny"),
    ("engineer", "int", "DELETE FROM email_drafts", "allow"),
    ("engineer", "stg", "TRUNCATE email_drafts", "confirm"),
    ("migrator", "prod", "ALTER TABLE projects ADD COLUMN a int", "allow"),
    ("service", "prod", "ALTER TABLE projects ADD COLUMN a int", "deny"),
    ("agent", "stg", "UPDATE projects SET name = 'x' WHERE id = 1", "deny"),
    ("service", "stg", "COPY projects TO '/tmp/x'", "deny"),
])
def test_explain_verdicts(role, tier, statement, verdict):
    assert [r["verdict"] for r in explained(statement, role=role, tier=tier)] == [verdict]


def test_explain_reads_files_and_stdin(tmp_path):
    file = tmp_path / "migration.sql"
    file.write_text("-- a migration\nCREATE TABLE a (id int);\nINSERT INTO a VALUES (1);\n")
    assert len(explained("-f", file, role="migrator")) == 2
    assert len(explained(stdin="SELECT 1;\nSELECT 2;\n")) == 2


def test_explain_uses_a_configuration(tmp_path):
    file = tmp_path / "pgbelay.toml"
    config = GOOD | {"tiers": {"prod": {"unbounded_write": "allow"}}}
    file.write_text(dumps(config))
    args = ("explain", "--config", file, "--role", "service", "--json", "DELETE FROM email_drafts")
    assert command(*args[:3], "--database", "app:prod", *args[3:]).returncode == 0
    assert command(*args[:3], "--database", "app:nosuch", *args[3:]).returncode == 2


def test_explain_for_people():
    text = explain("DELETE FROM email_drafts WHERE 1=1").stdout
    assert "unbounded-write" in text and "deny" in text.lower()


def test_explain_fingerprint_leaves_literals_out():
    same = explained("SELECT * FROM projects WHERE id = 1; select * from projects where id = 2222")
    assert same[0]["fingerprint"] == same[1]["fingerprint"]
    assert explained("SELECT * FROM projects WHERE name = 'x'")[0]["fingerprint"] != same[0]["fingerprint"]


# --- password, certs, help ---


def test_password():
    import base64
    import hashlib
    import hmac
    result = command("password", stdin="correct horse\n")
    assert result.returncode == 0
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(\S+)\n", result.stdout)
    assert found, result.stdout
    salted = hashlib.pbkdf2_hmac("sha256", b"correct horse", base64.b64decode(found[2]), int(found[1]))
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    assert base64.b64decode(found[3]) == hashlib.sha256(client_key).digest()
    assert command("password", stdin="correct horse\n").stdout != result.stdout, "the salt is not random"
    assert "correct horse" not in result.stdout + result.stderr


def test_certs(tmp_path):
    folder = certificates(tmp_path / "pki", "--client", "alice", "--host", "db.example")
    verified = subprocess.run(["openssl", "verify", "-CAfile", folder / "ca.pem", folder / "server.pem", folder / "alice.pem"],
                              capture_output=True, text=True)
    assert verified.returncode == 0, verified.stderr
    text = subprocess.run(["openssl", "x509", "-in", folder / "server.pem", "-noout", "-ext", "subjectAltName"], capture_output=True,
                          text=True).stdout
    for name in ("localhost", "127.0.0.1", "db.example"):
        assert name in text
    for key in folder.glob("*-key.pem"):
        assert key.stat().st_mode & 0o077 == 0, key
    again = command("certs", folder)
    assert again.returncode != 0 and "ca.pem" in again.stderr


def test_help_of_every_command():
    top = command("--help").stdout
    for name in ("run", "check", "explain", "demo", "audit", "password", "certs"):
        assert name in top, name
        result = command(name, "--help")
        assert result.returncode == 0 and len(result.stdout) > 100
    assert re.match(r"pgbelay \d+\.\d+\.\d+", command("--version").stdout)
    assert command("nosuch").returncode == 2
