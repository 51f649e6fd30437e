#!/bin/sh
# Random faults on a simulated cluster: a fixed range of seeds in every run of `make check`. LEASH_SIM_SEEDS=A-B chooses others.
exec tests/sim/leash-sim --seeds "${LEASH_SIM_SEEDS:-1-300}" --minutes 1 --jobs 2
