#!/bin/sh
# Makes the application's database and the owner of its schema, who may make roles and is no superuser.
# The Postgres image runs it once, on an empty data directory; `soma migrate` makes the schema and every other user.
# The password comes from the environment and is never an argument.
set -eu
psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner_password SOMA_OWNER_PASSWORD
CREATE ROLE soma_owner LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD :'owner_password';
CREATE DATABASE somagent OWNER soma_owner;
SQL
