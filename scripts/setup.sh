# shellcheck shell=bash
# Read by scripts/demo and scripts/test: installs what they need and is not there. Does nothing, quickly, when all is there.

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

apt_is_fresh=
# install_packages PACKAGE…: installs Debian or Ubuntu packages.
install_packages() {
    have apt-get || fail "Please install what Debian calls: $*"
    local -a root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "Please install these packages as root: $*"
        root=(sudo)
    fi
    if [ -z "$apt_is_fresh" ]; then
        "${root[@]}" apt-get update -qq
        apt_is_fresh=yes
    fi
    say "Installing $* …"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Rust links with a C compiler, and the cryptography has C in it.
need_rust() {
    have cargo || fail "Please install Rust first: https://rustup.rs"
    have cc || install_packages gcc libc6-dev
}

# need_component COMMAND COMPONENT: a part of Rust that a minimal installation lacks.
need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    have rustup || fail "Please install Rust's component $2"
    say "Installing $2 …"
    rustup component add "$2"
}

have_postgres() {
    local bin
    for bin in "${PGBELAY_PG_BIN:-}" /usr/lib/postgresql/*/bin; do
        [ -x "$bin/initdb" ] && [ -x "$bin/pgbench" ] && return
    done
    have initdb && have pg_ctl && have pgbench
}

# The server programs, for private clusters in temporary folders. No cluster of the system's own is made or started.
need_postgres() {
    if ! have_postgres; then
        install_packages postgresql-common
        local conf=/etc/postgresql-common/createcluster.conf
        local -a root=()
        [ "$(id -u)" = 0 ] || root=(sudo)
        "${root[@]}" sed -i 's/^#\?create_main_cluster *=.*/create_main_cluster = false/' "$conf"
        if apt-cache show postgresql-15 >/dev/null 2>&1; then install_packages postgresql-15; else install_packages postgresql postgresql-contrib; fi
    fi
    have psql || install_packages postgresql-client
}

# unchanged FILE STAMP: true when STAMP says that FILE has been installed as it is now.
unchanged() { [ -f "$2" ] && cmp -s "$1" "$2"; }

# The program that makes certificates for tests.
need_openssl() { have openssl || install_packages openssl; }

# A virtual environment at .venv with the Python drivers.
need_python() {
    local wanted=tests/python/requirements.txt stamp=.venv/requirements.installed
    unchanged "$wanted" "$stamp" && return
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then install_packages python3 python3-venv; fi
    say "Installing the Python drivers into .venv …"
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$stamp"
}

# node-postgres in tests/node/node_modules.
need_node() {
    local lock=tests/node/package-lock.json stamp=tests/node/node_modules/.installed
    have node || install_packages nodejs
    local major
    major=$(node --print 'process.versions.node.split(".")[0]')
    [ "$major" -ge 18 ] || fail "Please install Node.js 18 or later: this is $(node --version), which has no test runner"
    unchanged "$lock" "$stamp" && return
    have npm || install_packages npm
    say "Installing node-postgres into tests/node …"
    npm ci --prefix tests/node --no-audit --no-fund --silent
    cp "$lock" "$stamp"
}

# Where cargo puts a debug build.
built() { printf '%s/debug/pgbelay' "${CARGO_TARGET_DIR:-$PWD/target}"; }
