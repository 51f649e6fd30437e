#!/usr/bin/env python3
"""etcd has three members, and those that lead it are killed while producers run: no producer sees an error, everything
acknowledged is in the log once, and a primary that is killed while etcd elects is replaced all the same."""

import time

from cluster import Cluster, EtcdMembers, Producer, check_promises
from leashtest import run, wait_for


def moving(ps, more=50, seconds=40):
    goals = [len(p.acks) + more for p in ps]
    wait_for(lambda: all(len(p.acks) >= g or p.errors for p, g in zip(ps, goals)), "acknowledgements go on", seconds)
    for p in ps:
        assert not p.errors, "%s saw an error: %r" % (p.name_, p.errors)


def leading(etcd):
    wait_for(lambda: etcd.leading() is not None, "all members of etcd agree who leads")
    return etcd.members[etcd.leading()]


def main(test):
    etcd = EtcdMembers(test)
    c = Cluster(test, etcd=etcd, lease_ttl="3", failure_timeout="500ms")
    ps = [Producer(c.gateway.port, "p%d" % i, history=c.history("p%d" % i, in_order=True)) for i in range(4)]
    for p in ps:
        p.start()
    c.start_readers()
    moving(ps)

    epoch = etcd.leader()["epoch"]
    for _ in range(3):
        victim = leading(etcd)
        victim.kill()
        moving(ps)
        wait_for(etcd.leader, "etcd answers without it", 20)
        victim.start()
        moving(ps)
    leading(etcd)
    assert etcd.leader()["epoch"] == epoch, "the same primary led all the time"

    primary, victim = c.wait_primary(), leading(etcd)
    victim.kill()
    primary.kill()
    moving(ps)
    c.wait_primary(but=primary)
    primary.start()
    victim.start()
    leading(etcd)
    c.wait_in_sync()

    first, second = etcd.members[0], etcd.members[1]  # no majority
    first.kill()
    second.kill()
    end = time.monotonic() + 8  # longer than the lease
    while time.monotonic() < end:
        moving(ps, 5)
    first.start()
    second.start()
    c.wait_in_sync()
    moving(ps)

    for p in ps:
        p.finish()
    check_promises(c.wait_equal(), ps)
    c.check_histories()


if __name__ == "__main__":
    run(main)
