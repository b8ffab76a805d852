"""``python -m layer_build``."""

import sys

from layer_build.cli import main

if __name__ == "__main__":
    sys.exit(main())
