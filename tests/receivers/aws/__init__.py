"""A strict AWS of our own: Secrets Manager, Parameter Store, STS and AppConfig Data, as far as the secret cache uses them.

moto is used where it is right. This is for what it gets wrong or cannot do: rotation, statuses, limits, trust policies,
configurations whose tokens serve once, and faults on command. Signatures are checked with botocore's signer, and botocore's
clients read what it answers, in its own test.
"""

from __future__ import annotations

from tests.receivers.aws.fake import AwsFake, Fault

__all__ = ["AwsFake", "Fault"]
