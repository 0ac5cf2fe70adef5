"""`python -m timmy.dispatcher.cli`, the same as `timmy-dispatch`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
