"""``python -m extensions.secret_cache serve``: the secret cache by itself, for development.

It needs no Lambda: credentials and region from the environment, settings as in a function, the ports of the settings. The token
is the session token of the environment, ``AWS_TOKEN``, or one that is made and shown.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from secrets import token_urlsafe
from threading import Event
from typing import TYPE_CHECKING

from extension_kit.io.clock import Clock
from extension_kit.io.ports import open_port
from extensions.secret_cache.service import Service
from extensions.secret_cache.settings import AppConfigSettings, SecretCacheSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKENS = (
    "AWS_TOKEN",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; 0, or 2 where a port cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m extensions.secret_cache", description=__doc__.split("\n\n")[1])
    serve = parser.add_subparsers(required=True).add_parser("serve", help="serve until Ctrl-C")
    serve.add_argument("--port", type=int, help="for secrets and parameters, 0: any (default: 2773, or the setting)")
    serve.add_argument("--appconfig-port", type=int, help="for configurations, 0: any (default: 2772, or the setting)")
    options = parser.parse_args(arguments)

    environ = dict(os.environ)
    made = not any(environ.get(name) for name in _TOKENS)
    if made:
        environ["AWS_TOKEN"] = token_urlsafe(24)
    settings, warnings = SecretCacheSettings.parse(environ)
    appconfig, more = AppConfigSettings.parse(environ)
    for line in (*warnings, *more):
        _say("warning", line)
    counters: dict[str, int] = {}

    def count(name: str, n: int) -> None:
        counters[name] = counters.get(name, 0) + n

    service = Service(settings, appconfig, environ, Clock(), say=_say, count=count)
    try:
        secrets = open_port(("secrets", _port(options.port, settings.port), (), ""), print)
        configurations = open_port(
            ("configurations", _port(options.appconfig_port, appconfig.http_port), (), ""), print
        )
    except OSError as error:
        _say("error", f"{error.strerror}; choose another with --port or --appconfig-port")
        return 2
    service.serve(secrets)
    service.serve_configurations(configurations)
    service.start()
    print(f"secrets and parameters: http://localhost:{secrets[0].getsockname()[1]}")
    print(f"configurations:         http://localhost:{configurations[0].getsockname()[1]}")
    token = f"{environ['AWS_TOKEN']} (made for this run)" if made else "the session token of the environment"
    print(f"token:                  X-Aws-Parameters-Secrets-Token: {token}", flush=True)
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    ended.wait()
    service.stop()
    print(", ".join(f"{name} {n}" for name, n in sorted(counters.items())) or "nothing was asked for")
    return 0


def _port(chosen: int | None, setting: int) -> int:
    return setting if chosen is None else chosen


def _say(level: str, text: str) -> None:
    print(f"{level}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
