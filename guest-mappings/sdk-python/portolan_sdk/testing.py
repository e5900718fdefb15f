"""The cases of a folder, natively: the same files that ``portolan module test`` runs in the sandbox. For unittest; no
part of a module."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any, Union

from .cx import Event, canonical, exact
from .mapping import Mapping, transform

_RECEIVED_AT = 1_795_217_401_000
_ROUNDS_MAX = 8


def cases(mapping: Mapping, folder: Union[str, Path]) -> type[unittest.TestCase]:
    """A TestCase with a test of every case of a folder."""
    files = sorted(Path(folder).rglob("*.json"))
    assert files, f"{folder} holds no cases"
    tests = {"maxDiff": None}
    for file in files:
        name = str(file.relative_to(folder).with_suffix("")).replace("/", "_").replace("-", "_")
        tests[f"test_{name}"] = _test(mapping, file)
    return type("Cases", (unittest.TestCase,), tests)


def _test(mapping: Mapping, file: Path) -> Any:
    def test(self: unittest.TestCase) -> None:
        case = exact(file.read_text(encoding="utf-8"))
        self.assertIn("expect", case, "the case expects nothing yet: `portolan module test --update` writes what comes out")
        self.assertEqual(compact(run(mapping, case, file.parent)), compact(case["expect"]))

    return test


def run(mapping: Mapping, case: dict[str, Any], folder: Union[str, Path] = ".") -> dict[str, Any]:
    """Runs a case to its outcome, as the host would: round after round, with the case's facts."""
    known = {canonical(fact["need"]): fact["answer"] for fact in case.get("facts", [])}
    facts: list[dict[str, Any]] = []
    for _ in range(_ROUNDS_MAX):
        outcome = transform(mapping, _input(case, facts, Path(folder)))
        if "need" not in outcome:
            return json.loads(json.dumps(outcome))
        for need in outcome["need"]:
            if canonical(need) not in known:
                fact = json.dumps({"need": need, "answer": "absent"})
                raise AssertionError(f"the case has no fact for this need: {fact}")
            facts.append({"need": need, "answer": known[canonical(need)]})
    raise AssertionError(f"the mapping still asks after {_ROUNDS_MAX} rounds")


def _input(case: dict[str, Any], facts: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    told = case["event"]
    raw = (folder / told["payload_file"]).read_text(encoding="utf-8") if "payload_file" in told else told["payload"]
    # Written down as the host writes it down.
    payload = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=float)
    try:
        read = json.loads(payload)
    except ValueError:
        read = {}
    received_at = told.get("received-at", _RECEIVED_AT)
    about = (read.get("data") or {}).get("object") or {}
    event = Event(
        id=told.get("id", "evt_00000000000000000000000000"),
        source=told.get("source", "case"),
        system=told["system"],
        kind=told.get("kind", read.get("type", "")),
        object_id=told.get("object-id", about.get("id")),
        occurred_at=told.get("occurred-at", read["created"] * 1000 if "created" in read else received_at),
        received_at=received_at,
        media_type=told.get("media-type", "application/json"),
        payload=payload,
    )
    return {
        "event": event,
        "environment": case.get("environment", "sandbox"),
        "attempt": case.get("attempt", 1),
        "settings": case.get("settings", {}),
        "facts": facts,
    }


def compact(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without the fields of plans that say nothing."""
    if "deliver" in outcome:
        return {"deliver": _compact_plan(outcome["deliver"])}
    if "hold" in outcome:
        return {"hold": {**outcome["hold"], "plan": _compact_plan(outcome["hold"]["plan"])}}
    if "defer" in outcome:
        return {"defer": _drop_empty(outcome["defer"], ["not-before"])}
    return outcome


def _compact_plan(plan: dict[str, Any]) -> dict[str, Any]:
    deliveries = []
    for delivery in plan.get("deliveries", []):
        if delivery.get("unless"):
            delivery = {**delivery, "unless": _drop_empty(delivery["unless"], ["bindings"])}
        deliveries.append(_drop_empty(delivery, ["after", "bindings", "once", "unless", "captures", "ledger"]))
    return _drop_empty({**plan, "deliveries": deliveries}, ["ordering-key", "references", "alerts", "deliveries"])


def _drop_empty(value: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    return {name: one for name, one in value.items() if not (name in fields and (one is None or one == []))}
