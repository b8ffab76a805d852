"""What the platform's parts tell each other: parties, invocations, results, and the world that they act on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from extension_kit.emulator.faults import Faults
from extension_kit.protocol.lifecycle import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.protocol.runtime_api import Answer
    from extension_kit.protocol.telemetry_api import Subscription

ON_DEMAND = "on-demand"
PROVISIONED = "provisioned-concurrency"
SNAP_START = "snap-start"
MANAGED_INSTANCES = "lambda-managed-instances"
INIT_TYPES = (ON_DEMAND, PROVISIONED, SNAP_START, MANAGED_INSTANCES)
MAX_EXTENSIONS = 10  # external and internal together (AWS docs, Lambda quotas)


class Phase(StrEnum):
    """What an environment is doing; see `platform`."""

    COLD = "cold"
    INIT = "init"
    READY = "ready"
    RESTORE = "restore"
    INVOKE = "invoke"
    SHUTDOWN = "shutdown"
    ENDED = "ended"


class LaunchError(Exception):
    """A program could not be started; ``reason`` is the platform's word for why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Reply(Protocol):
    """The right to answer one request, now or later."""

    def send(self, answer: Answer) -> bool: ...


class Cancellable(Protocol):
    """A timer."""

    def cancel(self) -> None: ...


@dataclass(eq=False)
class Party:
    """One extension or the runtime, from its start to the end of its process."""

    kind: str
    name: str
    lifecycle: Lifecycle = field(init=False)
    identifier: str = ""
    events: frozenset[str] = frozenset()
    waiting: Reply | None = None
    error_type: str = ""
    error_body: bytes = b""
    alive: bool = False
    exit_text: str = ""

    def __post_init__(self) -> None:
        self.lifecycle = Lifecycle(self.kind)

    @property
    def state(self) -> str:
        return self.lifecycle.state

    def give(self, step: str, answer: Answer) -> bool:
        """Answer the pending next with an event, which is `step`; whether it could be delivered."""
        self.lifecycle.advance(step)
        reply, self.waiting = self.waiting, None
        return reply is not None and reply.send(answer)


@dataclass(frozen=True)
class Result:
    """What the caller of the function gets. ``function_error``: "" or AWS's ``Unhandled``."""

    request_id: str
    payload: bytes
    function_error: str = ""
    error_type: str = ""
    content_type: str = "application/json"


@dataclass(eq=False)
class Invocation:
    """One invoke: ``deadline_ms`` (epoch) is set when its clock starts to run."""

    request_id: str
    payload: bytes
    on_result: Callable[[Result], object]
    client_context: str = ""
    trace: str = ""
    deadline_ms: int = 0
    answered: bool = False
    started: float = 0.0

    def answer(self, result: Result) -> None:
        """Hand the caller its result; later ones are of no use to it and dropped."""
        if not self.answered:
            self.answered = True
            self.on_result(result)


@dataclass(frozen=True)
class Profile:
    """How the environment is configured. Times in seconds."""

    function_name: str = "function"
    function_version: str = "$LATEST"
    handler: str = ""
    account_id: str = "012345678912"
    region: str = "us-east-1"
    memory_mb: int = 128
    timeout: float = 3.0
    init_type: str = ON_DEMAND
    init_limit: float = 10.0
    restore_limit: float = 10.0  # for a function's hooks after a restore (AWS docs, SnapStart runtime hooks)
    runtime_share_ms: int = 300
    freeze: bool = True
    json_logs: bool = False  # the function's log format is JSON: lines that are objects are told as objects
    concurrency: int = 2  # invocations at a time, Managed Instances only
    seed: int = 0  # of the times that Lambda leaves open: when a report is written
    faults: Faults = field(default_factory=Faults)

    @property
    def freezes(self) -> bool:
        """Managed Instances run on between invocations."""
        return self.freeze and self.init_type != MANAGED_INSTANCES

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.function_name}"

    @property
    def first_init_limit(self) -> float:
        """Limit of the init phase (s): 10 on demand, else max(130, function timeout up to 900). AWS docs, lambda-apis 3.1."""
        if self.init_type == ON_DEMAND:
            return self.init_limit
        return max(130.0, min(self.timeout, 900.0))


class World(Protocol):
    """What the platform needs done; implemented by the environment, and by tests."""

    def extension_names(self) -> list[str]: ...
    def launch(self, party: Party) -> None: ...  # raises LaunchError
    def terminate(self, party: Party) -> None: ...
    def kill(self, party: Party) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def now_ms(self) -> int: ...
    def monotonic(self) -> float: ...
    def call_later(self, seconds: float, call: Callable[[], object]) -> Cancellable: ...
    def new_id(self) -> str: ...
    def record(self, kind: str, **fields: Any) -> None: ...
    def subscribe(self, party: Party, subscription: Subscription) -> None: ...
    def is_subscribed(self, party: Party) -> bool: ...
