"""Which functions use layers that there are newer versions of: ``uses`` and ``templates`` find them, ``judging`` compares."""
