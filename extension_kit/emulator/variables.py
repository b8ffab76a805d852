"""What the processes of an environment find in their environment variables.

Source: AWS documentation, "Using Lambda environment variables" and the list of variables that extensions do not see
(Extensions API page); AWS's Runtime Interface Emulator additionally hides everything that begins with an underscore.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.emulator.model import MANAGED_INSTANCES, SNAP_START

if TYPE_CHECKING:
    from extension_kit.emulator.model import Profile

HIDDEN_FROM_EXTENSIONS = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
#: Lambda's PATH, between whose first two parts the folder of this interpreter stands here.
_LANG_BIN = "/var/lang/bin"
_LAMBDA_PATH = "/usr/local/bin:/usr/bin/:/bin:/opt/bin"
#: Example credentials, in the form of real ones: a function that signs a request can, and nothing real can leak.
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "ASIAEMULATOREXAMPLE0",
    "AWS_SECRET_ACCESS_KEY": "emulator/example/secret/key/0000000000000",
    "AWS_SESSION_TOKEN": "emulator-example-session-token",
}


def credentials(number: int, expiration: str) -> dict[str, str]:
    """What the credentials endpoint of a snapshot answers; others after every restore, as the old ones have expired."""
    return {
        "AccessKeyId": f"ASIAEMULATOREXAMPLE{number}",
        "SecretAccessKey": _CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        "Token": f"{_CREDENTIALS['AWS_SESSION_TOKEN']}-{number}",
        "Expiration": expiration,
    }


def for_runtime(profile: Profile, api: str, metadata_token: str, task: str, user: dict[str, str]) -> dict[str, str]:
    """The runtime's variables; `user` (from ``--env``) may add, and may override credentials and region only."""
    log = {
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{profile.function_name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"emulator/[{profile.function_version}]",
    }
    # A snapshot holds no keys: it would keep them for ever. It is told where to ask (lambda-apis 7).
    container = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{api}/2021-04-23/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": metadata_token,
    }
    return {
        **(container if profile.init_type == SNAP_START else _CREDENTIALS),
        "AWS_REGION": profile.region,
        "AWS_DEFAULT_REGION": profile.region,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": f"{_LANG_BIN}:{Path(sys.executable).parent}:{_LAMBDA_PATH}",
        **user,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sysconfig.get_python_version()}",
        "AWS_LAMBDA_FUNCTION_NAME": profile.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": profile.function_version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(profile.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": profile.init_type,
        **({"AWS_LAMBDA_MAX_CONCURRENCY": str(profile.concurrency)} if profile.init_type == MANAGED_INSTANCES else {}),
        **({} if profile.init_type == SNAP_START else log),  # a snapshot does not know its log stream
        "AWS_LAMBDA_METADATA_API": api,
        "AWS_LAMBDA_METADATA_TOKEN": metadata_token,
        "AWS_LAMBDA_RUNTIME_API": api,
        "AWS_LAMBDA_LOG_FORMAT": "JSON" if profile.json_logs else "Text",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": task,
        "_HANDLER": profile.handler,
    }


def for_extension(runtime: dict[str, str], *, with_python: bool = True) -> dict[str, str]:
    """What of the runtime's variables an extension sees; also which Python is ours, where /var/lang/bin has none for it."""
    found = {
        name: value
        for name, value in runtime.items()
        if not name.startswith("_") and name not in HIDDEN_FROM_EXTENSIONS
    }
    if not with_python:
        found.setdefault("EXTENSION_KIT_PYTHON", sys.executable)
    return found
