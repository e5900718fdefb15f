"""What the SDK promises, and that it promises the same as the Rust and JavaScript ones: the numbers are theirs.

    python3 -m unittest discover tests
"""

import doctest
import importlib
import sys
import unittest
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from portolan_sdk import (  # noqa: E402
    Check, Delivery, Field, Mapping, Money, Plan, Reject, captured, credit, days_after, debit, defer, hold, in_zone, lookup,
    query, reject, skip, split, start_of_day,
)
from portolan_sdk.cx import Event, exact  # noqa: E402
from portolan_sdk.mapping import transform  # noqa: E402
from portolan_sdk.zones import ZONES  # noqa: E402


def load_tests(loader, tests, pattern):
    for name in ("money", "date", "text", "short"):
        tests.addTests(doctest.DocTestSuite(importlib.import_module(f"portolan_sdk.{name}")))
    tests.addTests(doctest.DocTestSuite("portolan_sdk"))
    return tests


def ended(map, facts=()):
    mapping = Mapping()
    mapping.map = map
    event = Event("evt_1", "s", "stripe", "k", None, 0, 0, "application/json", "{}")
    return transform(mapping, {"event": event, "environment": "qa", "attempt": 1, "settings": {}, "facts": list(facts)})


class TestMoney(unittest.TestCase):
    def test_minor_units_become_decimals_by_currency(self):
        for minor, code, expected in [
            (4998, "usd", "49.98"), (5, "EUR", "0.05"), (0, "eur", "0.00"), (5000, "jpy", "5000"), (12340, "kwd", "12.340"),
            (100, "bhd", "0.100"), (500, "isk", "5"), (500, "ugx", "5"), (123400, "huf", "1234.00"), (-250, "usd", "-2.50"),
        ]:
            self.assertEqual(str(Money(minor, code).decimal()), expected)
            self.assertEqual(Money.from_decimal(expected, code).minor, minor)

    def test_what_would_lose_a_digit_is_refused(self):
        for wrong in [
            lambda: Money(550, "isk").decimal(), lambda: Money(5, "huf").decimal(0), lambda: Money(49.98, "usd"),
            lambda: Money.from_decimal("1.234", "usd"), lambda: Money(1, "dollars"), lambda: debit("1", 0.1, "USD"),
            *(lambda wrong=wrong: debit("1", wrong, "USD") for wrong in (
                True, None, " 1 ", "1_000", "１０", "1e3", "+1", ".5", "5.", "", "NaN", "1\n", "1" * 29, Decimal("NaN"), b"5",
            )),
        ]:
            with self.assertRaises(Reject):
                wrong()
        with self.assertRaises(TypeError):
            ended(lambda cx: Plan([Delivery("k", "erp", "o", {"amount": 49.98})]))

    def test_what_comes_in_with_a_fraction_goes_out_with_the_same_digits(self):
        def map(cx):
            told, row = cx.payload(), cx.lookup("t", "a")
            return Plan([Delivery("k", "erp", "o", {"amount": told["amount"], "row": row, "sum": told["amount"] + row})])

        event = Event("evt_1", "s", "stripe", "k", None, 0, 0, "application/json", '{"amount": 0.10}')
        facts = [{"need": lookup("t", "a"), "answer": {"found": exact("0.20")}}]
        mapping = Mapping()
        mapping.map = map
        told = transform(mapping, {"event": event, "environment": "qa", "attempt": 1, "settings": {}, "facts": facts})
        self.assertEqual(told["deliver"]["deliveries"][0]["body"], {"amount": "0.10", "row": "0.20", "sum": "0.30"})

    def test_a_split_conserves_its_total(self):
        self.assertEqual(split(10, [5, 3, 3]), [4, 3, 3])
        self.assertEqual(split(-100, [1, 1, 1]), [-34, -33, -33])
        self.assertEqual(split(7, [0, 0]), [4, 3])
        self.assertEqual([part.minor for part in Money(1000, "isk").split([1, 1, 1])], [400, 300, 300])
        for number in range(500):
            weights = [(number * 31 + place * 17) % 101 for place in range(number % 7 + 1)]
            self.assertEqual(sum(split(number * 7919, weights)), number * 7919)


class TestDates(unittest.TestCase):
    def test_which_day_it_is_depends_on_where(self):
        self.assertEqual(in_zone(1782945000, "Europe/Berlin"), "2026-07-02")
        self.assertEqual(in_zone(1767306600, "Europe/Berlin"), "2026-01-01")
        self.assertEqual(days_after("2026-11-20", 14), "2026-12-04")
        for wrong in [lambda: in_zone(0, "Mars/Olympus"), lambda: in_zone(0.5, "UTC"), lambda: days_after("2026-02-30", 1)]:
            with self.assertRaises(Reject):
                wrong()

    def test_every_zone_is_readable_and_its_days_begin_where_they_do(self):
        for line in ZONES.split("\n"):
            zone = line.partition("|")[0].split(",")[0]
            for seconds in range(946684800, 2_500_000_000, 86_400 * 97 + 7919):
                day = in_zone(seconds, zone)
                start = start_of_day(day, zone)
                self.assertTrue(start <= seconds and in_zone(start, zone) == day, f"{zone} {day}")

    def test_days_are_those_of_the_standard_library(self):
        from datetime import datetime, timezone
        from zoneinfo import ZoneInfo

        for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo"):
            for seconds in range(946684800, 2_500_000_000, 7919 * 61):
                theirs = datetime.fromtimestamp(seconds, timezone.utc).astimezone(ZoneInfo(zone)).date().isoformat()
                self.assertEqual(in_zone(seconds, zone), theirs, f"{zone} {seconds}")


class TestOutcomes(unittest.TestCase):
    def test_what_is_asked_together_is_missing_together_and_once(self):
        def map(cx):
            skip(str(cx.all([lookup("t", "a"), query("erp", "o", {"b": 1, "a": Decimal("2")}), lookup("t", "a")])))

        needs = ended(map)["need"]
        self.assertEqual(len(needs), 2)
        facts = [{"need": needs[0], "answer": "absent"}, {"need": needs[1], "answer": {"found": 7}}]
        self.assertEqual(ended(map, facts), {"skip": "[None, 7, None]"})
        facts[0]["answer"] = {"failed": {"code": "forbidden", "message": "no"}}
        self.assertIn("was refused: forbidden: no", ended(map, facts)["reject"][0]["message"])

    def test_every_end_is_an_outcome_and_a_mistake_is_none(self):
        check = Check.always("f", {}, "/id")
        delivery = Delivery("k", "erp", "o", {}, unless=check, ledger=[debit("1", "-2.50", "USD"), credit("2", "-2.50", "USD")])
        ledger = ended(lambda cx: Plan([delivery]))["deliver"]["deliveries"][0]["ledger"]
        self.assertEqual([(line["side"], line["amount"]) for line in ledger], [("credit", "2.50"), ("debit", "2.50")])
        self.assertEqual(ended(lambda cx: hold("look", Plan([delivery])))["hold"]["plan"]["deliveries"][0]["key"], "k")
        self.assertEqual(ended(lambda cx: defer("not yet", 5)), {"defer": {"reason": "not yet", "not-before": 5}})
        self.assertEqual(ended(lambda cx: reject("/x", "c", "m")), {"reject": [{"pointer": "/x", "code": "c", "message": "m"}]})
        self.assertIn("no money has moved", ended(lambda cx: captured({"id": "ch_1", "captured": False}))["skip"])
        with self.assertRaises(KeyError):
            ended(lambda cx: {}["x"])

    def test_what_is_no_plan_is_a_mistake_and_an_empty_one_is_none(self):
        self.assertEqual(ended(lambda cx: Plan())["deliver"]["deliveries"], [])
        for wrong in (None, {}, [], "plan", Delivery("k", "erp", "o", {}), Plan):
            with self.assertRaisesRegex(TypeError, "which is no Plan"):
                ended(lambda cx: wrong)
        with self.assertRaisesRegex(TypeError, "which is no Plan"):
            ended(lambda cx: hold("look", None))

    def test_who_catches_a_stop_is_told_so(self):
        def caught(end):
            def map(cx):
                try:
                    cx.lookup("customers", "x")
                except Exception:
                    pass
                return end()

            return map

        for end in (Plan, lambda: skip("made up")):
            with self.assertRaisesRegex(TypeError, "a Stop was caught, so .*customers"):
                ended(caught(end))

    def test_what_does_not_fit_a_field_is_refused_with_its_name(self):
        with self.assertRaisesRegex(Reject, 'NAME: "Jenny Rosen" has 11 characters, the field holds 5'):
            Field("NAME", 5).text("Jenny Rosen")
        with self.assertRaises(Reject):
            Field("NAME", 5).text("a\nb")
        self.assertEqual(Field("NAME", 5).shortened("Jenny\tRosen"), "Jenn…")


if __name__ == "__main__":
    unittest.main()
