# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of AWX's interface as the modules of awx.awx need to set a job template up.

It keeps what it is sent, and refuses what AWX refuses: objects without what they need or with a
reference that leads nowhere, inputs that a credential has not, surveys and answers that do not fit,
and schedules without a time zone. Nothing runs here.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from harness.ansible import ROOT

Object = dict[str, Any]

#: Where `make test` puts the collection awx.awx.
COLLECTIONS = ROOT / ".cache" / "awx"
ENCRYPTED = "$encrypted$"

_ADDRESS = "127.0.0.1"
_TOKEN = "token of the tests"
_ROOT = "/api/v2"
_QUESTION_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("text", "textarea", "password", "multiplechoice", "multiselect"), str),
    "integer": int,
    "float": (float, int),
}
#: What each kind of object may not lack, and what its fields refer to.
_NEEDED = {
    "execution_environments": {"name", "image"},
    "projects": {"name", "organization", "scm_type", "scm_url"},
    "inventories": {"name", "organization"},
    "hosts": {"name", "inventory"},
    "inventory_sources": {"name", "inventory", "source", "source_project"},
    "credentials": {"name", "organization", "credential_type", "inputs"},
    "job_templates": {"name", "job_type", "project", "playbook", "inventory"},
    "schedules": {"name", "unified_job_template", "rrule"},
}
_REFERENCES = {
    "organization": "organizations",
    "project": "projects",
    "source_project": "projects",
    "inventory": "inventories",
    "credential": "credentials",
    "credential_type": "credential_types",
    "execution_environment": "execution_environments",
    "unified_job_template": "unified_job_templates",
}
_UNIFIED = ("projects", "inventory_sources", "job_templates")
_MACHINE_INPUTS = {
    "username": False,
    "password": True,
    "ssh_key_data": True,
    "ssh_public_key_data": False,
    "ssh_key_unlock": True,
    "become_method": False,
    "become_username": False,
    "become_password": True,
}
_RRULE_START = re.compile(r"DTSTART(;TZID=[^:]+:\d{8}T\d{6}|:\d{8}T\d{6}Z)\b")


class Sent(NamedTuple):
    """A request that changes something, and what it had in it."""

    method: str
    path: str
    body: Object


class _RefusedError(Exception):
    def __init__(self, body: Object, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(body)
        self.body = body
        self.status = status


# The rules for surveys


def survey_error(survey: Object) -> str | None:
    """Why AWX would refuse that survey."""
    for field, kind in (("name", str), ("description", str), ("spec", list)):
        if not isinstance(survey.get(field), kind):
            return f"'{field}' missing from survey spec, or of another type"
    if not survey["spec"]:
        return "'spec' doesn't contain any items."
    variables = [question.get("variable") for question in survey["spec"]]
    if len(set(variables)) < len(variables):
        return "two questions are for the same variable"
    errors = (f"{question}: {error}" for question in survey["spec"] for error in _question_errors(question))
    return next(errors, None)


def _question_errors(question: Object) -> Iterator[str]:
    for field in ("type", "question_name", "variable", "required"):
        if not isinstance(question.get(field), bool if field == "required" else str):
            yield f"'{field}' is missing, or of another type"
    kind, default = question.get("type", ""), question.get("default", "")
    if default != "" and not isinstance(default, _QUESTION_TYPES.get(kind, ())):
        yield "AWX has no such type, or the default is of another one"
    if any(not isinstance(question.get(limit, 0), int) for limit in ("min", "max")):
        yield "a limit is not a number"
    if kind == "multiplechoice" and default not in ("", *question.get("choices", [])):
        yield "the default is not one of the choices"


def answer_errors(survey: Object, answers: Object) -> list[str]:
    """Why AWX would not run a job with these answers."""
    errors = []
    unknown = set(answers)
    for question in survey.get("spec", []):
        name = question["variable"]
        unknown.discard(name)
        if name not in answers:
            if question["required"]:
                errors.append(f"'{name}' value missing")
        elif not isinstance(answers[name], _QUESTION_TYPES[question["type"]]):
            errors.append(f"Value {answers[name]} for '{name}' is of another type")
        elif answers[name] not in question.get("choices", [answers[name]]):
            errors.append(f"Value {answers[name]} for '{name}' expected to be one of {question['choices']}")
        elif "max" in question and not question["min"] <= _size_of(answers[name]) <= question["max"]:
            errors.append(f"'{name}' value {answers[name]} is too small or too large")
    return [*errors, *(f"Variables {name} are not allowed on launch" for name in sorted(unknown))]


def _size_of(answer: str | float) -> float:
    return len(answer) if isinstance(answer, str) else answer


# The server


class Awx:
    """An AWX with one organization, which listens until it is closed.

    *environment* is what the modules find it by. What was sent is in *sent*; what a project update
    comes to is in *update_status*, and *playbooks* is what it finds in the repository.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.update_status = "successful"
        self.playbooks = ["backup.yml"]
        self._objects: dict[str, dict[int, Object]] = defaultdict(dict)
        self._secrets: dict[int, Object] = {}
        self._surveys: dict[int, Object] = defaultdict(dict)
        self._associated: dict[tuple[int, str], list[int]] = defaultdict(list)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.add("organizations", name="Default")
        for name in ("Source Control", "Machine"):
            self.add("credential_types", name=name)
        self._server = ThreadingHTTPServer((_ADDRESS, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.environment = {
            "CONTROLLER_HOST": f"http://{_ADDRESS}:{self._server.server_port}",
            "CONTROLLER_OAUTH_TOKEN": _TOKEN,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # What is there

    def add(self, kind: str, **fields: Any) -> Object:
        """An object that somebody else has made."""
        number = next(self._numbers)
        url = f"{_ROOT}/{kind}/{number}/"
        new = {"id": number, "type": kind.removesuffix("s"), "url": url, "related": {}, "summary_fields": {}}
        if kind == "job_templates":
            new["related"]["survey_spec"] = f"{url}survey_spec/"
        self._objects[kind][number] = {**new, **fields}
        return self._objects[kind][number]

    def all(self, kind: str) -> list[Object]:
        if kind == "unified_job_templates":
            return [found for each in _UNIFIED for found in self._objects[each].values()]
        return list(self._objects[kind].values())

    def only(self, kind: str) -> Object:
        (found,) = self.all(kind)
        return found

    def named(self, kind: str, name: str) -> int:
        """The number of the object with that name."""
        (number,) = (found["id"] for found in self.all(kind) if found["name"] == name)
        return int(number)

    def secrets(self, credential: Object) -> Object:
        """What of its inputs is never shown."""
        return self._secrets[credential["id"]]

    def survey(self, template: Object) -> Object:
        return self._surveys[template["id"]]

    def associated(self, what: Object, kind: str) -> list[int]:
        return self._associated[what["id"], kind]

    # What is asked for

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        awx = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size) or "{}")
                with awx._lock:
                    try:
                        if self.headers.get("Authorization") != f"Bearer {_TOKEN}":
                            raise _RefusedError({"detail": "no such token"}, HTTPStatus.UNAUTHORIZED)
                        status, answer = awx._answer(self.command, self.path, body)
                    except _RefusedError as error:
                        status, answer = error.status, error.body
                data = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("X-API-Product-Name", "AWX")
                self.send_header("X-API-Product-Version", "24.6.1")
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_words: object) -> None:
                pass

        return Handler

    def _answer(self, method: str, target: str, body: Object) -> tuple[int, Object | None]:
        address = urlsplit(target)
        path = re.fullmatch(rf"{_ROOT}/(\w+)/(?:(\d+)/(?:(\w+)/)?)?", address.path)
        if path is None:
            raise _RefusedError({"detail": "Not found."}, HTTPStatus.NOT_FOUND)
        kind, number, part = path[1], int(path[2] or 0), path[3]
        if method != "GET":
            self.sent.append(Sent(method, address.path, body))
        if not number:
            query = dict(parse_qsl(address.query))
            return (
                self._create(kind, body)
                if method == "POST"
                else (200, self._listed(self._found(kind, query)))
            )
        if number not in self._objects[kind]:
            raise _RefusedError({"detail": "Not found."}, HTTPStatus.NOT_FOUND)
        if part == "survey_spec":
            return self._answer_survey(method, number, body)
        if part:
            return self._answer_association(method, number, part, body)
        if method == "DELETE":
            del self._objects[kind][number]
            return HTTPStatus.NO_CONTENT, None
        if method == "PATCH":
            self._store(kind, self._objects[kind][number], body)
        return 200, self._objects[kind][number]

    def _found(self, kind: str, query: dict[str, str]) -> list[Object]:
        either = {key.removeprefix("or__"): value for key, value in query.items() if key.startswith("or__")}
        every = {key: value for key, value in query.items() if not key.startswith("or__")}

        def fits(found: Object, key: str, value: str) -> bool:
            return str(found.get(key)) == value

        return [
            found
            for found in self.all(kind)
            if all(fits(found, *item) for item in every.items())
            and (not either or any(fits(found, *item) for item in either.items()))
        ]

    @staticmethod
    def _listed(found: list[Object]) -> Object:
        return {"count": len(found), "next": None, "previous": None, "results": found}

    def _answer_survey(self, method: str, template: int, body: Object) -> tuple[int, Object | None]:
        if method == "POST":
            error = survey_error(body)
            if error:
                raise _RefusedError({"error": error})
        if method != "GET":
            self._surveys[template] = body if method == "POST" else {}
        return 200, self._surveys[template]

    def _answer_association(
        self, method: str, number: int, kind: str, body: Object
    ) -> tuple[int, Object | None]:
        numbers = self._associated[number, kind]
        if method == "GET":
            return 200, self._listed([self._objects[kind][other] for other in numbers])
        if body.get("disassociate"):
            numbers.remove(body["id"])
        else:
            self._refer(kind, body["id"])
            numbers.append(body["id"])
        return HTTPStatus.NO_CONTENT, None

    # What is kept

    def _create(self, kind: str, body: Object) -> tuple[int, Object]:
        missing = sorted(name for name in _NEEDED[kind] if not body.get(name))
        if missing:
            raise _RefusedError({name: ["This field is required."] for name in missing})
        new = self.add(kind)
        try:
            self._store(kind, new, body)
        except _RefusedError:
            del self._objects[kind][new["id"]]
            raise
        if kind == "projects":
            self._update(new)
        return HTTPStatus.CREATED, new

    def _store(self, kind: str, into: Object, body: Object) -> None:
        for field, value in body.items():
            if field in _REFERENCES and value is not None:
                self._refer(_REFERENCES[field], value)
        if kind == "job_templates":
            self._check_template(body)
        if kind == "schedules":
            self._check_schedule({**into, **body})
        into.update(body)
        if kind == "credentials":
            self._hide(into)
        if kind == "job_templates":
            into["organization"] = self._objects["projects"][into["project"]]["organization"]

    def _refer(self, kind: str, number: int) -> None:
        if number not in (found["id"] for found in self.all(kind)):
            raise _RefusedError({"detail": f"{kind} have no {number}"})

    def _update(self, project: Object) -> None:
        status = self.update_status
        project["scm_revision"] = "3c2b1a" if status == "successful" else ""
        update = self.add("project_updates", status=status)
        project["summary_fields"]["current_update"] = {"id": update["id"]}

    def _check_template(self, body: Object) -> None:
        project = self._objects["projects"][body["project"]]
        if not project["scm_revision"] or body["playbook"] not in self.playbooks:
            raise _RefusedError({"playbook": ["Playbook not found for project."]})

    def _check_schedule(self, schedule: Object) -> None:
        rrule = schedule["rrule"]
        if not _RRULE_START.match(rrule):
            raise _RefusedError({"rrule": ["Valid DTSTART required in rrule."]})
        if "RRULE:" not in rrule or "INTERVAL" not in rrule:
            raise _RefusedError({"rrule": ["INTERVAL required in rrule"]})
        survey = self._surveys[schedule["unified_job_template"]]
        errors = answer_errors(survey, schedule.get("extra_data", {}))
        if errors:
            raise _RefusedError({"extra_data": errors})

    def _hide(self, credential: Object) -> None:
        inputs = credential["inputs"]
        unknown = sorted(set(inputs) - set(_MACHINE_INPUTS))
        if unknown:
            raise _RefusedError({"inputs": {name: ["not an input"] for name in unknown}})
        secrets = self._secrets.setdefault(credential["id"], {})
        secrets.update({name: value for name, value in inputs.items() if _MACHINE_INPUTS[name]})
        credential["inputs"] = {name: ENCRYPTED if name in secrets else inputs[name] for name in inputs}
