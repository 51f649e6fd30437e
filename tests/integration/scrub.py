#!/usr/bin/env python3
"""Bytes that rot on a node's disk (design 6, R11), with real processes and a real etcd, while producers write through the
gateway. Everything is repaired in place from other nodes: nobody changes its incarnation, leaves the set or hands over.

1. in a finished segment of a secondary, of the primary, and of all nodes at different places, while they run
2. of a primary while nobody else is there: it serves on, and heals as soon as somebody is
3. in the segments in use, at different places in all nodes, while all are down: without a primary they mend each other (B5)
4. at the same place in two nodes, while the third is down: they wait for it

What cannot be proven costs the incarnation, and nothing else:

5. the end of a secondary's log, while it is down

What is lost everywhere an operator gives up, node by node, with leash log set-aside and leash recover:

6. the same record in all nodes, while they are down

No client sees an error, all logs are equal and whole in the end, and the evidence is kept.
"""
import glob
import os
import signal

from cluster import Cluster, Producer, SLOW, check_promises, leash, run_scenarios
from leashtest import run, wait_for

RATE = "4G"  # rests one second between two passes


def producing(c, kind=Producer, n=3):
    ps = [kind(c.gateway.port, "p%d" % i) for i in range(n)]
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


def flip(path, at):
    fd = os.open(path, os.O_RDWR)
    try:
        byte = os.pread(fd, 1, at)[0]
        os.pwrite(fd, bytes([byte ^ 0x10]), at)
        os.fsync(fd)
    finally:
        os.close(fd)


def rot(node, part=0.3):
    """Flips a byte in the node's first finished segment but one."""
    wait_for(lambda: len(segments(node)) >= 3, "%s has finished segments" % node.node, 60 * SLOW)
    path = segments(node)[1]
    flip(path, 4096 + int((os.path.getsize(path) - 4096) * part))


def used_bytes(path):
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def rot_in_use(node, part):
    """Flips a byte of the segment that was in use when the node stopped."""
    path = segments(node)[-1]
    flip(path, 4096 + int((used_bytes(path) - 4096) * part))


def incarnations(c):
    return {n.node: n.status()["incarnation"] for n in c.nodes}


def repaired(c, node, before):
    wait_for(lambda: "the log is repaired" in node.output() and not node.status()["scrub"]["damaged"],
             "%s is repaired" % node.node, 60 * SLOW)
    wait_for(lambda: node.status()["in_sync"], "%s is in sync" % node.node, 60 * SLOW)
    assert node.status()["incarnation"] == before[node.node], "%s is somebody else now" % node.node
    assert os.listdir(os.path.join(node.dir, "damaged")), "the evidence is kept"


def settle(c, ps):
    for p in ps:
        p.finish()
    c.wait_in_sync()
    check_promises(c.wait_equal(), ps)
    for n in c.nodes:
        leash("log", "verify", n.dir)
    print("%d acknowledged, longest pause %.0f ms" % (
        sum(len(p.acks) for p in ps), 1000 * max(p.longest_pause for p in ps)), flush=True)


def cluster(test, **options):
    return Cluster(test, segment_bytes="64K", max_record_bytes="16K", scrub_rate=RATE, **options)


def running(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 300)
    before, primary = incarnations(c), c.wait_primary()
    others = [n for n in c.nodes if n is not primary]
    rot(others[0])
    repaired(c, others[0], before)
    moving(ps)
    rot(primary)
    repaired(c, primary, before)
    moving(ps)
    said = {n.node: n.output().count("the log is repaired") for n in c.nodes}
    for i, n in enumerate(c.nodes):
        rot(n, 0.5 + 0.1 * i)
    for n in c.nodes:
        wait_for(lambda: n.output().count("the log is repaired") > said[n.node], "%s is repaired again" % n.node, 60 * SLOW)
        repaired(c, n, before)
    assert c.wait_primary() is primary, "nobody had to hand over"
    for n in c.nodes:
        passes = n.status()["scrub"]["passes"]
        wait_for(lambda: n.status()["scrub"]["passes"] > passes + 1 and n.status()["scrub"]["last_damaged"] == 0,
                 "a pass without damage", 30 * SLOW)
    settle(c, ps)


def alone(test):
    c = Cluster(test, segment_bytes="64K", max_record_bytes="16K", scrub_rate=RATE, min_insync="1")
    ps = producing(c)
    moving(ps, 300)
    victim = c.wait_primary()
    before = incarnations(c)
    others = [n for n in c.nodes if n is not victim]
    for n in others:
        n.kill()
    wait_for(lambda: c.etcd.insync() == [victim.node], "it is alone", 30 * SLOW)
    moving(ps)
    rot(victim)
    wait_for(lambda: victim.status()["scrub"]["damaged"], "the damage is found", 30 * SLOW)
    moving(ps)
    for n in others:
        n.start()
    repaired(c, victim, before)
    moving(ps)
    settle(c, ps)


def marked(c):
    """Each node's disk says that all of its log was acknowledged: what is gone from it then is damage, not a torn write."""
    for n in c.nodes:
        wait_for(lambda: "acknowledged to %d," % n.status()["log"]["end"] in leash("log", "verify", n.dir).stdout,
                 "%s has marked what was acknowledged" % n.node, 60 * SLOW)


def stop_all(c):
    before = incarnations(c)
    marked(c)
    for n in c.nodes:
        n.signal(signal.SIGKILL)
    for n in c.nodes:
        n.wait()
    return before


def at_rest(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 300)
    for p in ps:
        p.finish()
    c.wait_equal()
    before = stop_all(c)
    for i, n in enumerate(c.nodes):
        rot_in_use(n, 0.2 + 0.2 * i)
        rot(n, 0.3 + 0.1 * i)  # found while the other is being repaired, or later
    for n in c.nodes:
        n.start()
    for n in c.nodes:
        repaired(c, n, before)
    settle(c, ps)


def same_place(test):
    c = cluster(test, failure_timeout="300ms")
    ps = producing(c)
    moving(ps, 300)
    for p in ps:
        p.finish()
    c.wait_equal()
    before = stop_all(c)
    for n in c.nodes[:2]:
        rot_in_use(n, 0.5)
    for n in c.nodes[:2]:
        n.start()
    for n in c.nodes[:2]:
        wait_for(lambda: "goes on asking" in n.output(), "%s says what it waits for" % n.node, 60 * SLOW)
        assert n.status()["role"] == "halted" and n.status()["incarnation"] == before[n.node]
    c.nodes[2].start()
    for n in c.nodes[:2]:
        repaired(c, n, before)
    settle(c, ps)


def end_of_log(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 100)
    for p in ps:
        p.finish()
    c.wait_equal()
    primary = c.wait_primary()
    victim = next(n for n in c.nodes if n is not primary)
    before = incarnations(c)
    victim.signal(signal.SIGTERM)
    victim.wait()
    with open(segments(victim)[-1], "r+b") as f:
        used = used_bytes(f.name)
        f.seek(4096 + (used - 4096) * 7 // 10)
        f.write(bytes(used - f.tell()))
    victim.start()
    wait_for(lambda: victim.status()["incarnation"] != before[victim.node] and victim.status()["in_sync"],
             "%s is somebody new and in sync" % victim.node, 60 * SLOW)
    assert "the log is damaged" in victim.output() and os.listdir(os.path.join(victim.dir, "damaged"))
    settle(c, ps)


def recover(c, *options, check=True):
    return leash("recover", "--yes", "--etcd-endpoints", c.etcd.url, *options, check=check)


def lost_everywhere(test):
    c = cluster(test, failure_timeout="300ms")
    ps = producing(c)
    moving(ps, 100)
    for p in ps:
        p.finish()
    whole = c.wait_equal()
    stop_all(c)
    for n in c.nodes:
        rot_in_use(n, 0.5)
    for n in c.nodes:
        n.start()
    for n in c.nodes:
        wait_for(lambda: "goes on asking" in n.output(), "%s says what it waits for" % n.node, 60 * SLOW)
    assert "stop it" in recover(c, check=False).stderr, "a damaged log is not chosen by itself"
    for n in c.nodes:
        n.signal(signal.SIGTERM)
        n.wait()
        leash("log", "set-aside", "--yes", n.dir)
        leash("log", "set-aside", "--yes", n.dir)  # done already
        n.start()
    recover(c, "--force")
    c.wait_primary()
    c.wait_in_sync()
    left = c.wait_equal()
    assert 0 < len(left) < len(whole) and left == whole[:len(left)], "what is before the rot is there"


SCENARIOS = [running, alone, at_rest, same_place, end_of_log, lost_everywhere]


def main(test):
    run_scenarios(test, SCENARIOS)


if __name__ == "__main__":
    run(main)
