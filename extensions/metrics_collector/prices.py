"""List prices, for an estimate of what an invocation costs: never a bill, which knows free tiers, tiers and plans."""

from __future__ import annotations

__all__ = ["AS_OF", "cost_usd"]

#: of US East (N. Virginia), on demand, the first tier. Source: https://aws.amazon.com/lambda/pricing/ as others quote it:
#: the page itself fills its tables by a script. Other regions and later
#: prices by METRICS_COLLECTOR_PRICE_GB_SECOND and METRICS_COLLECTOR_PRICE_REQUEST
AS_OF = "2025-06"
GB_SECOND_USD = {"x86_64": 0.0000166667, "aarch64": 0.0000133334}
REQUEST_USD = 0.0000002


def cost_usd(billed_ms: float, memory_mb: float, machine: str, gb_second: float = 0.0, request: float = 0.0) -> float:
    """Of one invocation. ``machine``: as ``uname -m`` has it; ``gb_second``, ``request``: prices of the operator's; 0: list."""
    per_gb_second = gb_second or GB_SECOND_USD.get(machine, GB_SECOND_USD["x86_64"])
    return billed_ms / 1000 * memory_mb / 1024 * per_gb_second + (request or REQUEST_USD)
