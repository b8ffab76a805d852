"""The lifecycle of everything that talks to the Lambda service, as one literal table.

How to read it
--------------
``TABLE[kind][state][step]`` is the state that follows. A *kind* is one of the three parties: an external extension (a
process of its own), an internal extension (a thread inside the runtime's process), the runtime. A *step* is what happens
to the party: a request that it makes, an event that it is given, or its process ending. A step that is not listed is not
allowed.

Rule 1: all that decides whether a step is allowed stands in this table. No code elsewhere keeps a flag beside it.
Rule 2: this file does not know on which end it runs. The extension asks it *before* it sends a request (a step that is
not listed is a ``LocalProtocolError``: nothing was sent), the platform asks it when a request arrives (a step that is not
listed is answered 403). Since both ends read the same table, they cannot disagree.
Rule 3: no clock. Limits (init, function timeout, shutdown budgets) are steps that somebody with a clock brings in.

Where the rows come from: AWS's Runtime Interface Emulator (its states carry these names in its error texts, e.g. "State
transition from Registered to Registered failed") and the Extensions and Runtime API pages of the AWS documentation.

What a table cannot say
-----------------------
* Registration by an *internal* extension closes when the runtime first asks for work: that is a fact about two parties.
* ``init/error`` and ``exit/error`` only record what will be reported; the failure takes effect when the process exits. That
  is why ``InitError`` and ``ExitError`` accept ``exited``, and repeat themselves.
* An exit outside ``ShuttingDown`` is a crash even with exit code 0 (``Extension.Crash``).
"""

from __future__ import annotations

from extension_kit.errors import LocalProtocolError

__all__ = ["EXTERNAL", "FATAL", "INTERNAL", "RUNTIME", "TABLE", "Lifecycle"]

# kinds
EXTERNAL = "external extension"
INTERNAL = "internal extension"
RUNTIME = "runtime"

# states (AWS's names)
STARTED = "Started"
REGISTERED = "Registered"
READY = "Ready"
RUNNING = "Running"
RESPONSE_SENT = "ResponseSent"
SHUTTING_DOWN = "ShuttingDown"
DRAINED = "Drained"
INIT_ERROR = "InitError"
EXIT_ERROR = "ExitError"
LAUNCH_ERROR = "LaunchError"
CRASHED = "Crashed"
EXITED = "Exited"
KILLED = "Killed"
SHUTDOWN_FAILED = "ShutdownFailed"
RESTORE_READY = "RestoreReady"
RESTORING = "Restoring"
RESTORE_ERROR = "RestoreError"

# steps: requests of the party
REGISTER = "register"
NEXT = "next"
SUBSCRIBE = "telemetry"
REPORT_INIT_ERROR = "init/error"
REPORT_EXIT_ERROR = "exit/error"
RESPOND = "response"
RESPOND_ERROR = "error"
RESTORE_NEXT = "restore/next"
REPORT_RESTORE_ERROR = "restore/error"
# steps: what the platform does
INVOKE = "INVOKE"
SHUTDOWN = "SHUTDOWN"
RESTORE = "RESTORE"  # a snapshot is resumed: the runtime's restore/next is answered
# steps: what happens to the process
LAUNCH_FAILED = "launch failed"
PROCESS_EXITED = "exited"
PROCESS_KILLED = "killed"

_EXTENSION_ERRORS: dict[str, dict[str, str]] = {
    INIT_ERROR: {REPORT_INIT_ERROR: INIT_ERROR, PROCESS_EXITED: INIT_ERROR, PROCESS_KILLED: INIT_ERROR},
    EXIT_ERROR: {REPORT_EXIT_ERROR: EXIT_ERROR, PROCESS_EXITED: EXIT_ERROR, PROCESS_KILLED: EXIT_ERROR},
    CRASHED: {},
    KILLED: {},
}

TABLE: dict[str, dict[str, dict[str, str]]] = {
    EXTERNAL: {
        STARTED: {
            REGISTER: REGISTERED,
            LAUNCH_FAILED: LAUNCH_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        REGISTERED: {
            SUBSCRIBE: REGISTERED,
            NEXT: READY,
            REPORT_INIT_ERROR: INIT_ERROR,
            REPORT_EXIT_ERROR: EXIT_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        READY: {
            INVOKE: RUNNING,
            SHUTDOWN: SHUTTING_DOWN,
            REPORT_EXIT_ERROR: EXIT_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        RUNNING: {
            NEXT: READY,
            REPORT_EXIT_ERROR: EXIT_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        SHUTTING_DOWN: {
            NEXT: DRAINED,  # pointless but harmless: it blocks until the process ends
            REPORT_EXIT_ERROR: EXIT_ERROR,
            PROCESS_EXITED: EXITED,
            PROCESS_KILLED: SHUTDOWN_FAILED,
        },
        DRAINED: {PROCESS_EXITED: EXITED, PROCESS_KILLED: SHUTDOWN_FAILED},
        **_EXTENSION_ERRORS,
        LAUNCH_ERROR: {},
        EXITED: {},
        SHUTDOWN_FAILED: {},
    },
    INTERNAL: {
        STARTED: {REGISTER: REGISTERED},
        REGISTERED: {
            SUBSCRIBE: REGISTERED,
            NEXT: READY,
            REPORT_INIT_ERROR: INIT_ERROR,
            REPORT_EXIT_ERROR: EXIT_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        READY: {
            INVOKE: RUNNING,
            REPORT_EXIT_ERROR: EXIT_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        RUNNING: {
            NEXT: READY,
            REPORT_EXIT_ERROR: EXIT_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        **_EXTENSION_ERRORS,
    },
    RUNTIME: {
        STARTED: {
            NEXT: READY,
            RESTORE_NEXT: RESTORE_READY,
            REPORT_INIT_ERROR: INIT_ERROR,
            LAUNCH_FAILED: LAUNCH_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        RESTORE_READY: {RESTORE: RESTORING, PROCESS_EXITED: CRASHED, PROCESS_KILLED: KILLED},
        RESTORING: {
            NEXT: READY,
            REPORT_RESTORE_ERROR: RESTORE_ERROR,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        READY: {
            NEXT: READY,  # a runtime may ask again: the latest request is the one that is answered
            INVOKE: RUNNING,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        RUNNING: {
            RESPOND: RESPONSE_SENT,
            RESPOND_ERROR: RESPONSE_SENT,
            PROCESS_EXITED: CRASHED,
            PROCESS_KILLED: KILLED,
        },
        RESPONSE_SENT: {NEXT: READY, PROCESS_EXITED: CRASHED, PROCESS_KILLED: KILLED},
        INIT_ERROR: {PROCESS_EXITED: INIT_ERROR, PROCESS_KILLED: INIT_ERROR},
        RESTORE_ERROR: {PROCESS_EXITED: RESTORE_ERROR, PROCESS_KILLED: RESTORE_ERROR},
        LAUNCH_ERROR: {},
        CRASHED: {},
        KILLED: {},
    },
}

#: The error type that the platform reports when a party has ended in a state (lambda-apis: "fatal types").
FATAL: dict[str, dict[str, str]] = {
    EXTERNAL: {
        INIT_ERROR: "Extension.InitError",
        EXIT_ERROR: "Extension.ExitError",
        LAUNCH_ERROR: "Extension.LaunchError",
        CRASHED: "Extension.Crash",
    },
    INTERNAL: {INIT_ERROR: "Extension.InitError", EXIT_ERROR: "Extension.ExitError", CRASHED: "Extension.Crash"},
    RUNTIME: {
        INIT_ERROR: "Runtime.InitError",
        RESTORE_ERROR: "Runtime.RestoreError",
        CRASHED: "Runtime.ExitError",
        LAUNCH_ERROR: "Runtime.InvalidEntrypoint",
    },
}


class Lifecycle:
    """Where one party stands in the table. Holds no rule of its own."""

    __slots__ = ("kind", "state")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.state = STARTED

    def allows(self, step: str) -> bool:
        """Whether `step` is listed for the present state."""
        return step in TABLE[self.kind][self.state]

    def advance(self, step: str) -> str:
        """Take `step` and return the new state; LocalProtocolError, and no change, if it is not listed."""
        following = TABLE[self.kind][self.state].get(step)
        if following is None:
            allowed = ", ".join(TABLE[self.kind][self.state]) or "nothing"
            raise LocalProtocolError(f"{self.kind}: {step!r} is not allowed in state {self.state} (allowed: {allowed})")
        self.state = following
        return following

    @property
    def ended(self) -> bool:
        """Whether no further step is possible."""
        return not TABLE[self.kind][self.state]
