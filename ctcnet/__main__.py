"""`python -m ctcnet`: the same as the command `ctcnet`."""

import sys

from ctcnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
