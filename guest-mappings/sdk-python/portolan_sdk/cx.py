"""What a mapping knows and how it asks for more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Callable, Optional

from .plan import plain
from .stop import Need, refusal


@dataclass(frozen=True)
class Event:
    """One received, stored, unchanging request. Times are milliseconds since 1970; ``received_at`` is the only "now"."""

    id: str
    source: str
    system: str
    kind: str
    object_id: Optional[str]
    occurred_at: int
    received_at: int
    media_type: str
    payload: str


def lookup(table: str, key: str) -> dict[str, Any]:
    """A row of a lookup table, as a question."""
    return {"lookup": {"table": table, "key": key}}


def reference(kind: str, id: str) -> dict[str, Any]:
    """Under which ids other systems know an object, as a question."""
    return {"reference": {"kind": kind, "id": id}}


def query(connection: str, operation: str, parameters: Any) -> dict[str, Any]:
    """A read through a connection, as a question."""
    return {"query": {"connection": connection, "operation": operation, "parameters": plain(parameters)}}


def canonical(value: Any) -> str:
    """JSON with the keys of every object in order: two texts are equal when the values are."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def exact(text: str) -> Any:
    """JSON as Python has it; a fraction is a ``Decimal``, with the digits that stand there."""
    return json.loads(text, parse_float=Decimal)


class Log:
    """Lines that are kept with the run, even when the module fails."""

    def __init__(self, write: Callable[[str, str], None]):
        self._write = write

    def debug(self, text: object) -> None:
        self._write("debug", str(text))

    def info(self, text: object) -> None:
        self._write("info", str(text))

    def warn(self, text: object) -> None:
        self._write("warn", str(text))

    def error(self, text: object) -> None:
        self._write("error", str(text))


class Cx:
    """All that a call of a mapping knows: event, environment, attempt (from 1), settings, and the facts so far."""

    def __init__(self, input: dict[str, Any], write: Callable[[str, str], None] = lambda level, text: None):
        self.event: Event = input["event"]
        self.environment: str = input["environment"]
        self.attempt: int = input["attempt"]
        self.settings: dict[str, Any] = input["settings"]
        self.log = Log(write)
        # What was asked for and is not known yet: whoever sets it raises, and nobody may catch that.
        self.asked: Optional[list[dict[str, Any]]] = None
        self._facts = {canonical(fact["need"]): fact["answer"] for fact in input["facts"]}

    def payload(self) -> Any:
        """The payload as JSON; its fractions are ``Decimal``."""
        try:
            return exact(self.event.payload)
        except ValueError as error:
            raise refusal("unreadable-payload", f"the payload is no JSON: {error}") from None

    def lookup(self, table: str, key: str) -> Any:
        """A row of a lookup table, or None when the table has no such key."""
        return self.all([lookup(table, key)])[0]

    def reference(self, kind: str, id: str) -> dict[str, str]:
        """Under which ids other systems know an object, by system. Empty when none does."""
        return self.all([reference(kind, id)])[0] or {}

    def query(self, connection: str, operation: str, parameters: Any) -> Any:
        """A read through a connection, or None when the system does not have it."""
        return self.all([query(connection, operation, parameters)])[0]

    def all(self, questions: list[dict[str, Any]]) -> list[Any]:
        """Several questions at once: what is missing is fetched together, in one round. Answers in their order."""
        keys = [canonical(question) for question in questions]
        missing = {key: question for key, question in zip(keys, questions) if key not in self._facts}
        if missing:
            self.asked = list(missing.values())
            raise Need(self.asked)
        return [_read(self._facts[key], key) for key in keys]


def _read(answer: Any, asked: str) -> Any:
    if answer == "absent":
        return None
    if "failed" in answer:
        problem = answer["failed"]
        raise refusal("fact-refused", f"{asked} was refused: {problem['code']}: {problem['message']}")
    return answer["found"]
