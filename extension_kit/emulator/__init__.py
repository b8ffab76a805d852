"""A Lambda execution environment on this machine.

``platform`` decides (no I/O), ``api`` speaks HTTP for it, ``processes``, ``namespaces`` and ``layers`` give it a world,
``environment`` ties them together on one event loop.
"""
