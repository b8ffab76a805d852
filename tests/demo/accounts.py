"""What the extensions say that they have done, beside what the receivers hold and the callers were told."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.demo import receivers
from tests.demo.functions import CARD
from tests.demo.receivers import counted
from tests.demo.runs import PLAN

if TYPE_CHECKING:
    from extension_kit.backends.plan import Outcome
    from tests.demo.receivers import Receivers
    from tests.receivers.rotel import DataPoint

_ACCOUNT = re.compile(
    r"plug-in log-shipper\.cloudwatch: (\d+) records = (\d+) delivered(?: \+ (\d+) filtered)? \+ (\d+) dropped"
    r".* \+ (\d+) pending"
)
_AUDITED = 60  # lines of one kind that the injector writes in a minute
_ASKED = re.compile(r"the cache was asked (\d+) times")


@dataclass(frozen=True)
class Check:
    """One sentence, and whether it holds. ``said`` by the extension, ``held`` by somebody else.

    ``least``: as many there must be, that both do not agree on nothing.
    """

    about: str
    what: str
    said: Any
    held: Any
    least: int = 0

    @property
    def holds(self) -> bool:
        return (
            bool(self.said == self.held)
            and (len(self.said) if isinstance(self.said, list) else self.said) >= self.least
        )


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
        self.of_shop = len(outcomes[0].invoked)
        self.good = [answer for answer in self.answers if b'"errorType"' not in answer]
        self.decisions = [_object(text) for text in self.lines if '"source":"chaos-injector"' in text]

    def counters(self, name: str) -> dict[str, int]:
        """The sums of an extension's last words: ``hit 5, miss 1``."""
        found: dict[str, int] = {}
        for text in self.lines:
            if text.startswith(f"[{name}] INFO "):
                for key, number in re.findall(r"(\w+) (\d+)(?:,|$)", text.partition(" INFO ")[2]):
                    found[key] = found.get(key, 0) + int(number)
        return found


def settle(outcomes: list[Outcome], pages: list[str], all_from: Receivers, seed: int, known_ids: bool) -> Accounts:
    """`outcomes` of the shown runs, the shop's first, and their reports; ``seed``: of the experiment.

    ``known_ids``: their request ids are those that the functions had.
    """
    said = _Said(outcomes)
    accounts = Accounts({}, {}, [], [])
    _secrets(said, all_from, accounts)
    _lines(said, all_from, accounts)
    _kept(outcomes, pages, all_from, accounts)
    injected = _faults(said, Dice(str(seed)), accounts, known_ids)
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
        Check("secret-cache", "secrets answered, as often as the shop asked", answered, asked, 1),
        Check("secret-cache", "calls to Secrets Manager, as often as moto was asked", calls,
              all_from.moto.reads_of_secrets(), 1),
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
        Check("log-shipper", f"lines came in = {sum_}", received, delivered + filtered + dropped + pending, 1),
        Check("log-shipper", "lines delivered, as many as CloudWatch Logs holds", delivered, len(held), len(said.good)),
        Check("log-shipper", "lines filtered, as many as the shop wrote at DEBUG", filtered,
              sum(1 for text in said.functions if _object(text).get("level") == "DEBUG")),
        Check("log-shipper", "orders confirmed in the log, each once, as the shop wrote them", _confirmed(held),
              _confirmed(said.functions), len(said.good)),
    ])  # fmt: skip


def _kept(outcomes: list[Outcome], pages: list[str], all_from: Receivers, accounts: Accounts) -> None:
    """What must not leave: the shop writes its customers' cards into its own lines, which the record has as it wrote them, and
    nothing else may have; the key it never writes.
    """
    received = all_from.everything()
    texts = [outcome.record for outcome in outcomes] + pages
    # By what it says: under AWS's emulator nobody can tell whose line it is.
    others = [event for one in outcomes for event in one.events if not _is_confirmation(str(event.get("text", "")))]
    accounts.checks.extend([
        Check("receivers", "card numbers and keys that left the environment",
              sum(text.count(CARD) + text.count(receivers.KEY) for text in received), 0),
        Check("record", "keys in records and reports, cards in what is not the shop's own line",
              sum(text.count(receivers.KEY) for text in texts) + sum(json.dumps(one).count(CARD) for one in others), 0),
    ])  # fmt: skip


class Dice:
    """The experiment's, thrown again without the extension: by its file, its seed, and BLAKE2 of the standard library."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._percentages = {one["type"]: one["percentage"] for one in tomllib.loads(PLAN.read_text())["faults"]}

    def hit(self, request_id: str, kind: str) -> bool:
        """Whether the request is to have a fault of that kind."""
        digest = hashlib.blake2b(f"{self._seed}\n{request_id}\n{kind}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64 * 100 < self._percentages[kind]


def _faults(said: _Said, dice: Dice, accounts: Accounts, known_ids: bool) -> int:
    """How many were injected."""
    injected = [line for line in said.decisions if line["action"] == "inject"]
    by_type = {kind: sum(1 for line in injected if line["type"] == kind) for kind in
               ("delay", "error", "status_code", "slow_stream")}  # fmt: skip
    accounts.figures["chaos-injector"] = {"injected": len(injected), **by_type}
    accounts.delivered["chaos-injector"] = f"{len(injected)} faults injected"
    rolled = [line for line in said.decisions if "roll" in line]
    repeated = [line for line in rolled if dice.hit(line["request_id"], line["type"]) == (line["action"] == "inject")]
    accounts.checks.append(
        Check("chaos-injector", "decisions, as many as the dice repeat for these request ids", len(rolled), len(repeated),
              min(len(said.answers), _AUDITED))  # each invocation is one for a delay
    )  # fmt: skip
    told = {
        "error": ("errors made, as many as callers were told of",
                  sum(1 for answer in said.answers if _object(answer).get("errorType") == "Chaos.InjectedError")),
        "status_code": ("responses changed, as many as callers were given",
                        sum(1 for answer in said.answers if _object(answer).get("statusCode") == 503)),
    }  # fmt: skip
    expected = _expected(said, dice) if known_ids else {}
    for kind, (what, held) in told.items():
        if held or by_type[kind] or expected.get(kind):
            accounts.checks.append(Check("chaos-injector", what, by_type[kind], held, expected.get(kind, 0)))
        else:
            accounts.notes.append(f"no fault of type {kind} happened in this run: nothing to compare")
    for kind, count in expected.items():
        what = f"faults of type {kind}, as many as the seed says"
        accounts.checks.append(Check("chaos-injector", what, by_type[kind], count, count))
    if not known_ids:
        accounts.notes.append(
            "AWS's emulator chooses request ids itself, so which requests are hit differs from run to run"
        )
    return len(injected)


def _expected(said: _Said, dice: Dice) -> dict[str, int]:
    """How many faults of each type these request ids have: a response is only changed, or slow, where there is one."""
    failed = {one for one in said.ids if dice.hit(one, "error")}
    failed |= {one for one, answer in zip(said.ids, said.answers, strict=True) if b'"BadOrder"' in answer}
    shop, stream = said.ids[: said.of_shop], said.ids[said.of_shop :]
    return {
        "delay": sum(dice.hit(one, "delay") for one in said.ids),
        "error": sum(dice.hit(one, "error") for one in said.ids),
        "status_code": sum(dice.hit(one, "status_code") and one not in failed for one in shop),
        "slow_stream": sum(dice.hit(one, "slow_stream") and one not in failed for one in stream),
    }


def _parcels(said: _Said, accounts: Accounts) -> None:
    """The streaming function's: slow or not, every chunk comes through."""
    packed = [_object(text) for text in said.lines]
    sent = sum(one["parcels"] for one in packed if one.get("message") == "order packed")
    came = sum(answer.count(b'"parcel"') for answer in said.answers)
    least = sum(b'"errorType"' not in answer for answer in said.answers[said.of_shop :])
    accounts.checks.append(Check("stream", "chunks streamed, as many as callers were given", sent, came, least))


def _metrics(said: _Said, points: list[DataPoint], injected: int, accounts: Accounts) -> None:
    invocations = counted(points)
    faults = int(sum(point.value or 0 for point in points if point.name == "chaos.injected"))
    accounts.figures["metrics-collector"] = {"data_points": len(points), "invocations": invocations}
    accounts.delivered["metrics-collector"] = f"{len(points)} data points exported"
    accounts.checks.extend([
        Check("metrics-collector", "invocations counted at rotel, as many as there were", invocations, len(said.answers), 1),
        Check("metrics-collector", "faults counted at rotel, as many as were injected", faults, injected),
    ])  # fmt: skip


def _confirmed(lines: list[str]) -> list[int]:
    found = [_object(text) for text in lines]
    return sorted(one["order"] for one in found if one.get("message") in ("order confirmed", "order packed"))


def _is_confirmation(line: str) -> bool:
    written = _object(line)
    return written.get("service") == "shop" and written.get("message") == "order confirmed"


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
