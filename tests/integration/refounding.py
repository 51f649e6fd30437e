#!/usr/bin/env python3
"""An engine that is founded anew while its gateway runs: everything of it in etcd and on the nodes is removed, and the same
nodes found another cluster under the same name.

What the former cluster got and did not answer is answered -INDOUBT and never sent to the new one; what it never got is in
the new one, first; nothing else needs to be done."""

import shutil

from cluster import Cluster, Gateway
from leashtest import Client, RespError, run, wait_for


def main(test):
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


if __name__ == "__main__":
    run(main)
