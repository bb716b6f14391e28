"""`python -m fedpareto` is the command line."""

import sys

from fedpareto.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
