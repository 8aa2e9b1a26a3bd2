#!/bin/sh
# Record a run over HTTP and show it. API is the address, such as http://127.0.0.1:8000/api/v1, TOKEN a token for writing.
# SITE, by default the same server, is where the admin is.
set -eu
run=${1:-over-http-$(date +%s)}
call() { curl -sS --fail-with-body -H "Authorization: Bearer $TOKEN" "$@"; }

call -X PUT --json '{"workflow_id": "wf_over_http", "input": {"client": "curl"}}' "$API/runs/$run" >/dev/null
call --json '{"events": [
    {"id": "'"$run"'-1", "type": "tool.invocation", "payload": {"call_id": "1", "tool": "count_words", "arguments": {}}},
    {"id": "'"$run"'-2", "type": "tool.result", "payload": {"call_id": "1", "tool": "count_words", "output": 120}}
]}' "$API/runs/$run/events" >/dev/null
call --json '{"status": "succeeded", "output": {"words": 120}}' "$API/runs/$run/finish" >/dev/null

call -N -H "Accept: text/event-stream" "$API/runs/$run/events"
echo "Its page: ${SITE:-${API%/api/v1}}/admin/agentstate/agentworkflowrun/$run/change/"
