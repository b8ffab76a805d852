"""A CPython for layers that bring their own: built from pinned sources, or taken from who builds it. README.md says how."""
