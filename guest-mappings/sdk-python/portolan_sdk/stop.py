"""Why a mapping stops before it has a plan to carry out. All of these are raised, none is ever caught by a mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Optional

if TYPE_CHECKING:
    from .plan import Plan


class Stop(Exception):
    """The end of a mapping without a plan to carry out at once."""


class Need(Stop):
    """Facts are missing: the host fetches them and calls again."""

    def __init__(self, needs: list[dict[str, Any]]):
        super().__init__(f"needs {len(needs)} facts")
        self.needs = needs


class Skip(Stop):
    """Nothing to do, on purpose."""


class Defer(Stop):
    """Not yet: something that the event depends on has not arrived."""

    def __init__(self, reason: str, not_before: Optional[int] = None):
        super().__init__(reason)
        self.not_before = not_before


class Hold(Stop):
    """A plan that a person must approve first."""

    def __init__(self, reason: str, plan: "Plan"):
        super().__init__(reason)
        self.plan = plan


class Reject(Stop):
    """The event cannot be used: violations, each with a JSON Pointer into the payload, a code and a text."""

    def __init__(self, violations: list[dict[str, str]]):
        super().__init__("; ".join(violation["message"] for violation in violations))
        self.violations = violations


def refusal(code: str, message: str) -> Reject:
    """A refusal of the SDK's own, about the whole event."""
    return Reject([{"pointer": "", "code": code, "message": message}])


def skip(reason: str) -> NoReturn:
    """Nothing to do, with the reason that a reader of the event will see."""
    raise Skip(reason)


def defer(reason: str, not_before: Optional[int] = None) -> NoReturn:
    """Not yet; ``not_before`` in milliseconds since 1970."""
    raise Defer(reason, not_before)


def hold(reason: str, plan: "Plan") -> NoReturn:
    """A person decides; on approval the plan is carried out."""
    raise Hold(reason, plan)


def reject(pointer: str, code: str, message: str) -> NoReturn:
    """The event is unusable: where, a stable code, and what would be right."""
    raise Reject([{"pointer": pointer, "code": code, "message": message}])
