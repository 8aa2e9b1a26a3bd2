"""Parts of schemas and of the OpenAPI document that several routes share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentstate.models.fields import possible_id
from agentstate.state.keys import STATE_KEYS

RUN = "cjld2cjxh0000qzrmn831i7rn"
PROJECT = "cm1000218816t11ub4jaasax1"
AT = "2026-03-05T14:02:16.583921Z"


class Body(BaseModel):
    """A body of a request: no other members, and nothing is converted to another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """The body of an answer. It describes what routes build; nothing is converted."""


class Fact(Answer):
    field: str = Field(description="A member of the body as a path, or a parameter.", examples=["events[3].type"])
    fact: str = Field(examples=["Field required"])


class ProblemAnswer(Answer):
    """A problem as in RFC 9457, with the way out."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="What is wrong, for programs.", examples=["urn:agentstate:problem:run-not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="The fact.", examples=["No run has the id 'draft-7'."])
    way_out: str = Field(description="What to do.", examples=["Check the id."])
    errors: list[Fact] | None = Field(None, description="The fields that are wrong.")
    run_status: str | None = Field(None, description="The run's status, where that refuses.")
    gates: list[str] | None = Field(None, description="The gates that are closed, where they refuse.")
    length: int | None = Field(None, description="The transcript's length, where that refuses.")
    ids: list[str] | None = Field(None, description="The ids that are in use for something else.")


def _known_key(name: str) -> str:
    if name not in KEYS:
        raise ValueError(f"is not one of {', '.join(KEYS)}")
    return name


def _storable(text: str) -> str:
    if possible_id(text) is None:
        raise ValueError("contains NUL or half of a surrogate pair")
    return text


def _free(text: str) -> str:
    if text.startswith("legacy_"):
        raise ValueError("begins with legacy_, as the runs of a backfill do")
    if not text.strip("."):
        raise ValueError("has dots only, which an address cannot end with")
    return text


def _in_utc(moment: datetime) -> datetime:
    """Return the moment in UTC: PostgreSQL takes fewer time zones than Python."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999") from None


def _moment(value: Any) -> Any:
    """Let a body state a time as text only: JSON has no times, and a number of seconds would be a guess."""
    if not isinstance(value, str):
        raise ValueError("is not a time such as 2026-03-05T14:02:16Z")
    return value


KEYS = tuple(key.name for key in STATE_KEYS)

Key = Annotated[str, AfterValidator(_known_key), WithJsonSchema({"type": "string", "enum": list(KEYS)})]
Documents = Annotated[
    dict[Key, Any],
    WithJsonSchema({"type": "object", "properties": {key: {} for key in KEYS}, "additionalProperties": False}),
]
Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
# An id that a client chooses. It can be part of an address, and of an id of ours, which has a colon.
NEW_ID = r"^[A-Za-z0-9._~-]{1,200}$"
NewId = Annotated[str, Field(pattern=NEW_ID), AfterValidator(_free)]
# A time with its zone: of a parameter, and of a body.
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Moment = Annotated[Instant, BeforeValidator(_moment), Field(strict=False)]
Limit = Annotated[int, Field(ge=1, le=500)]
