"""The trigger that moves the legacy home's clock: its two functions, and which of them it calls.

A trigger function runs inside the legacy application's own statements, with the rights of the role that writes. It
therefore reads no table, and it never raises because of what other tools did to "Project": every error of class 42
(a missing column, a column of another type) is caught.

Only the contract points the trigger at ``agentstate_clock_without_columns``, in the transaction that drops the five
columns. Which function the trigger calls is therefore the record of who dropped them:
see :func:`agentstate.state.columns.read_legacy_home`.
"""

from __future__ import annotations

from agentstate.state.columns import CLOCK_TRIGGER, CLOCK_WITHOUT_COLUMNS
from agentstate.state.keys import STATE_KEYS

_CHANGES = "\n            OR ".join(f'NEW."{key.column}" IS DISTINCT FROM OLD."{key.column}"' for key in STATE_KEYS)
_NAMES = ", ".join(key.column for key in STATE_KEYS)

# Python knows the years 1 to 9999 only, and a microsecond must fit behind the clock.
_SANE = "BETWEEN '0002-01-01 00:00:00+00' AND '9999-01-01 00:00:00+00'"

# 'syntax_error_or_access_rule_violation' is the name of error class 42 and catches all of it.
CLOCK_FUNCTIONS = f"""
CREATE OR REPLACE FUNCTION agentstate_state_clock() RETURNS trigger LANGUAGE plpgsql AS $function$
DECLARE
    is_changed boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW."stateUpdatedAt" {_SANE} THEN
            RETURN NEW;
        END IF;
        NEW."stateUpdatedAt" := clock_timestamp();
        RETURN NEW;
    END IF;
    IF NEW."stateUpdatedAt" > OLD."stateUpdatedAt" AND NEW."stateUpdatedAt" {_SANE} THEN
        RETURN NEW;  -- set by the writer: only agentstate does that
    END IF;
    BEGIN
        is_changed := {_CHANGES};
    EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
        -- Another tool dropped a column or changed its type. Compare what is left, by name.
        SELECT bool_or(to_jsonb(NEW) -> name IS DISTINCT FROM to_jsonb(OLD) -> name) INTO is_changed
        FROM unnest('{{{_NAMES}}}'::text[]) name;
    END;
    IF OLD."stateUpdatedAt" NOT {_SANE} THEN
        NEW."stateUpdatedAt" := clock_timestamp();
    ELSIF is_changed THEN
        NEW."stateUpdatedAt" := greatest(clock_timestamp(), OLD."stateUpdatedAt" + interval '1 microsecond');
    ELSE
        NEW."stateUpdatedAt" := OLD."stateUpdatedAt";  -- a stale row written back does not turn the clock back
    END IF;
    RETURN NEW;
EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
    RETURN NEW;  -- another tool dropped the clock's column, or changed its type
END
$function$;
{CLOCK_WITHOUT_COLUMNS};
"""

# The trigger's name sorts last, so that it sees what other triggers changed. On a database whose columns the contract
# dropped, it keeps calling the function that the contract chose.
POINT_TRIGGER = f"""
DO $do$
DECLARE
    called text := (
        SELECT proname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
        WHERE tgrelid = '"Project"'::regclass AND tgname = 'zz_agentstate_state_clock'
    );
BEGIN
    IF called = 'agentstate_clock_without_columns' THEN
        {CLOCK_TRIGGER.format(function="agentstate_clock_without_columns")};
    ELSE
        {CLOCK_TRIGGER.format(function="agentstate_state_clock")};
    END IF;
END
$do$;
"""
