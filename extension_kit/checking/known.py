"""Whose environment variables are whose: the prefixes of the kit, of AWS, and of the kit's own extensions.

The extensions' stand in their settings and manifests, which the kit cannot import: a test holds this table to them.
"""

from __future__ import annotations

#: extension: the prefixes of its variables
OURS = {
    "chaos-injector": ("CHAOS_", "FAILURE_"),
    "log-shipper": ("LOG_SHIPPER_",),
    "metrics-collector": ("METRICS_COLLECTOR_",),
    "secret-cache": ("SECRET_CACHE_",),
}
#: extension: the prefixes of variables that it reads besides, in the place of an extension of AWS's
READ_TOO = {"secret-cache": ("PARAMETERS_SECRETS_EXTENSION_", "SECRETS_MANAGER_", "SSM_PARAMETER_STORE_")}
KIT = "EXTENSION_KIT_"
#: what AWS's own parts and SDKs read
AWS = "AWS_"


def owner(variable: str) -> str:
    """Which of the kit's own extensions reads `variable`, by its prefix; "" for all others."""
    return next((name for name, prefixes in OURS.items() if variable.startswith(prefixes)), "")
