"""The package is upgraded on running hosts, removed and installed again."""

SCENARIOS = []
FEW = []
