"""Asks the source for its document, off the invocation path, on a thread of its own; and tells the rails what it has heard.

While invocations come it asks every ``CHAOS_POLL``, twice as often while an experiment is armed, and then looks every second
whether the experiment is over, so that a kill switch works without an invocation. When nothing comes it sleeps for good. A
source that does not answer is asked less and less often, down to once a minute.
"""

from __future__ import annotations

import _thread

from extension_kit.errors import ConfigError
from extensions.chaos_injector.lease import Since

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extension_kit.aws import Aws
    from extension_kit.io.clock import Clock
    from extensions.chaos_injector.rails import Rails
    from extensions.chaos_injector.settings import ChaosSettings
    from extensions.chaos_injector.sources import Place, Source

__all__ = ["Poller"]

_LONGEST_MS = 60_000  # between two attempts while the source does not answer
_TICK_S = 1.0


class Poller:
    """``say``: takes a line for the log. ``always``: where nobody tells of invocations (Managed Instances)."""

    def __init__(
        self,
        settings: ChaosSettings,
        environ: Mapping[str, str],
        rails: Rails,
        clock: Clock,
        say: Callable[[str], object],
        *,
        directory: str,
        always: bool = False,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._rails = rails
        self._clock = clock
        self._say = say
        self._directory = directory
        self._always = always
        self._gate = _thread.allocate_lock()  # open: there is something to do
        self._gate.acquire()
        self._aws: Aws | None = None
        self._source: Source | None = None
        self._place: Place | None = None
        self._polling = _thread.allocate_lock()
        self._asked: Since | None = None
        self._failures = 0
        self._is_due = False  # whatever the time
        self._invoked = True  # since the last time
        self._forgets = ""  # after a restore or a thaw: what the thread should forget before it asks
        self._stopped = False

    def start(self) -> None:
        """Asks a source that is in the environment at once, so that it counts for the runtime's init; others on the thread."""
        if not self._settings.enabled:
            return
        from extensions.chaos_injector.sources import LOCAL, locate

        try:
            self._place = locate(self._settings, self._environ, self._directory)
        except ConfigError as error:
            self._say(f"{error}; nothing is injected")
            return
        if self._place.kind in LOCAL and not self._settings.global_switch:
            self.poll()
        try:
            _thread.start_new_thread(self._serve, ())
        except RuntimeError as error:
            self._stopped = True
            self._rails.unreadable(str(self._place), f"no thread can be had to ask it: {error}")

    def invoked(self) -> None:
        """An invocation has begun. Costs next to nothing."""
        self._invoked = True
        if self._asked is not None and self._asked.age_ms() >= self._interval_ms():
            self._wake()

    def restored(self, *, snapshot: bool) -> None:
        """A snapshot was resumed, or time has jumped: what was known must be heard again."""
        self._rails.restored()
        self._forgets = "credentials" if snapshot else "connections"
        self._is_due = True
        self._wake()

    def stop(self) -> None:
        """The thread ends; what is armed is not touched."""
        self._stopped = True
        self._wake()

    def poll(self) -> None:
        """Ask once, now, on this thread."""
        with self._polling:
            self._is_due = self._invoked = False
            try:
                self._ask()
            except Exception as error:  # whatever it is, the thread goes on, and nothing is armed
                self._failures += 1
                self._rails.unreadable(str(self._place), f"{type(error).__name__}: {error}")
            finally:
                self._asked = Since(self._clock)

    # inside

    def _ask(self) -> None:
        from extensions.chaos_injector.sources import Gone, Unreachable, Unreadable

        assert self._place is not None
        name = str(self._place)
        self._prepare()
        assert self._source is not None
        self._ask_switch()
        asked = self._rails.asking()
        try:
            data = self._source.fetch()
        except Gone as gone:
            self._rails.gone(name, str(gone))
        except Unreadable as error:
            self._rails.unreadable(name, str(error))
        except Unreachable as error:
            self._failures += 1
            self._rails.unreachable(name, str(error))
            return
        else:
            if data is not None:
                self._rails.documented(data, name, asked)
        self._failures = 0

    def _prepare(self) -> None:
        from extensions.chaos_injector.sources import LOCAL, open_source

        assert self._place is not None
        if self._aws is None and (self._place.kind not in LOCAL or self._settings.global_switch):
            from extension_kit.aws import Aws

            self._aws = Aws(self._environ, clock=self._clock, retries=1)
        forgets, self._forgets = self._forgets, ""
        if self._aws is not None and forgets:
            self._aws.forget_connections()
            if forgets == "credentials":
                self._aws.forget_credentials()
        if self._source is None:
            self._source = open_source(self._place, self._settings, self._environ, self._clock, self._aws)

    def _ask_switch(self) -> None:
        if self._settings.global_switch and self._aws is not None:
            from extensions.chaos_injector.sources import Unreachable
            from extensions.chaos_injector.sources.amazon import read_switch

            asked = self._rails.asking()
            try:
                self._rails.switched(*read_switch(self._aws, self._settings.global_switch), asked)
            except Unreachable:
                self._failures += 1  # what it said before counts as long as a lease

    def _interval_ms(self) -> int:
        armed = self._rails.is_armed
        usual = self._settings.poll // 2 if armed else self._settings.poll
        return max(usual, min(_LONGEST_MS, usual << min(self._failures, 6)))

    def _serve(self) -> None:
        if self._asked is None:
            self.poll()
        while not self._stopped:
            self._sleep()
            if not self._stopped and self._is_time():
                self.poll()

    def _is_time(self) -> bool:
        flows = self._invoked or self._always or self._rails.is_armed
        return self._is_due or (flows and self._left_s() <= 0)

    def _left_s(self) -> float:
        """Until the source should be asked; up to a tenth more, so that environments that began together do not stay so."""
        if self._asked is None:
            return 0.0
        percent = 100 + self._asked.wall_ms % 11
        return (self._interval_ms() * percent // 100 - self._asked.age_ms()) / 1_000

    def _sleep(self) -> None:
        """Until there may be something to do."""
        if self._rails.is_armed:
            self._gate.acquire(timeout=_TICK_S)
            self._rails.now()
        elif self._invoked or self._always:
            self._gate.acquire(timeout=max(0.0, self._left_s()))
        else:
            self._gate.acquire()

    def _wake(self) -> None:
        try:
            self._gate.release()
        except RuntimeError:
            pass  # it is open already
