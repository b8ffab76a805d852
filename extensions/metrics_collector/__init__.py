"""Metrics collector: what the execution environment spent on each invocation."""
