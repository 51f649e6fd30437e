#!/usr/bin/env python3
"""faults.py, a part that can run beside others: the primary is killed again and again."""

import sys

from faults import main
from leashtest import run

if __name__ == "__main__":
    sys.argv[1:] = ["kills"]
    run(main)
