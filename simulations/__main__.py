"""`python -m simulations`."""

import sys

from manager.garbage import settle_garbage
from simulations.cli import main

if __name__ == "__main__":
    settle_garbage()
    sys.exit(main())
