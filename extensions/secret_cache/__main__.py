"""``python -m extensions.secret_cache serve``: the secret cache by itself, for development.

It needs no Lambda: credentials and region from the environment, settings as in a function, the ports of the settings. The token
is the session token of the environment, ``AWS_TOKEN``, or one that is made and shown.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from secrets import token_urlsafe
from threading import Event
from typing import TYPE_CHECKING

from extension_kit.commands.console import Parser, failed, guarded, wants_json
from extension_kit.io.clock import Clock
from extension_kit.io.ports import open_port
from extensions.secret_cache.service import Service
from extensions.secret_cache.settings import AppConfigSettings, SecretCacheSettings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_PROG = "python -m extensions.secret_cache"
_TOKENS = (
    "AWS_TOKEN",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; 0, or 2 where a port cannot be had."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(prog=_PROG, description=(__doc__ or "").split("\n\n")[1])
    serve = parser.add_subparsers(required=True, metavar="serve").add_parser("serve", help="serve until Ctrl-C")
    serve.add_argument("--port", type=int, help="for secrets and parameters, 0: any (default: 2773, or the setting)")
    serve.add_argument("--appconfig-port", type=int, help="for configurations, 0: any (default: 2772, or the setting)")
    serve.add_argument(
        "--json", action="store_true", help="addresses and token as one line of JSON, all else on stderr"
    )
    return guarded(_PROG, wants_json(words), lambda: _serve(parser.parse_args(words)))


def _serve(options: argparse.Namespace) -> int:
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
        return failed(_PROG, f"{error.strerror}; choose another with --port or --appconfig-port", options.json)
    service.serve(secrets)
    service.serve_configurations(configurations)
    service.start()
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # before anybody is told that it serves
        signal.signal(number, lambda _number, _frame: ended.set())
    urls = [f"http://localhost:{one[0].getsockname()[1]}" for one in (secrets, configurations)]
    token = environ["AWS_TOKEN"] if made else ""
    if options.json:
        print(json.dumps({"secrets": urls[0], "configurations": urls[1], "token": token or None}), flush=True)
    else:
        said = f"{token} (made for this run)" if token else "the session token of the environment"
        print(f"secrets and parameters: {urls[0]}\nconfigurations:         {urls[1]}")
        print(f"token:                  X-Aws-Parameters-Secrets-Token: {said}", flush=True)
    ended.wait()
    service.stop()
    counted = ", ".join(f"{name} {n}" for name, n in sorted(counters.items())) or "nothing was asked for"
    print(counted, file=sys.stderr if options.json else sys.stdout)
    return 0


def _port(chosen: int | None, setting: int) -> int:
    return setting if chosen is None else chosen


def _say(level: str, text: str) -> None:
    print(f"{level}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
