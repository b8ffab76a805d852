"""What the extensions say that they have done, beside what the receivers hold and the callers were told."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from extensions.chaos_injector import dice
from tests.demo import receivers
from tests.demo.functions import CARD
from tests.demo.receivers import counted

if TYPE_CHECKING:
    from extension_kit.backends.plan import Outcome
    from tests.demo.receivers import Receivers
    from tests.receivers.rotel import DataPoint

_ACCOUNT = re.compile(
    r"plug-in log-shipper\.cloudwatch: (\d+) records = (\d+) delivered(?: \+ (\d+) filtered)? \+ (\d+) dropped"
    r".* \+ (\d+) pending"
)
_ASKED = re.compile(r"the cache was asked (\d+) times")


@dataclass(frozen=True)
class Check:
    """One sentence, and whether it holds. ``said`` by the extension, ``held`` by somebody else."""

    about: str
    what: str
    said: Any
    held: Any

    @property
    def holds(self) -> bool:
        return bool(self.said == self.held)


@dataclass(frozen=True)
class Accounts:
    """``delivered``: a few words for each extension; ``figures``: the same for programs."""

    delivered: dict[str, str]
    figures: dict[str, dict[str, int]]
    checks: list[Check]
    notes: list[str]


class _Said:
    """What was written in both runs, by whomever."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        self.lines = [event["text"] for one in outcomes for event in one.events if event["kind"] == "log"]
        self.functions = [
            event["text"]
            for one in outcomes
            for event in one.events
            if event["kind"] == "log" and event["party"] == "runtime"
        ]
        self.answers = [invoked.payload for one in outcomes for invoked in one.invoked]
        self.ids = [invoked.request_id for one in outcomes for invoked in one.invoked]
        self.decisions = [_object(text) for text in self.lines if '"source":"chaos-injector"' in text]

    def counters(self, name: str) -> dict[str, int]:
        """The sums of an extension's last words: ``hit 5, miss 1``."""
        found: dict[str, int] = {}
        for text in self.lines:
            if text.startswith(f"[{name}] INFO "):
                for key, number in re.findall(r"(\w+) (\d+)(?:,|$)", text.partition(" INFO ")[2]):
                    found[key] = found.get(key, 0) + int(number)
        return found


def settle(outcomes: list[Outcome], all_from: Receivers, known_ids: bool) -> Accounts:
    """`outcomes` of the shown runs. ``known_ids``: their request ids are those that the functions had."""
    said = _Said(outcomes)
    accounts = Accounts({}, {}, [], [])
    _secrets(said, all_from, accounts)
    _lines(said, all_from, accounts)
    injected = _faults(said, accounts, known_ids)
    _parcels(said, accounts)
    _metrics(said, all_from.data_points(len(said.answers)), injected, accounts)
    return accounts


def _secrets(said: _Said, all_from: Receivers, accounts: Accounts) -> None:
    counters = said.counters("secret-cache")
    answered = sum(counters.get(kind, 0) for kind in ("hit", "miss", "stale", "coalesced"))
    calls = counters.get("upstream_calls", 0)
    asked = max((int(number) for text in said.lines for number in _ASKED.findall(text)), default=0)
    accounts.figures["secret-cache"] = {"answered": answered, "calls": calls}
    accounts.delivered["secret-cache"] = f"{answered} secrets, {calls} call{'s' * (calls != 1)} to AWS"
    accounts.checks.extend([
        Check("secret-cache", "secrets answered, as often as the shop asked", answered, asked),
        Check("secret-cache", "calls to Secrets Manager, as often as moto was asked", calls, all_from.moto.reads_of_secrets()),
    ])  # fmt: skip


def _lines(said: _Said, all_from: Receivers, accounts: Accounts) -> None:
    found = [match.groups("0") for match in map(_ACCOUNT.search, said.lines) if match]
    if not found:
        accounts.delivered["log-shipper"] = "no telemetry: see below"
        accounts.notes.append(
            "AWS's emulator has no Telemetry API, so nobody hears the function's lines: the log shipper has nothing to ship"
        )
        return
    received, delivered, filtered, dropped, pending = (sum(map(int, column)) for column in zip(*found, strict=True))
    accounts.figures["log-shipper"] = {
        "received": received, "delivered": delivered, "filtered": filtered, "dropped": dropped, "pending": pending,
    }  # fmt: skip
    accounts.delivered["log-shipper"] = f"{delivered} lines shipped, {filtered} filtered"
    held = all_from.moto.lines(delivered)
    sum_ = f"{delivered} delivered + {filtered} filtered + {dropped} dropped + {pending} pending"
    accounts.checks.extend([
        Check("log-shipper", f"lines came in = {sum_}", received, delivered + filtered + dropped + pending),
        Check("log-shipper", "lines delivered, as many as CloudWatch Logs holds", delivered, len(held)),
        Check("log-shipper", "lines filtered, as many as the shop wrote at DEBUG", filtered,
              sum(1 for text in said.functions if _object(text).get("level") == "DEBUG")),
        Check("log-shipper", "orders confirmed in the log, each once, as the shop wrote them", _confirmed(held),
              _confirmed(said.functions)),
        Check("log-shipper", "card numbers and keys that left the environment",
              sum(1 for text in held if CARD in text or receivers.KEY in text), 0),
    ])  # fmt: skip


def _faults(said: _Said, accounts: Accounts, known_ids: bool) -> int:
    """How many were injected."""
    injected = [line for line in said.decisions if line["action"] == "inject"]
    by_type = {kind: sum(1 for line in injected if line["type"] == kind) for kind in
               ("delay", "error", "status_code", "slow_stream")}  # fmt: skip
    accounts.figures["chaos-injector"] = {"injected": len(injected), **by_type}
    accounts.delivered["chaos-injector"] = f"{len(injected)} faults injected"
    rolled = [line for line in said.decisions if "roll" in line]
    repeated = [
        line for line in rolled
        if (dice.roll(line["seed"], line["request_id"], line["fault"]) < line["percentage"]) == (line["action"] == "inject")
    ]  # fmt: skip
    accounts.checks.extend([
        Check("chaos-injector", "decisions, as many as the dice repeat for these request ids", len(rolled), len(repeated)),
        Check("chaos-injector", "errors made, as many as callers were told of", by_type["error"],
              sum(1 for answer in said.answers if _object(answer).get("errorType") == "Chaos.InjectedError")),
        Check("chaos-injector", "responses changed, as many as callers were given", by_type["status_code"],
              sum(1 for answer in said.answers if _object(answer).get("statusCode") == 503)),
    ])  # fmt: skip
    if known_ids and rolled:
        sure = next(line for line in rolled if line["type"] == "delay")
        expected = {one for one in said.ids if dice.roll(sure["seed"], one, "delay") < sure["percentage"]}
        accounts.checks.append(
            Check("chaos-injector", "requests delayed, those that the seed says", by_type["delay"], len(expected))
        )
    else:
        accounts.notes.append(
            "AWS's emulator chooses request ids itself, so which requests are hit differs from run to run"
        )
    return len(injected)


def _parcels(said: _Said, accounts: Accounts) -> None:
    """The streaming function's: slow or not, every chunk comes through."""
    packed = [_object(text) for text in said.lines]
    sent = sum(one["parcels"] for one in packed if one.get("message") == "order packed")
    came = sum(answer.count(b'"parcel"') for answer in said.answers)
    accounts.checks.append(Check("stream", "chunks streamed, as many as callers were given", sent, came))


def _metrics(said: _Said, points: list[DataPoint], injected: int, accounts: Accounts) -> None:
    invocations = counted(points)
    faults = int(sum(point.value or 0 for point in points if point.name == "chaos.injected"))
    accounts.figures["metrics-collector"] = {"data_points": len(points), "invocations": invocations}
    accounts.delivered["metrics-collector"] = f"{len(points)} data points exported"
    accounts.checks.extend([
        Check("metrics-collector", "invocations counted at rotel, as many as there were", invocations, len(said.answers)),
        Check("metrics-collector", "faults counted at rotel, as many as were injected", faults, injected),
    ])  # fmt: skip


def _confirmed(lines: list[str]) -> list[int]:
    found = [_object(text) for text in lines]
    return sorted(one["order"] for one in found if one.get("message") in ("order confirmed", "order packed"))


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
