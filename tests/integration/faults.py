#!/usr/bin/env python3
"""The promises under faults, with real processes and a real etcd: producers write through the gateway while nodes are
killed, paused and restarted; afterwards what each producer was told is compared with every node's log, record by record.

1. exactly once, at the acknowledged number, in producer order, and equal logs, over many kills of the primary (star, chain)
2. no producer behind a living gateway sees an error
3. likewise over kills of secondaries, of the gateway, a pause longer than the lease, and a kill of all nodes at once
4. etcd away for 20 s: acknowledgements go on, and the same primary leads afterwards
5. a primary that was cut off by a pause with unacknowledged records loses those that the new primary lacks
"""

import os
import signal
import time

from leashtest import Cluster, Producer, Resp, check_promises, main, wait_for

KILLS = int(os.environ.get("LEASH_KILLS", "20"))


def producing(c, n=4):
    ps = [Producer(c.gateway_ports[0], "p%d" % i) for i in range(n)]
    for p in ps:
        p.start()
    wait_for(lambda: all(len(p.acks) > 5 for p in ps), 20, "the first acknowledgements")
    return ps


def acks(ps):
    return sum(len(p.acks) for p in ps)


def moving(ps, more=20, seconds=40):
    """Waits until every producer got `more` further acknowledgements."""
    goal = [len(p.acks) + more for p in ps]
    wait_for(lambda: all(len(p.acks) >= g or p.errors for p, g in zip(ps, goal)), seconds, "acknowledgements go on")
    for p in ps:
        assert not p.errors, "%s saw an error: %r" % (p.name_, p.errors)


def settle(c, ps):
    for p in ps:
        p.finish()
    c.wait_in_sync()
    check_promises(c.wait_equal(), ps)
    for name in c.names:
        c.leash("log", "verify", c.data(name))


def kill_primaries(topology, kills):
    with Cluster(topology=topology) as c:
        c.start()
        ps = producing(c)
        for _ in range(kills):
            victim = c.wait_primary()
            c.nodes[victim].kill()
            moving(ps)
            c.nodes[victim].start()
            c.wait_in_sync()
        settle(c, ps)


def test_kills_of_the_primary():
    kill_primaries("star", KILLS)


def test_kills_of_the_primary_in_a_chain():
    kill_primaries("chain", max(3, KILLS // 2))


def test_other_deaths():
    with Cluster() as c:
        c.start()
        ps = producing(c)
        # secondaries
        for _ in range(3):
            victim = next(n for n in c.names if n != c.wait_primary())
            c.nodes[victim].kill()
            moving(ps)
            c.nodes[victim].start()
            c.wait_in_sync()
        # a pause of the primary for longer than the lease
        victim = c.wait_primary()
        c.nodes[victim].signal(signal.SIGSTOP)
        c.wait_primary(other_than=victim, seconds=20)
        moving(ps)
        paused_until = time.monotonic() + 7
        wait_for(lambda: time.monotonic() > paused_until, 20, "the lease is over")
        c.nodes[victim].signal(signal.SIGCONT)
        c.wait_in_sync()
        # the gateway: its clients come again with their ids
        c.gateways[0].kill()
        c.gateways[0].start()
        moving(ps)
        # all nodes at once
        for n in c.nodes.values():
            n.kill()
        for n in c.nodes.values():
            n.start()
        moving(ps, seconds=60)
        settle(c, ps)


def test_hand_over_on_sigterm():
    with Cluster() as c:
        c.start()
        ps = producing(c)
        for _ in range(3):
            victim = c.wait_primary()
            assert c.nodes[victim].stop() == 0, "SIGTERM is a clean end"
            moving(ps)
            c.nodes[victim].start()
            c.wait_in_sync()
        settle(c, ps)


def test_etcd_away():
    with Cluster() as c:
        c.start()
        ps = producing(c)
        before, epoch = c.wait_primary(), c.etcd.get("engine/leader")["epoch"]
        c.etcd.kill()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            moving(ps, 5, 15)
        c.etcd.start()
        wait_for(lambda: (c.etcd.get("engine/leader") or {}).get("epoch") == epoch, 30, "the leader key is there")
        assert c.wait_primary() == before
        moving(ps)
        settle(c, ps)


def test_unacknowledged_records_of_a_deposed_primary_are_cut():
    with Cluster() as c:
        c.start()
        r = Resp(c.gateway_ports[0])
        for i in range(10):
            r("XADD", "engine", "*", "v", "a:%d" % i)
        old = c.wait_primary()
        others = [n for n in c.names if n != old]
        for n in others:
            c.nodes[n].signal(signal.SIGSTOP)
        direct = Resp(c.ports[old])
        for i in range(5):
            direct.send("XADD", "engine", "*", "v", "lost:%d" % i)  # can never be acknowledged: nobody else has it
        verify = lambda: "lost:4" in c.leash("log", "cat", c.data(old), check=False).stdout
        wait_for(verify, 20, "the records are in the old primary's log")
        c.nodes[old].signal(signal.SIGSTOP)
        for n in others:
            c.nodes[n].signal(signal.SIGCONT)
        c.wait_primary(other_than=old)
        assert r("XADD", "engine", "*", "v", "b:0") is not None
        c.nodes[old].signal(signal.SIGCONT)
        c.wait_in_sync()
        log = c.wait_equal()
        values = [fields[1] for _, fields in log]
        assert b"b:0" in values
        kept = [v for v in values if v.startswith(b"lost:")]
        assert kept == [] or values.index(b"b:0") > values.index(kept[0]), values


if __name__ == "__main__":
    main([test_kills_of_the_primary, test_kills_of_the_primary_in_a_chain, test_other_deaths, test_hand_over_on_sigterm,
          test_etcd_away, test_unacknowledged_records_of_a_deposed_primary_are_cut])
