#!/usr/bin/env bash
# Run once by the postgres image of docker-compose.yml, before the server takes connections: makes the role that pgbelay
# logs in as, and the databases of the three tiers with the demo's schema.
set -euo pipefail

as_superuser() { psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" "$@"; }

as_superuser --dbname=postgres --set=password="$APP_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE app LOGIN PASSWORD :'password';
SQL
for tier in int stg prod; do
    as_superuser --dbname=postgres --command="CREATE DATABASE app_$tier OWNER app"
    PGOPTIONS='-c role=app' as_superuser --dbname="app_$tier" --file="${SCHEMA_FILE:-/schema.sql}"
done
