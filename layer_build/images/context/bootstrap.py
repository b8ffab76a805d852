"""Runs AWS's runtime client. Where modules are looked for is as on Lambda: the function, the layers, the runtime, Python."""

import os
import sys

_RUNTIME = os.path.dirname(os.path.abspath(__file__))
_TASK = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
_LAYERS = ["/opt/python/lib/python%d.%d/site-packages" % sys.version_info[:2], "/opt/python"]
# A function that sets PYTHONPATH says itself where its layers are.
sys.path[:1] = [_TASK, *([] if "PYTHONPATH" in os.environ else _LAYERS), _RUNTIME]

from awslambdaric.__main__ import main  # noqa: E402

main(["bootstrap.py", os.environ["_HANDLER"]])
