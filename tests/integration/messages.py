#!/usr/bin/env python3
"""What operators read at the default level.

1. In good weather nothing is said: not per connection, append, read, heartbeat or renewal of a lease, by nodes and gateway.
2. A failover reads as a story on the node that takes over: why, the attempt, the lead; then who caught up and joined. The
   gateway tells who leads, and for how long nobody did.
3. A hand-over on an operator's word is told by both sides.
"""

import time

from cluster import SLOW, Cluster, Gateway, run_scenarios
from leashtest import run, wait_for

QUIET_S = 4  # longer than a third of lease_ttl: leases are renewed meanwhile
CONNECTIONS = 200
ATTEMPTS = 3


def cluster(test):
    c = Cluster(test, gateway=False, log_level="info", failure_timeout="5000ms", lease_ttl="10")
    c.gateway = Gateway(test, c.etcd, log_level="info")
    return c


def said(processes):
    return {p.name: len(p.output()) for p in processes}


def work(c):
    """Connections come, append, read and go, for longer than a lease lives without renewal."""
    end = time.monotonic() + QUIET_S
    n = 0
    while n < CONNECTIONS or time.monotonic() < end:
        with c.gateway.client() as r:
            r.call("XADD", "engine", "*", "n", str(n))
            r.call("XRANGE", "engine", "-", "+", "COUNT", "2")
        for node in c.nodes:
            with node.client() as r:
                r.call("PING")
        n += 1


def good_weather(test):
    c = cluster(test)
    with c.gateway.client() as r:
        r.call("XADD", "engine", "*", "f", "v")
    processes = c.nodes + [c.gateway]
    for _ in range(ATTEMPTS):
        leader, before = c.etcd.leader(), said(processes)
        work(c)
        if c.etcd.leader() == leader and c.primary():
            break  # else this machine was so slow that somebody was suspected: then there is something to say
    after = said(processes)
    for p in processes:
        assert after[p.name] == before[p.name], "%s is not silent: %s" % (p.name, p.output()[before[p.name]:])


def in_order(text, *sentences):
    at = 0
    for s in sentences:
        assert s in text[at:], "%r is missing (behind what comes before it) in:\n%s" % (s, text)
        at = text.index(s, at) + len(s)


def failover(test):
    c = cluster(test)
    old = c.wait_primary()
    with c.gateway.client() as r:
        r.call("XADD", "engine", "*", "f", "v")
    marks = said(c.nodes + [c.gateway])
    old.kill()
    new = c.wait_primary(but=old)
    epoch = c.etcd.leader()["epoch"]
    with c.gateway.client() as r:
        r.call("XADD", "engine", "*", "f", "w")
    old.start()
    c.wait_in_sync()
    wait_for(lambda: "%s joined the in-sync set" % old.node in new.output()[marks[new.name]:], "who is in sync is told", 30 * SLOW)
    names = (new.node, epoch, old.node)
    in_order(new.output()[marks[new.name]:],
             "warning: leadership change required after %s (epoch " % old.node,
             "notice: %s asks etcd for the lead in epoch %d, after %s: " % names,
             "notice: %s became primary in epoch %d, after %s, with a log up to record 1; in sync: " % names,
             "info: %s caught up at record " % old.node,
             "notice: %s joined the in-sync set, which is now " % old.node)
    in_order(c.gateway.output()[marks[c.gateway.name]:],
             "warning: 'engine' has no primary (the last was '%s', epoch " % old.node,
             "notice: primary of 'engine' is now '%s' (epoch %d), after a pause of " % (new.node, epoch))
    assert "%s, a node of engine engine, listens on %s; its log has records 1-" % (old.node, old.address) in old.output()


def hand_over(test):
    c = cluster(test)
    old = c.wait_primary()
    marks = said(c.nodes)
    old.admin("SWITCHOVER")
    new = c.wait_primary(but=old)
    epoch = c.etcd.leader()["epoch"]
    wait_for(lambda: "stepped down" in old.output()[marks[old.name]:], "the former primary tells", 30 * SLOW)
    in_order(old.output()[marks[old.name]:],
             "notice: %s hands the lead over to %s" % (old.node, new.node),
             "notice: %s stepped down: %s leads in epoch %d" % (old.node, new.node, epoch))
    wait_for(lambda: "became primary" in new.output()[marks[new.name]:], "the new primary tells", 30 * SLOW)
    in_order(new.output()[marks[new.name]:], "notice: %s became primary in epoch %d, after %s, " % (new.node, epoch, old.node))


def main(test):
    run_scenarios(test, [good_weather, failover, hand_over])


if __name__ == "__main__":
    run(main)
