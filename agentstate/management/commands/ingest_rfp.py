"""Turn a bundle of documents into project state."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import IntegrityError

from agentstate.management.base import OperatorCommand
from agentstate.management.intake import intake_errors, storable_text
from agentstate.management.text import counted, print_table, stream_of
from agentstate.models import Project

if TYPE_CHECKING:
    from agents import Model
    from django.core.management.base import CommandParser

    from agentstate.intake.reading import ReadFile, SourceFile
    from agentstate.orchestrator import Ingested
    from agentstate.orchestrator.agent import Fallback

WRONG_USAGE = 2
# Of the projects that --create makes.
OWNER = "agentstate"


class Command(OperatorCommand):
    help = (
        "Reads the documents of a request for proposals (Markdown, text, HTML, PDF, Word), works out the project's "
        "state from all documents that it has, and saves it as one run of the workflow rfp_intake. Documents that the "
        "project has already change nothing. Exits with 1 if a file could not be read; the others are taken in."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Take options between the project and the files, too."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", type=storable_text, help="The project's id.")
        parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="A document.")
        parser.add_argument(
            "--uploads", action="store_true", help='Take the texts that the legacy table "Upload" has for the project.'
        )
        parser.add_argument(
            "--create",
            type=storable_text,
            metavar="NAME",
            help="Create the project with this name if it does not exist.",
        )
        parser.add_argument(
            "--agent",
            metavar="MODEL",
            help="Let this model of OpenAI take the steps. Needs the extra agents and OPENAI_API_KEY. The steps that "
            "it leaves out are taken in the fixed order, and the command names them.",
        )
        parser.add_argument("--format", choices=["text", "json"], default="text", help="Of the summary on stdout.")

    def handle(
        self,
        *,
        project: str,
        files: list[Path],
        uploads: bool,
        create: str | None,
        agent: str | Model | None,
        format: str,  # noqa: A002
        verbosity: int,
        **_: Any,
    ) -> None:
        if not files and not uploads:
            raise CommandError("No document is named. Name files, or give --uploads.", returncode=WRONG_USAGE)
        with intake_errors():
            # The libraries that read documents are an extra.
            from agentstate.orchestrator import AgentUnavailable, UploadsUnreadable, ingest, uploads_of
            from agentstate.orchestrator.agent import require
            from agentstate.orchestrator.orchestrate import ProjectBusy

            try:
                if agent is not None:
                    require(agent)  # before a project is created
                sources, missing = _load(files)
                _create(project, create)
                ingested = ingest(
                    project,
                    sources,
                    texts=uploads_of(project) if uploads else (),
                    progress=self._say if verbosity else lambda _: None,
                    model=agent,
                )
            except (AgentUnavailable, UploadsUnreadable, ProjectBusy) as error:
                raise CommandError(str(error)) from error
        self._write(project, ingested, missing, as_json=format == "json")
        if unread := [*missing, *(file.name for file in ingested.unread)]:
            raise CommandError(
                f"{counted(len(unread), 'file')} could not be read: {', '.join(map(shlex.quote, unread))}."
            )

    def _say(self, file: ReadFile) -> None:
        self.stderr.write(f"{file.name}: {file.error or counted(file.pages, 'page')}")

    def _write(self, project: str, ingested: Ingested, missing: dict[str, str], *, as_json: bool) -> None:
        from agentstate.orchestrator.orchestrate import summary

        found = summary(ingested.worked_out, ingested.files)
        found["documents"] += [
            {**dict.fromkeys(("family", "role", "version", "date")), "name": name, "pages": 0, "error": error}
            for name, error in missing.items()
        ]
        if as_json:
            keys = ("name", "family", "role", "version", "date", "pages", "error")
            documents = [{key: document[key] for key in keys} for document in found["documents"]]
            counts = {key: found[key] for key in ("conflicts", "eligibility", "fatal", "score")}
            fallback = None if ingested.fallback is None else asdict(ingested.fallback)
            self.stdout.write(
                json.dumps(
                    {
                        "run": ingested.run_id,
                        "documents": documents,
                        **counts,
                        "changed": list(ingested.changed),
                        "fallback": fallback,
                    }
                )
            )
            return
        print_table(
            stream_of(self.stdout),
            "Documents",
            ["name", "family", "role", "version", "date", "pages"],
            [
                [document[key] or "" for key in ("name", "family", "role", "version", "date")] + [document["pages"]]
                for document in found["documents"]
                if document["error"] is None
            ],
        )
        for one, other in ingested.worked_out.ties:
            self.stdout.write(f"Only the order of upload tells {shlex.quote(one)} and {shlex.quote(other)} apart.")
        self.stdout.write(
            f"{counted(found['sections'], 'section')}, deadline {found['deadline'] or 'unknown'}, "
            f"{counted(found['conflicts'], 'conflict')}, {counted(found['eligibility'], 'eligibility item')} "
            f"({found['fatal']:,} fatal), score {found['score']}."
        )
        if ingested.fallback is not None:
            self.stdout.write(_sentence_of(ingested.fallback))
        if ingested.run_id is None:
            self.stdout.write("Nothing is new: the state is unchanged, and no run was recorded.")
        else:
            changed = ", ".join(ingested.changed) or "nothing"
            self.stdout.write(f"Run {ingested.run_id} changed {changed}.")
            self.stdout.write(f"To see it, open Projects, {shlex.quote(project)} in the admin.")


def _sentence_of(fallback: Fallback) -> str:
    reason = fallback.reason.splitlines()[0]
    if not fallback.steps:
        return f"The model failed after the last step: {reason}"
    return f"The model left out {', '.join(fallback.steps)}, taken in the fixed order instead: {reason}"


def _load(files: list[Path]) -> tuple[list[SourceFile], dict[str, str]]:
    """Return the files that are there, and by name why the others are not."""
    from agentstate.intake.limits import load

    sources, missing = [], {}
    for path in files:
        try:
            sources.append(load(path))
        except OSError as error:
            missing[str(path)] = error.strerror or str(error)
    return sources, missing


def _create(project: str, name: str | None) -> None:
    """Create the project if it does not exist and a name is given."""
    if name is None or not Project.objects.unknown([project]):
        return
    try:
        Project.objects.get_or_create(pk=project, defaults={"user_id": OWNER, "name": name})
    except IntegrityError as error:
        raise CommandError(
            f'"Project" refuses a project of the user {OWNER!r} ({str(error).splitlines()[0]}). Create the project in '
            "the application, then run this again without --create."
        ) from error
