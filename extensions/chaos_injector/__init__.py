"""Chaos injector: controlled faults into any function, inert unless two keys are turned."""
