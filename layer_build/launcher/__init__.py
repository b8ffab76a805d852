"""The file in ``extensions/``: a small static program that registers at once, then becomes Python."""
