#!/bin/sh
# Run once by the image of PostgreSQL, in an empty volume: an ordinary user, who owns one database and may make the two roles of Chainloop.
set -eu
psql --set=ON_ERROR_STOP=1 --username=postgres --set=password="$(cat /run/secrets/database-password)" <<'SQL'
create role chainloop login createrole password :'password';
create database chainloop owner chainloop;
SQL
