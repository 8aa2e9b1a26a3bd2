"""What the catalog says about the legacy home: its columns, its clock, and whether agentstate dropped the columns.

Asked of the catalog each time, since the columns can be dropped while a process runs.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections

from agentstate.state.keys import STATE_KEYS

_NAMES = ", ".join(f"'{key.column}'" for key in STATE_KEYS)

# An SQL condition: any of the five columns exists. Agentstate adds and drops them together, other tools may drop one.
# In a transaction that holds a lock on a row of "Project" the answer holds until its end.
COLUMNS_ARE_THERE = f"""
    EXISTS (SELECT FROM pg_attribute WHERE attrelid = '"Project"'::regclass
            AND attname IN ({_NAMES}) AND NOT attisdropped)"""

# What a transaction of ours says before it moves state into the columns, which frozen columns let through.
MOVES_STATE = "SET LOCAL agentstate.moves_state = 'on'"

# Points the clock's trigger at a function. Which one it calls says who dropped the columns: see LegacyHome.
CLOCK_TRIGGER = """
    CREATE OR REPLACE TRIGGER zz_agentstate_state_clock BEFORE INSERT OR UPDATE ON "Project"
        FOR EACH ROW EXECUTE FUNCTION {function}();
    ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock"""

# What the trigger calls once the contract has dropped the columns: the clock keeps its value, whoever writes a row
# back, until they come back. Raises nothing where another tool has dropped the clock too.
CLOCK_WITHOUT_COLUMNS = """
CREATE OR REPLACE FUNCTION agentstate_clock_without_columns() RETURNS trigger LANGUAGE plpgsql AS $function$
BEGIN
    IF TG_OP = 'UPDATE' AND current_setting('agentstate.moves_state', true) IS DISTINCT FROM 'on' THEN
        NEW."stateUpdatedAt" := OLD."stateUpdatedAt";
    END IF;
    RETURN NEW;
EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
    RETURN NEW;
END
$function$"""


class LegacyHome(NamedTuple):
    """The legacy home as the catalog has it, and what agentstate itself did to it.

    The record of what agentstate did is the function that the trigger ``zz_agentstate_state_clock`` calls. Only the
    contract points it at ``agentstate_clock_without_columns``, in the transaction that drops the five columns, and
    only the contract points it back. Dumps, renamed schemas and replicas carry it. A missing column alone proves
    nothing: another tool may have dropped it.

    Attributes:
        missing: those of the five columns that ``"Project"`` does not have.
        has_clock: whether ``"stateUpdatedAt"`` exists as a ``timestamptz``.
        clock_function: the function that the clock's trigger calls, None where there is no trigger.
        clock_fires: whether that trigger fires, for every writer.
    """

    missing: tuple[str, ...]
    has_clock: bool
    clock_function: str | None
    clock_fires: bool

    @property
    def is_contracted(self) -> bool:
        """Whether the contract dropped the columns."""
        return self.clock_function == "agentstate_clock_without_columns"

    @property
    def dropped_by_others(self) -> tuple[str, ...]:
        """The columns that are missing although the contract did not drop them."""
        return () if self.is_contracted else self.missing

    @property
    def added_by_others(self) -> tuple[str, ...]:
        """The columns that exist although the contract dropped all five."""
        return tuple(key.column for key in STATE_KEYS if key.column not in self.missing) if self.is_contracted else ()

    @property
    def is_as_we_left_it(self) -> bool:
        """Whether columns, clock and trigger are as agentstate made them."""
        changed = self.dropped_by_others or self.added_by_others
        return self.has_clock and self.clock_fires and not changed

    def repairs(self) -> list[str]:
        """Return the statements that bring back what other tools dropped, in the order in which to run them.

        A column gets its content from each project's newest snapshot. Afterwards the clocks have moved: the forward
        backfill takes the projects in again, which changes no content.
        """
        statements = []
        if not self.has_clock:
            statements += [
                'ALTER TABLE "Project" DROP COLUMN IF EXISTS "stateUpdatedAt"',
                'ALTER TABLE "Project" ADD COLUMN "stateUpdatedAt" timestamptz NOT NULL DEFAULT now()',
            ]
        if not self.clock_fires:
            function = self.clock_function or "agentstate_state_clock"
            statements += [statement.strip() for statement in CLOCK_TRIGGER.format(function=function).split(";")]
        for key in STATE_KEYS:
            if key.column in self.dropped_by_others:
                statements += [f'ALTER TABLE "Project" ADD COLUMN "{key.column}" jsonb', _refill(key.name, key.column)]
        return [f"{' '.join(statement.split())};" for statement in statements]


def _refill(name: str, column: str) -> str:
    return f"""
        UPDATE "Project" project SET "{column}" = newest.document FROM (
            SELECT DISTINCT ON (project_id) project_id, result -> 'state' -> '{name}' AS document
            FROM "AgentWorkflowRun" WHERE snapshot_at IS NOT NULL ORDER BY project_id, snapshot_at DESC
        ) newest WHERE newest.project_id = project.id AND newest.document IS NOT NULL AND "{column}" IS NULL"""


def read_legacy_home(using: str = DEFAULT_DB_ALIAS) -> LegacyHome:
    """Read from the catalog what the legacy home is like, and what agentstate did to it.

    Works whether or not ``"Project"`` exists: without it everything is missing.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(
            """
            SELECT
                ARRAY(
                    SELECT name FROM unnest(%s::text[]) WITH ORDINALITY names (name, place)
                    WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('"Project"')
                                      AND attname = name AND NOT attisdropped)
                    ORDER BY place
                ),
                EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('"Project"')
                        AND attname = 'stateUpdatedAt' AND atttypid = 'timestamptz'::regtype AND NOT attisdropped),
                clock.function, coalesce(clock.fires, false)
            FROM (VALUES (1)) always LEFT JOIN (
                SELECT proname::text AS function, tgenabled = 'A' AS fires
                FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
                WHERE tgrelid = to_regclass('"Project"') AND tgname = 'zz_agentstate_state_clock'
            ) clock ON true
            """,
            [[key.column for key in STATE_KEYS]],
        )
        missing, has_clock, clock_function, clock_fires = cursor.fetchone()
    return LegacyHome(tuple(missing), has_clock, clock_function, clock_fires)


def legacy_columns_are_there(using: str = DEFAULT_DB_ALIAS) -> bool:
    """Tell whether any of the five columns exists. Who dropped them is :func:`read_legacy_home`'s to tell."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS_ARE_THERE}")
        (there,) = cursor.fetchone()
    return bool(there)
