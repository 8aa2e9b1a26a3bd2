#!/bin/sh
# A tour on the embedded PostgreSQL; each run adds 2,000 sample projects and moves them.
set -eu
export DATABASE_URL= # never a database of one's own, whatever .env says

heading() { printf '\n%s\n\n' "── $1"; }
manage() {
    printf '$ manage.py %s\n' "$*"
    .venv/bin/python manage.py "$@"
}

heading "A database with a legacy \"Project\" table, and our tables beside it"
manage migrate --verbosity 0
manage seed_legacy_projects --count 2000 --seed 1 --append

heading "What a backfill would write"
manage backfill_agentkit_state --dry-run

heading "The backfill"
manage backfill_agentkit_state

heading "Is everything there, and equal?"
manage verify_agentkit_state --audit

heading "The admin"
manage prepare_local_use
echo "To browse, type: make run"
