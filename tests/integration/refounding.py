#!/usr/bin/env python3
"""What an operator may do to a cluster under those who use it.

founded_anew: everything of an engine in etcd and on the nodes is removed while its gateway runs, and the same nodes found
another cluster under the same name. What the former cluster got and did not answer is answered -INDOUBT and never sent to the new one; what it never got is in
the new one, first; nothing else needs to be done.

recovered_onto_a_shorter_log: `leash recover` hears only a node that was behind, and chooses its log. The others run all the
time and know more to be committed; they end (status 1), and follow that log when they are started again."""

import shutil

from cluster import Cluster, Gateway, leash, run_scenarios
from leashtest import Client, RespError, run, wait_for


def founded_anew(test):
    c = Cluster(test, gateway=False)
    gateway = c.gateway = Gateway(test, c.etcd, hold_timeout="120s")
    r, later = gateway.client(), gateway.client()
    for i in range(20):
        assert r.call("XADD", "engine", "*", "v", "old%d" % i) == b"%d-0" % (i + 1)
    victim = c.wait_primary()
    victim.stop()  # a second epoch: the new cluster's is lower
    c.wait_primary(but=victim)
    victim.start()
    c.wait_in_sync()
    assert r.call("XADD", "engine", "*", "v", "old20") == b"21-0"

    primary = c.wait_primary()
    for n in c.nodes:
        if n is not primary:
            n.pause()
    r.send("XADD", "engine", "IDMP", "p", "1", "*", "v", "doubt")
    r.send("XADD", "engine", "*", "v", "doubt")
    wait_for(lambda: primary.status()["log"]["end"] == 23, "the primary has them")
    for n in c.nodes:
        n.kill()
    wait_for(lambda: "has no primary" in gateway.output(), "the gateway has no primary")
    later.send("XADD", "engine", "IDMP", "p", "2", "*", "v", "new")

    c.etcd.delete_all()
    for n in c.nodes:
        shutil.rmtree(n.dir)
        n.start()
    c.wait_in_sync()
    for _ in range(2):
        answer = r.read()
        assert isinstance(answer, RespError) and answer.code == "INDOUBT", answer
    assert later.read() == b"1-0"
    assert r.call("XADD", "engine", "IDMP", "p", "1", "*", "v", "again") == b"2-0"  # its own producer's word
    assert "was founded anew" in gateway.output()
    assert c.wait_equal() == [(1, [b"v", b"new"]), (2, [b"v", b"again"])]
    with Client("127.0.0.1", gateway.port) as fresh:
        assert fresh.call("XLEN", "engine") == 2


def recovered_onto_a_shorter_log(test):
    c = Cluster(test, gateway=False)
    behind = c.by_name["S2"]
    append(c, 10)
    c.wait_equal()
    behind.kill()  # a paused one would find the rest in its socket
    append(c, 10)
    wait_for(lambda: c.etcd.insync() and "S2" not in c.etcd.insync(), "S2 is left behind")
    others = [n for n in c.nodes if n is not behind]
    wait_for(lambda: all(n.status()["log"]["commit"] == 20 for n in others), "the others know what is committed")
    for n in others:
        n.pause()
    c.etcd.delete_all()
    behind.start()
    wait_for(lambda: behind.status()["log"]["end"] == 10 and c.etcd.get("engine/nodes/S2"), "S2 is heard")
    leash("recover", "--etcd-endpoints", c.etcd.url, "--yes")
    for n in others:
        n.resume()
    ended = []

    def all_follow():
        with behind.client() as r:
            r.send("XADD", "engine", "IDMP", "p", "after", "*", "v", "after")
        for n in others:
            if not n.running():
                ended.append((n.node, n.popen.returncode))
                n.start()
        return len(ended) == 2

    wait_for(all_follow, "the others end", 60)
    assert sorted(ended) == sorted((n.node, 1) for n in others), ended
    c.wait_in_sync()
    with c.wait_primary().client() as r:
        assert r.call("XADD", "engine", "IDMP", "p", "after", "*", "v", "after") == b"11-0"
    assert [seq for seq, _ in c.wait_equal()] == list(range(1, 12))


def append(c, n):
    with c.wait_primary().client() as r:
        for _ in range(n):
            r.call("XADD", "engine", "*", "v", "x")


if __name__ == "__main__":
    run(lambda test: run_scenarios(test, [founded_anew, recovered_onto_a_shorter_log]))
