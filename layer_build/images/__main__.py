"""``python -m layer_build.images``: makes sure that the engine has an image, and prints its name. Exit status 2: why not."""

import sys

from extension_kit.errors import ConfigError
from layer_build.images import ensure

if __name__ == "__main__":
    try:
        print(ensure(lambda text: print(text, file=sys.stderr, flush=True)))
    except ConfigError as error:
        print(f"layer_build.images: {error}", file=sys.stderr)
        sys.exit(2)
