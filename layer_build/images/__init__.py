"""The image that layers are tried in: AWS's where it can be had, else one of the same layout; see ``README.md`` here."""

from layer_build.images.engine import connect, failures, reason
from layer_build.images.image import ensure

__all__ = ["connect", "ensure", "failures", "reason"]
