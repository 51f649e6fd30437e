"""Scenarios of one subject per file: functions of a Lab (run.py). SCENARIOS is their order, FEW are those of the selection."""
