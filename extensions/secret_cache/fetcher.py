"""Asks AWS, on threads of its own: at most so many calls at once for each service, many asks in one call where AWS allows it.

An order waits in its service's lane until a thread is free; what waits together is asked for together. A batch needs a
permission of its own that a drop-in for AWS's extension may not count on: where it is refused, that is remembered, and the
asks go one by one, as they do where a fleet is too large for the quota of batches. Threads end when their lane is empty: while
nothing is fetched there are none.
"""

from __future__ import annotations

import _thread

from extension_kit.aws import AwsError
from extensions.secret_cache.asks import ConfigurationAsk, ParameterAsk, PathAsk, SecretAsk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extension_kit.aws import Role
    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.cache import Order
    from extensions.secret_cache.calls import Calls
    from extensions.secret_cache.found import Found

__all__ = ["Fetcher"]

_BATCH = {"secretsmanager": 20, "ssm": 10}  # API references: BatchGetSecretValue, GetParameters
#: Codes with which a whole batch fails because of one of its members, or because batches are not for us.
_BATCH_DENIED = ("AccessDeniedException", "AccessDenied", "UnknownOperationException", "InvalidAction")
#: Services whose batches are throttled long before single calls are: BatchGetSecretValue 100/s, GetSecretValue 10,000/s for all
#: of an account in a region (AWS docs, "AWS Secrets Manager quotas"). Parameter Store has one for both, so they help.
_SCARCE_BATCHES = ("secretsmanager",)


class Fetcher:
    """``arrived(order, result, ttl_ms)`` and ``probed(order, version)`` are called on the fetching threads.

    ``most``: calls at the same time, for each service.
    """

    def __init__(
        self,
        calls: Calls,
        arrived: Callable[[Order, Found | AwsError, int | None], object],
        probed: Callable[[Order, str], object],
        most: int,
    ) -> None:
        self._calls = calls
        self._arrived = arrived
        self._probed = probed
        self._most = most
        self._lock = _thread.allocate_lock()
        #: orders, and whether each must go alone since a batch with it has failed as a whole
        self._waiting: dict[str, list[tuple[Order, bool]]] = {"secretsmanager": [], "ssm": [], "appconfigdata": []}
        self.running = dict.fromkeys(self._waiting, 0)  # threads, by service
        self._alone: set[tuple[str, Role | None]] = set()  # service and role that may not ask in batches

    def submit(self, orders: Iterable[Order]) -> None:
        """Fetch `orders`; returns at once."""
        for order in orders:
            service = _service(order)
            with self._lock:
                self._waiting[service].append((order, False))
        self._staff()

    def _staff(self) -> None:
        """As many threads as there is work for."""
        for service, waiting in self._waiting.items():
            with self._lock:
                missing = min(self._most - self.running[service], self._calls_for(service, waiting))
                self.running[service] += max(0, missing)
            for _ in range(missing):
                try:
                    _thread.start_new_thread(self._work, (service,))
                except RuntimeError:  # no thread can be had: those that run take the work over
                    self._no_thread(service)

    def _no_thread(self, service: str) -> None:
        with self._lock:
            self.running[service] -= 1
            left = [] if self.running[service] else self._waiting[service]
            if left:
                self._waiting[service] = []
        for order, _alone in left:
            self._end(order, AwsError("NoThread", "no thread could be started to ask AWS", kind="unavailable"))

    def _work(self, service: str) -> None:
        while True:
            with self._lock:
                batch = self._take(service)
                if not batch:
                    self.running[service] -= 1
                    return
            try:
                self._fetch(service, batch)
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not leave callers waiting
                text = f"{type(error).__name__} in the secret cache"
                for order in batch:
                    self._end(order, AwsError("InternalFailure", text, kind="unavailable"))

    def _take(self, service: str) -> list[Order]:
        """The order that waits longest, and what can be asked for with it. The lock is held."""
        waiting = self._waiting[service]
        if not waiting:
            return []
        first, alone = waiting.pop(0)
        group = self._group(first, alone)
        batch = [first]
        if group is not None:
            for one in list(waiting):
                if len(batch) == _BATCH[service]:
                    break
                if self._group(*one) == group and all(one[0].ask.id != other.ask.id for other in batch):
                    waiting.remove(one)
                    batch.append(one[0])
        return batch

    def _group(self, order: Order, alone: bool) -> object:
        """Orders of one group can be asked for in one call; None for what goes alone."""
        ask = order.ask
        if order.probe or alone:
            return None
        if isinstance(ask, SecretAsk) and ask.is_current and ("secretsmanager", ask.role) not in self._alone:
            return ("secret", ask.role)
        if isinstance(ask, ParameterAsk) and ("ssm", ask.role) not in self._alone:
            return ("parameter", ask.role, ask.decrypt)
        return None

    def _calls_for(self, service: str, waiting: list[tuple[Order, bool]]) -> int:
        """About how many calls `waiting` takes: a thread for each order would tear apart what can be asked for together."""
        single = sum(self._group(*one) is None for one in waiting)
        return single - (single - len(waiting)) // _BATCH.get(service, 1)

    def _fetch(self, service: str, batch: list[Order]) -> None:
        if len(batch) > 1:
            self._fetch_together(service, batch)
            return
        order = batch[0]
        if order.probe:
            self._probe(order)
            return
        try:
            found, ttl_ms = self._fetch_one(order)
        except AwsError as error:
            self._end(order, error)
        else:
            self._end(order, found, ttl_ms)

    def _fetch_one(self, order: Order) -> tuple[Found, int | None]:
        ask = order.ask
        if isinstance(ask, SecretAsk):
            return self._calls.secret(ask, order.deadline_ms), None
        if isinstance(ask, ParameterAsk):
            return self._calls.parameter(ask, order.deadline_ms), None
        if isinstance(ask, PathAsk):
            return self._calls.parameters_below(ask, order.deadline_ms), None
        return self._calls.configuration(ask, order.previous, order.deadline_ms)

    def _fetch_together(self, service: str, batch: list[Order]) -> None:
        """One call for all."""
        asks = [order.ask for order in batch]
        deadline_ms = max(order.deadline_ms for order in batch)
        try:
            found = (
                self._calls.parameters(asks, deadline_ms)
                if service == "ssm"
                else self._calls.secrets(asks, deadline_ms)
            )
        except AwsError as error:
            self._hand_out(service, batch, error)
        else:
            self._hand_out(service, batch, found)

    def _hand_out(self, service: str, batch: list[Order], answer: dict[Ask, Found | AwsError] | AwsError) -> None:
        """What one call for all has brought; those of which it says nothing follow one by one, and all if it is refused."""
        if isinstance(answer, AwsError):
            too_many = answer.kind == "throttled" and service in _SCARCE_BATCHES
            if not too_many and (answer.transient or answer.kind == "credentials"):
                for order in batch:
                    self._end(order, answer)
                return
            if too_many or answer.code in _BATCH_DENIED:
                self._alone.add((service, batch[0].ask.role))  # type: ignore[union-attr]
            answer = {}
        rest = []
        for order in batch:
            result = answer.get(order.ask)
            if result is None:
                rest.append(order)
            else:
                self._end(order, result)
        with self._lock:
            self._waiting[service][:0] = [(order, True) for order in rest]
        if rest:
            self._staff()

    def _probe(self, order: Order) -> None:
        assert isinstance(order.ask, SecretAsk)
        self._probed(order, self._calls.current_version(order.ask, order.deadline_ms))

    def _end(self, order: Order, result: Found | AwsError, ttl_ms: int | None = None) -> None:
        if order.probe:
            self._probed(order, "")
        else:
            self._arrived(order, result, ttl_ms)


def _service(order: Order) -> str:
    if isinstance(order.ask, SecretAsk):
        return "secretsmanager"
    return "appconfigdata" if isinstance(order.ask, ConfigurationAsk) else "ssm"
