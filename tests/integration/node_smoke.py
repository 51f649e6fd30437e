#!/usr/bin/env python3
"""Three nodes over a real etcd, with plain Redis clients.

1. They found a cluster by themselves; one is primary, and etcd's leader key names it and its address.
2. XADD on the primary is answered with <sequence>-0; IDMP retries get the first entry's id, other content IDMPCONFLICT.
3. A secondary answers writes with READONLY, and serves what is committed.
4. Pipelined appends are answered in order; a blocking XREAD is woken; large answers arrive whole.
5. kill -9 of the primary: another takes over; everything that was acknowledged is there, once; writes go on.
6. The killed node comes back and catches up: same last-hash everywhere.
7. LEASH works on the control socket only; SWITCHOVER moves the lead; SIGTERM ends with 0 and hands over.
8. A bad configuration ends with 78, a port or data directory in use with 1, foreign data with 78; all say what is wrong.
9. Without etcd it starts, reloads and ends.
"""
import os
import shutil
import signal
import subprocess

from leashtest import BUILD, Client, Etcd, Node, RespError, pairs, run, wait_for, wait_primary

NAMES = ("P1", "S1", "S2")


def error_of(client, *args):
    try:
        return "no error but %r" % (client.call(*args),)
    except RespError as e:
        return str(e)


def last_hash(node):
    with node.client() as c:
        info = pairs(c.call("XINFO", "STREAM", "engine"))
        return info["last-generated-id"], info["last-hash"]


def wait_same(nodes):
    wait_for(lambda: len({last_hash(n) for n in nodes}) == 1, "all nodes show the same log")


def appends(primary):
    with primary.client() as c:
        assert c.call("XADD", "engine", "*", "f", "v") == b"1-0"
        assert c.call("XADD", "engine", "IDMP", "pay", "7", "*", "f", "v") == b"2-0"
        assert c.call("XADD", "engine", "IDMP", "pay", "7", "*", "f", "v") == b"2-0"
        assert error_of(c, "XADD", "engine", "IDMP", "pay", "7", "*", "f", "w").startswith("IDMPCONFLICT ")
        assert c.call("XLEN", "engine") == 2
        for i in range(3, 1003):
            c.send("XADD", "engine", "*", "n", i)
        assert [c.read() for _ in range(3, 1003)] == [b"%d-0" % i for i in range(3, 1003)]
        assert c.call("WAIT", 1, 1000) >= 1
        assert "no engine 'nix' here; served: engine" in error_of(c, "XADD", "nix", "*", "f", "v")


def secondaries(primary, nodes):
    for n in nodes:
        if n is primary:
            continue
        with n.client() as c:
            assert error_of(c, "XADD", "engine", "*", "f", "v").startswith("READONLY ")
            wait_for(lambda: c.call("XLEN", "engine") == 1002, "%s has all records" % n.node)
            assert c.call("XRANGE", "engine", "2", "2") == [[b"2-0", [b"f", b"v"]]]
            assert c.call("ROLE")[0] == b"slave"
            assert c.call("ROLE")[2] == primary.port


def reads(primary):
    value = b"x" * 2000
    with primary.client() as reader, primary.client() as c:
        reader.send("XREAD", "BLOCK", 0, "STREAMS", "engine", "$")
        wait_for(lambda: b" cmd=xread " in c.call("CLIENT", "LIST"), "the reader waits")
        c.call("XADD", "engine", "*", "f", "woken")
        assert reader.read() == [[b"engine", [[b"1003-0", [b"f", b"woken"]]]]]
        for _ in range(2000):
            c.send("XADD", "engine", "*", "f", value)
        for _ in range(2000):
            c.read()
        entries = c.call("XRANGE", "engine", "-", "+")
        assert [e[0] for e in entries] == [b"%d-0" % i for i in range(1, 3004)]
        assert entries[-1][1] == [b"f", value]
        backwards = c.call("XREVRANGE", "engine", "+", "-")
        assert backwards == entries[::-1]


def with_redis_cli(primary):
    cli = shutil.which("redis-cli")
    if cli is None:
        return
    out = subprocess.run([cli, "-p", str(primary.port), "XADD", "engine", "*", "via", "redis-cli"], stdout=subprocess.PIPE,
                         timeout=30, check=True).stdout
    assert out == b"3004-0\n", out


def failover(etcd, primary, nodes):
    epoch = etcd.leader()["epoch"]
    primary.kill()
    new = wait_primary(nodes, but=[primary])
    assert etcd.leader()["node"] == new.node and etcd.leader()["epoch"] > epoch
    with new.client() as c:
        length = c.call("XLEN", "engine")
        assert length >= 3003
        assert c.call("XADD", "engine", "IDMP", "pay", "7", "*", "f", "v") == b"2-0"
        assert c.call("XADD", "engine", "*", "after", "failover") == b"%d-0" % (length + 1)
        entries = c.call("XRANGE", "engine", "-", "+")
        assert [e[0] for e in entries] == [b"%d-0" % i for i in range(1, length + 2)]
    primary.start()
    wait_same(nodes)
    wait_for(lambda: sorted(etcd.insync()) == sorted(NAMES), "all are in sync")
    return new


def operators(primary, nodes, etcd):
    with primary.client() as c:
        assert error_of(c, "LEASH", "STATUS").startswith("NOPERM ")
    assert "SWITCHOVER" in primary.admin("HELP").decode()
    assert primary.status()
    assert primary.admin("RELOAD")
    to = next(n for n in nodes if n is not primary)
    assert primary.admin("SWITCHOVER", to.node) == b"OK"
    assert wait_primary(nodes) is to
    primary.signal(signal.SIGHUP)
    assert to.stop() == 0
    wait_primary(nodes, but=[to])
    assert not os.path.exists(to.control)
    to.start()
    wait_same(nodes)


def refusals(t, etcd, nodes):
    n = Node(t, etcd, "X1", start=False, min_insync="9", lease_ttl="2", failure_timeout="5s")
    n.start(wait=False)
    assert n.wait() == 78, n.output()
    assert not os.path.exists(n.dir), "nothing may be touched"
    assert "--min-insync" in n.output() and "2 * failure_timeout" in n.output()
    n = Node(t, etcd, "X2", start=False, listen=nodes[0].address)
    n.start(wait=False)
    assert n.wait() == 1, n.output()
    assert nodes[0].address in n.output() and "another process" in n.output()
    out = subprocess.run([os.path.join(BUILD, "leash-noded"), "--help"], stdout=subprocess.PIPE, timeout=30, check=True)
    assert b"--on-role-change" in out.stdout


def without_etcd(t, etcd):
    """It starts, reloads and ends without etcd; its data and its control socket are its own."""
    n = Node(t, etcd, "Y1", etcd_endpoints="http://127.0.0.1:1")
    other = Node(t, etcd, "Y1b", start=False, data_dir=n.dir)
    other.node = n.node
    other.start(wait=False)
    assert other.wait() == 1 and "another process" in other.output(), other.output()
    foreign = Node(t, etcd, "Y2", start=False, data_dir=n.dir)
    n.signal(signal.SIGHUP)
    wait_for(lambda: "nothing has changed" in n.output(), "it reloads")
    assert n.stop() == 0, n.output()
    foreign.start(wait=False)
    assert foreign.wait() == 78 and n.dir in foreign.output(), foreign.output()


def main(t):
    etcd = Etcd(t)
    marks = os.path.join(t.dir, "roles")
    nodes = [Node(t, etcd, name, on_role_change="echo %s >>%s" % (name, marks)) for name in NAMES]
    primary = wait_primary(nodes)
    assert etcd.leader()["node"] == primary.node and etcd.leader()["address"] == primary.address
    wait_for(lambda: sorted(etcd.insync()) == sorted(NAMES), "all are in sync")
    appends(primary)
    secondaries(primary, nodes)
    reads(primary)
    with_redis_cli(primary)
    new = failover(etcd, primary, nodes)
    operators(new, nodes, etcd)
    with open(marks, encoding="utf-8") as f:
        assert any(line.startswith(new.node + " primary ") and line.endswith(" engine\n") for line in f)
    refusals(t, etcd, nodes)
    without_etcd(t, etcd)


if __name__ == "__main__":
    run(main)
