#!/usr/bin/env python3
"""The promises under faults, with real processes and a real etcd: producers write through the gateway while nodes are
killed, paused and restarted, and readers at the gateway and at each node read; afterwards what each producer was told is
compared with every node's log, record by record, and the history of all clients is checked (tests/check/hist.h).

1. exactly once, at the acknowledged number, in producer order, and equal logs, over many kills of the primary (star, chain)
2. no producer behind a living gateway sees an error
3. likewise over kills of secondaries, of the gateway, a pause longer than the lease, and a kill of all nodes at once
4. SIGTERM hands over: no error, exit status 0
5. etcd away for 20 s: acknowledgements go on, and the same primary leads afterwards in the same epoch
6. a primary that was cut off with unacknowledged records shows them to nobody and loses those that the new primary lacks

Names of scenarios may be given as arguments; $LEASH_KILLS is how often a primary is killed (20).
"""

import os
import time

from cluster import Cluster, Producer, check_promises, leash, run_scenarios
from leashtest import run, wait_for

KILLS = int(os.environ.get("LEASH_KILLS", "20"))


def producing(c, n=4):
    ps = [Producer(c.gateway.port, "p%d" % i, history=c.history("p%d" % i, in_order=True)) for i in range(n)]
    for p in ps:
        p.start()
    c.start_readers()
    moving(ps)
    return ps


def moving(ps, more=20, seconds=40):
    """Waits until every producer got `more` further acknowledgements."""
    goals = [len(p.acks) + more for p in ps]
    wait_for(lambda: all(len(p.acks) >= g or p.errors for p, g in zip(ps, goals)), "acknowledgements go on", seconds)
    for p in ps:
        assert not p.errors, "%s saw an error: %r" % (p.name_, p.errors)


def settle(c, ps):
    for p in ps:
        p.finish()
    c.wait_in_sync()
    check_promises(c.wait_equal(), ps)
    c.check_histories()
    for n in c.nodes:
        leash("log", "verify", n.dir)
    print("%d acknowledged, longest pause %.0f ms" % (
        sum(len(p.acks) for p in ps), 1000 * max(p.longest_pause for p in ps)), flush=True)


def kill_primaries(test, topology, kills):
    c = Cluster(test, topology=topology)
    ps = producing(c)
    for _ in range(kills):
        victim = c.wait_primary()
        victim.kill()
        moving(ps)
        victim.start()
        c.wait_in_sync()
    settle(c, ps)


def kills(test):
    kill_primaries(test, "star", KILLS)


def kills_in_chain(test):
    kill_primaries(test, "chain", KILLS)


def die(test, topology):
    c = Cluster(test, topology=topology)
    ps = producing(c)
    for _ in range(3):
        primary = c.wait_primary()
        victim = next(n for n in c.nodes if n is not primary)
        victim.kill()
        moving(ps)
        victim.start()
        c.wait_in_sync()
    victim = c.wait_primary()
    victim.pause()
    paused_until = time.monotonic() + 7  # longer than the lease
    c.wait_primary(but=victim)
    moving(ps)
    wait_for(lambda: time.monotonic() > paused_until, "the lease is over")
    victim.resume()
    c.wait_in_sync()
    c.gateway.kill()
    c.gateway.start()
    moving(ps)
    for n in c.nodes:
        n.kill()
    for n in c.nodes:
        n.start()
    moving(ps, seconds=60)
    settle(c, ps)


def deaths(test):
    die(test, "star")


def deaths_in_chain(test):
    die(test, "chain")


def hand_over(test):
    c = Cluster(test)
    ps = producing(c)
    for _ in range(3):
        victim = c.wait_primary()
        assert victim.stop() == 0, "SIGTERM is a clean end"
        moving(ps)
        victim.start()
        c.wait_in_sync()
    settle(c, ps)


def etcd_away(test):
    c = Cluster(test)
    ps = producing(c)
    before, epoch = c.wait_primary(), c.etcd.leader()["epoch"]
    c.etcd.kill()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        moving(ps, 5, 15)
    c.etcd.start()
    wait_for(lambda: (c.etcd.leader() or {}).get("epoch") == epoch, "the leader key is there", 30)
    assert c.wait_primary() is before
    moving(ps)
    settle(c, ps)


def recorded(h, conn, r, value):
    tag = h.append(conn, "", value)
    r.send("XADD", "engine", "*", "v", value)
    reply = r.read()
    h.answered(tag, reply)
    return reply


def cut_off(test):
    c = Cluster(test)
    h, h_direct = c.history("a"), c.history("direct")
    c.start_readers()
    with c.gateway.client() as r:
        conn = h.conn(r)
        for i in range(10):
            recorded(h, conn, r, b"a:%d" % i)
        old = c.wait_primary()
        others = [n for n in c.nodes if n is not old]
        for n in others:
            n.kill()
        direct = old.client()
        conn_direct = h_direct.conn(direct)
        for i in range(5):
            h_direct.append(conn_direct, "", b"lost:%d" % i)
            direct.send("XADD", "engine", "*", "v", "lost:%d" % i)  # nobody else will ever have it
        wait_for(lambda: "lost:4" in leash("log", "cat", old.dir, check=False).stdout, "they are in its log", 10)
        old.pause()
        for n in others:
            n.start()
        c.wait_primary(but=old)
        assert recorded(h, conn, r, b"b:0") == b"11-0"
        old.resume()
        c.wait_in_sync()
        values = [fields[1] for _, fields in c.wait_equal()]
        assert values == [b"a:%d" % i for i in range(10)] + [b"b:0"], values
        c.check_histories()
        assert os.listdir(os.path.join(old.dir, "cut")), "what was cut is kept"


SCENARIOS = [kills, kills_in_chain, deaths, deaths_in_chain, hand_over, etcd_away, cut_off]


def main(test):
    run_scenarios(test, SCENARIOS)


if __name__ == "__main__":
    run(main)
