#!/usr/bin/env python3
"""Bytes that rot on the disk of a running node (design 6, R11), with real processes and a real etcd, while producers
write through the gateway:

1. in a finished segment of a secondary: it says so, sets the damage aside, and is in sync again as a new incarnation
2. in a finished segment of the primary: it says so, hands over, and then does the same
3. a primary that finds damage while nobody else is in sync serves on, and heals as soon as somebody is

No client sees an error, all logs are equal and whole in the end, and the evidence is kept.
"""
import glob
import os

from cluster import Cluster, Producer, SLOW, check_promises, leash, run_scenarios
from leashtest import run, wait_for

RATE = "4G"  # rests one second between two passes


def producing(c):
    ps = [Producer(c.gateway.port, "p%d" % i) for i in range(3)]
    for p in ps:
        p.start()
    return ps


def moving(ps, count=100, seconds=60):
    goals = [len(p.acks) + count for p in ps]
    wait_for(lambda: all(len(p.acks) >= g or p.errors for p, g in zip(ps, goals)), "acknowledgements go on", seconds * SLOW)
    for p in ps:
        assert not p.errors, "%s saw an error: %r" % (p.name_, p.errors)


def segments(node):
    return sorted(glob.glob(os.path.join(node.dir, "*.seg")))


def rot(node):
    """Flips a byte in the middle of the node's first finished segment."""
    wait_for(lambda: len(segments(node)) >= 3, "%s has finished segments" % node.node, 60 * SLOW)
    path = segments(node)[1]
    fd = os.open(path, os.O_RDWR)
    try:
        at = 4096 + (os.fstat(fd).st_size - 4096) // 3
        byte = os.pread(fd, 1, at)[0]
        os.pwrite(fd, bytes([byte ^ 0x10]), at)
        os.fsync(fd)
    finally:
        os.close(fd)
    return path


def healed(c, node, before):
    def new():
        s = node.status()
        return s["incarnation"] != before and s["in_sync"] and not s["scrub"]["damaged"]
    wait_for(new, "%s is somebody new and in sync" % node.node, 60 * SLOW)
    out = node.output()
    assert "the log is damaged at records" in out, out[-3000:]
    assert os.listdir(os.path.join(node.dir, "damaged")), "the evidence is kept"
    c.wait_in_sync()


def settle(c, ps):
    for p in ps:
        p.finish()
    c.wait_in_sync()
    check_promises(c.wait_equal(), ps)
    for n in c.nodes:
        leash("log", "verify", n.dir)
    print("%d acknowledged, longest pause %.0f ms" % (
        sum(len(p.acks) for p in ps), 1000 * max(p.longest_pause for p in ps)), flush=True)


def cluster(test):
    return Cluster(test, segment_bytes="64K", max_record_bytes="16K", scrub_rate=RATE)


def secondary(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps)
    primary = c.wait_primary()
    victim = next(n for n in c.nodes if n is not primary)
    before = victim.status()["incarnation"]
    rot(victim)
    healed(c, victim, before)
    moving(ps)
    passes = victim.status()["scrub"]["passes"]
    wait_for(lambda: victim.status()["scrub"]["passes"] > passes + 1 and victim.status()["scrub"]["last_damaged"] == 0,
             "a pass without damage", 30 * SLOW)
    settle(c, ps)


def primary(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps)
    victim = c.wait_primary()
    before = victim.status()["incarnation"]
    rot(victim)
    c.wait_primary(but=victim)
    healed(c, victim, before)
    moving(ps)
    settle(c, ps)


def alone(test):
    c = Cluster(test, segment_bytes="64K", max_record_bytes="16K", scrub_rate=RATE, min_insync="1")
    ps = producing(c)
    moving(ps)
    victim = c.wait_primary()
    before = victim.status()["incarnation"]
    others = [n for n in c.nodes if n is not victim]
    for n in others:
        n.kill()
    wait_for(lambda: c.etcd.insync() == [victim.node], "it is alone", 30 * SLOW)
    moving(ps)
    rot(victim)
    wait_for(lambda: victim.status()["scrub"]["damaged"], "the damage is found", 30 * SLOW)
    moving(ps)
    assert victim.status()["incarnation"] == before
    # They take what is good from it; what only the damaged disk had in that place they have themselves.
    for n in others:
        n.start()
    healed(c, victim, before)
    moving(ps)
    settle(c, ps)


SCENARIOS = [secondary, primary, alone]


def main(test):
    run_scenarios(test, SCENARIOS)


if __name__ == "__main__":
    run(main)
