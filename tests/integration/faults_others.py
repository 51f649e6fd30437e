#!/usr/bin/env python3
"""faults.py, a part that can run beside others: every other scenario."""

import sys

from faults import main
from leashtest import run

if __name__ == "__main__":
    sys.argv[1:] = ["deaths", "hand_over", "etcd_away", "cut_off"]
    run(main)
