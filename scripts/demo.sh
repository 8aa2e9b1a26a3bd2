#!/bin/sh
# A tour on the embedded PostgreSQL. Each run adds 2,000 sample projects, backfills them and records a few live runs.
set -eu
export DATABASE_URL= # the embedded PostgreSQL, whatever .env says

heading() { printf '\n%s\n\n' "── $1"; }
manage() {
    printf '$ manage.py'
    for argument in "$@"; do
        case $argument in *' '*) printf " '%s'" "$argument" ;; *) printf ' %s' "$argument" ;; esac
    done
    printf '\n'
    .venv/bin/python manage.py "$@"
}

heading "A database with a legacy \"Project\" table, and our tables beside it"
manage migrate --verbosity 0
is_first=$(.venv/bin/python manage.py agentkit_rollout --format json | grep -c '"stage": "legacy"' || true)
if [ "$is_first" = 0 ]; then # settle what an earlier tour left forked; its intake's project is no sample
    .venv/bin/python manage.py shell --no-imports -c \
        'from agentstate.models import Project; Project.objects.filter(id="healthy-rivers").delete()'
    manage backfill_agentkit_state --prefer agentkit --all
    manage reverse_backfill_agentkit_state
fi
manage seed_legacy_projects --count 2000 --seed 1 --append

heading "What a backfill would write"
manage backfill_agentkit_state --dry-run

heading "The backfill"
manage backfill_agentkit_state

heading "Is everything there, and equal?"
manage verify_agentkit_state --audit

heading "Live runs: saves go into both homes, and one project forks"
if [ "$is_first" = 1 ]; then
    manage agentkit_rollout advance
fi
manage make_live_runs --seed 1

heading "An intake: documents of a request for proposals become state, as one recorded run"
manage make_sample_call .data/call
manage ingest_rfp healthy-rivers .data/call/* --create "Healthy Rivers"
.venv/bin/python scripts/show_events.py healthy-rivers

heading "A run over HTTP: recorded and read with curl"
.venv/bin/python manage.py prepare_local_use >/dev/null # makes the secret key that the server needs
address=127.0.0.1:${API_PORT:-8123}
.venv/bin/python manage.py agentkit_token revoke demo >/dev/null 2>&1 || true # of an earlier tour
TOKEN=$(.venv/bin/python manage.py agentkit_token create demo --scope read --scope write)
.venv/bin/python -m uvicorn project.asgi:application --host "${address%:*}" --port "${address#*:}" --log-level warning &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    kill -0 $server 2>/dev/null || exit 1 # it has said why
    if curl -sf -o /dev/null "http://$address/api/v1/ready"; then break; fi
    sleep 0.2
done
API=http://$address/api/v1 TOKEN=$TOKEN SITE=http://127.0.0.1:8000 sh scripts/record_run.sh # SITE: of make run
kill $server

heading "The admin"
manage prepare_local_use
echo "To browse, type: make run"
