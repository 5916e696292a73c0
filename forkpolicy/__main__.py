"""`python -m forkpolicy` is the command `forkpolicy`."""

import sys

from forkpolicy.commands import main

if __name__ == "__main__":
    sys.exit(main())
