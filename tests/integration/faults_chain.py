#!/usr/bin/env python3
"""faults.py, a part that can run beside others: likewise, with records that travel from node to node."""

import sys

from faults import main
from leashtest import run

if __name__ == "__main__":
    sys.argv[1:] = ["kills_in_chain", "deaths_in_chain"]
    run(main)
