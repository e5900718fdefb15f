"""A mapping, and one call of it in the contract's JSON form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Union

from .cx import Cx
from .plan import Plan, whole_plan
from .stop import Defer, Hold, Need, Reject, Skip, Stop


@dataclass
class Connection:
    """A connection that a module uses: its name for it, the connector it must be, every operation on it."""

    name: str
    connector: str
    operations: list[str]
    optional: bool = False


@dataclass
class Description:
    """What a module is and may do. What is not declared here is refused at run time.

    ``serves`` are pairs of system and event kind, ``connections`` as ``Connection`` or its fields, ``tables`` by name with
    what they map, ``settings`` the JSON Schema (2020-12) of the mapping's settings.
    """

    name: str
    version: str
    summary: str
    serves: list[tuple[str, str]]
    connections: list[Union[Connection, tuple[str, str, list[str]]]] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    settings: Any = field(default_factory=lambda: {"type": "object"})

    def required_connections(self) -> list[Connection]:
        """All of them as ``Connection``."""
        return [one if isinstance(one, Connection) else Connection(*one) for one in self.connections]


class Mapping:
    """What a module is, and what it makes of an event."""

    description: Description

    def map(self, cx: Cx) -> Plan:
        """What follows from an event. Called again, from the beginning, when facts have arrived.

        ``Plan()`` is a plan in which nothing is done. What is no plan, a forgotten ``return`` too, is a ``TypeError``.
        """
        raise NotImplementedError


def transform(
    mapping: Mapping, input: dict[str, Any], write: Callable[[str, str], None] = lambda level, text: None
) -> dict[str, Any]:
    """One call: input to outcome. What is no Stop is raised on."""
    cx = Cx(input, write)
    try:
        plan = whole_plan(mapping.map(cx))
        _not_caught(cx)
        return {"deliver": plan}
    except Need as stop:
        return {"need": stop.needs}
    except Stop as stop:
        _not_caught(cx)
        return _ended(stop)


def _not_caught(cx: Cx) -> None:
    """A mapping that goes on without the answer that it asked for has made it up."""
    if cx.asked is not None:
        raise TypeError(f"a Stop was caught, so {cx.asked} was never answered: raise on what is a Stop")


def _ended(stop: Stop) -> dict[str, Any]:
    if isinstance(stop, Skip):
        return {"skip": str(stop)}
    if isinstance(stop, Defer):
        return {"defer": {"reason": str(stop), "not-before": stop.not_before}}
    if isinstance(stop, Hold):
        return {"hold": {"reason": str(stop), "plan": whole_plan(stop.plan)}}
    if isinstance(stop, Reject):
        return {"reject": stop.violations}
    raise stop
