#!/usr/bin/env python3
"""What users meet: a whole cluster behind a gateway, with the clients that they have already.

1. redis-cli: XADD, IDMP, ranges, blocking reads, XINFO, INFO, ROLE, WAIT, HELLO, COMMAND, CONFIG, CLIENT, unknown commands
2. a secondary refuses writes; nc appends; a record that is too large costs nobody a connection; garbage disturbs nobody
3. redis-benchmark with 50 connections and pipelines of 16: no error, and exactly its records are in the log
4. Debian's python3-redis, unmodified, produces and consumes
5. etcdctl names the primary, and `etcdctl watch` shows that it changes

What is not installed is left out and named; redis-cli, nc and etcdctl must be there, or the test is skipped.
"""

import os
import re
import shutil
import signal
import socket
import subprocess

from cluster import SLOW, Cluster
from leashtest import Process, Skip, run, wait_for

BENCH_RECORDS = int(os.environ.get("LEASH_BENCH_RECORDS", "200000"))
ENV = dict(os.environ, ETCDCTL_API="3", LC_ALL="C.UTF-8")

# Runs under the system's own interpreter, which Debian's module belongs to.
PYTHON = "/usr/bin/python3"
REDIS_PY = """
import redis, sys, threading
r = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
assert r.ping()
before = r.xlen("engine")
ids = [r.xadd("engine", {"n": i}) for i in range(100)]
assert ids == ["%d-0" % (before + 1 + i) for i in range(100)], ids
pipe = r.pipeline(transaction=False)
for i in range(100):
    pipe.xadd("engine", {"p": i, "q": "x"})
assert pipe.execute() == ["%d-0" % (before + 101 + i) for i in range(100)]
assert r.xlen("engine") == before + 200
assert r.xrange("engine", ids[0], ids[2]) == [(ids[i], {"n": str(i)}) for i in range(3)]
assert r.xrevrange("engine", count=1) == [("%d-0" % (before + 200), {"p": "99", "q": "x"})]
assert r.xread({"engine": ids[98]}, count=1) == [["engine", [(ids[99], {"n": "99"})]]]
info = r.xinfo_stream("engine")
assert info["length"] == before + 200 and info["last-generated-id"] == "%d-0" % (before + 200), info
other = redis.Redis(port=int(sys.argv[1]), decode_responses=True, client_name="writer")
assert r.xread({"engine": "$"}, block=50) == []
writer = threading.Timer(0.2, lambda: other.xadd("engine", {"f": "woken"}))
writer.start()
got = r.xread({"engine": "$"}, block=30000)
writer.join()
assert got == [["engine", [("%d-0" % (before + 201), {"f": "woken"})]]], got
assert r.info("replication")["role"] == "master" and r.config_get("*") == {}
try:
    r.set("a", "b")
    raise SystemExit("SET was answered")
except redis.ResponseError as e:
    assert "unknown command" in str(e), e
print("ok")
"""


def redis_cli(port, *args, stdin=None):
    r = subprocess.run(["redis-cli", "-p", str(port), *args], input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60 * SLOW, env=ENV)
    assert r.returncode == 0, r
    return r.stdout.rstrip("\n")


class Cli:
    def __init__(self, port):
        self.port = port

    def __call__(self, *args):
        return redis_cli(self.port, *args)


def etcdctl(c, *args):
    return subprocess.run(["etcdctl", "--endpoints", c.etcd.url, *args], stdout=subprocess.PIPE, check=True, text=True,
                          timeout=60 * SLOW, env=ENV).stdout


# ------------------------------------------------------------------------------------------------------------- redis-cli


def appends(cli):
    assert cli("XADD", "engine", "*", "f", "v") == "1-0"
    assert cli("XADD", "engine", "IDMP", "p", "1", "*", "f", "v") == "2-0"
    assert cli("XADD", "engine", "IDMP", "p", "1", "*", "f", "v") == "2-0", "a retry gets the first one's id"
    assert cli("XADD", "engine", "IDMP", "p", "1", "*", "f", "w").startswith("IDMPCONFLICT ")
    assert cli("XLEN", "engine") == "2"
    assert cli("XADD", "engine", "IDMPAUTO", "p", "*", "a", "1", "b", "2") == "3-0"
    assert cli("XADD", "engine", "IDMPAUTO", "p", "*", "b", "2", "a", "1") == "3-0", "the order of fields is no content"
    assert cli("XADD", "engine", "IDMPSEQ", "q", "7", "*", "f", "v") == "4-0"
    assert cli("XADD", "engine", "IDMPSEQ", "q", "7", "*", "f", "v") == "4-0"
    assert cli("XADD", "engine", "*", "f").startswith("ERR wrong number of arguments for 'xadd' command")
    assert cli("XADD", "elsewhere", "*", "f", "v").startswith("ERR "), "an engine that is not served"
    assert cli("XLEN", "engine") == "4"


def ranges(cli):
    all_ = "1-0\nf\nv\n2-0\nf\nv\n3-0\na\n1\nb\n2\n4-0\nf\nv"
    assert cli("XRANGE", "engine", "-", "+") == all_
    assert cli("XRANGE", "engine", "(1-0", "+", "COUNT", "1") == "2-0\nf\nv"
    assert cli("XREVRANGE", "engine", "+", "-", "COUNT", "2") == "4-0\nf\nv\n3-0\na\n1\nb\n2"
    assert cli("XREAD", "COUNT", "1", "STREAMS", "engine", "3") == "engine\n4-0\nf\nv"
    assert cli("XREAD", "BLOCK", "50", "STREAMS", "engine", "$") == ""


def blocking(test, c, cli):
    reader = Process(test, "blocked", ["redis-cli", "-p", str(c.gateway.port), "XREAD", "BLOCK", "0", "STREAMS", "engine", "$"])
    reader.start()
    # CLIENT LIST tells of one worker's clients: enough connections to reach each worker.
    asking = [c.gateway.client() for _ in range(4 * os.cpu_count())]
    wait_for(lambda: any(b" cmd=xread " in a.call("CLIENT", "LIST") for a in asking), "the reader waits")
    for a in asking:
        a.close()
    assert cli("XADD", "engine", "*", "f", "woken") == "5-0"
    assert reader.wait() == 0
    assert reader.output() == "engine\n5-0\nf\nwoken\n", reader.output()


def questions(c, cli):
    info = cli("XINFO", "STREAM", "engine").split("\n")
    assert info[info.index("length") + 1] == "5" and info[info.index("last-generated-id") + 1] == "5-0", info
    assert "last-hash" in info and "max-deleted-entry-id" in info
    for section in ("# Server", "# Clients", "# Replication", "role:master", "connected_slaves:2"):
        wait_for(lambda: section in cli("INFO"), "INFO has %s" % section)
    assert cli("ROLE").split("\n")[0] == "master"
    assert int(cli("WAIT", "2", "5000")) == 2
    hello = cli("HELLO", "3").split("\n")
    assert "proto 3" in hello and "role master" in hello, hello
    assert "xadd" in cli("COMMAND") and int(cli("COMMAND", "COUNT")) > 10
    assert cli("CONFIG", "GET", "*") == ""
    assert cli("CLIENT", "SETNAME", "me") == "OK" and int(cli("CLIENT", "ID")) > 0
    assert cli("PING") == "PONG" and cli("ECHO", "hi") == "hi" and cli("SELECT", "0") == "OK"
    assert redis_cli(c.gateway.port, "-3", "XLEN", "engine") == "5", "RESP3"
    for unknown in (("SET", "a", "b"), ("FLUSHALL",), ("CLIENT", "MAINT_NOTIFICATIONS", "ON"), ("CONFIG", "SET", "a", "b")):
        assert cli(*unknown).startswith(("ERR unknown command '%s'" % unknown[0], "ERR unknown subcommand")), cli(*unknown)
    assert cli("GET", "a") == "ERR unknown command 'GET', with args beginning with: 'a' ", "as Redis words it"
    assert cli("LEASH", "STATUS").startswith(("ERR unknown command", "NOPERM")), "not over the network"


# ------------------------------------------------------------------------------------------------- other ways to behave


def secondaries(c):
    primary = c.wait_primary()
    for n in c.nodes:
        if n is not primary:
            assert redis_cli(n.port, "XADD", "engine", "*", "f", "v").startswith("READONLY "), n.node
            wait_for(lambda: redis_cli(n.port, "XLEN", "engine") == "5", "%s shows what is committed" % n.node)
            assert redis_cli(n.port, "XRANGE", "engine", "1", "1") == "1-0\nf\nv"


def with_nc(c):
    out = subprocess.run(["nc", "-q1", "127.0.0.1", str(c.gateway.port)], input=b"XADD engine * f v\r\n", timeout=30 * SLOW,
                         stdout=subprocess.PIPE, check=True).stdout
    assert out == b"$3\r\n6-0\r\n", out


def too_large(c):
    with c.gateway.client() as r:
        r.send("XADD", "engine", "*", "f", b"x" * (1 << 20))  # with its header and field: over 1 MiB
        r.send("XADD", "engine", "*", "f", b"x" * (40 << 20))
        r.send("XADD", "engine", "*", "f", b"x" * 1000000)
        r.send("XLEN", "engine")
        replies = [str(r.read()) for _ in range(3)]
        assert [a.startswith("ERR ") and "max_record_bytes" in a for a in replies[:2]] == [True, True], replies
        assert replies[2] == str(b"7-0") and r.read() == 7, "the connection lives"


def garbage(c):
    with c.gateway.client() as good:
        for bad in (b"*1\r\n$x\r\n", b"*3\r\n$4\r\nXADD\r\n:9\r\n", b"\x00\xff\xfe\r\n\x80" * 100, b"*99999999\r\n",
                    b"*1\r\n$9999999999\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"x" * 200000, os.urandom(65536)):
            with socket.create_connection(("127.0.0.1", c.gateway.port), timeout=30) as s:
                try:
                    s.sendall(bad)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
                except OSError:
                    pass  # closed under us: as it should be
            assert good.call("XLEN", "engine") == 7
        assert good.call("XADD", "engine", "*", "after", "garbage") == b"8-0"


def benchmark(c):
    tool = shutil.which("redis-benchmark")
    if not tool:
        print("no redis-benchmark here: left out")
        return
    with c.gateway.client() as r:
        before = r.call("XLEN", "engine")
        done = subprocess.run([tool, "-q", "-p", str(c.gateway.port), "-c", "50", "-P", "16", "-n", str(BENCH_RECORDS), "-r",
                               "1000000", "XADD", "engine", "*", "f", "__rand_int__"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240 * SLOW, env=ENV)
        assert done.returncode == 0 and "rror" not in done.stdout and "requests per second" in done.stdout, done.stdout[-2000:]
        print(re.split("[\r\n]", done.stdout.strip())[-1])
        assert r.call("XLEN", "engine") == before + BENCH_RECORDS
        last = r.call("XREVRANGE", "engine", "+", "-", "COUNT", 1)
        assert re.fullmatch(rb"\d{12}", last[0][1][1]), last


def with_redis_py(c):
    if subprocess.run([PYTHON, "-c", "import redis"], stderr=subprocess.DEVNULL).returncode != 0:
        print("no python3-redis here: left out")
        return
    done = subprocess.run([PYTHON, "-c", REDIS_PY, str(c.gateway.port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, timeout=120 * SLOW)
    assert done.returncode == 0 and done.stdout == "ok\n", done.stdout


def with_etcdctl(test, c):
    primary = c.wait_primary()
    assert etcdctl(c, "get", "engine/leader").split("\n")[1].startswith('{"node":"%s","address":"%s"' % (
        primary.node, primary.address))
    revision = int(c.etcd.post("/v3/kv/range", {"key": "YQ=="})["header"]["revision"])
    # A watch does not say that it has begun: from a revision on it misses nothing.
    watch = Process(test, "watch", ["etcdctl", "--endpoints", c.etcd.url, "watch", "engine/leader", "--rev=%d" % (revision + 1)],
                    env=ENV)
    watch.start()
    with c.gateway.client() as r:
        length = r.call("XLEN", "engine")
        primary.signal(signal.SIGKILL)
        primary.wait()
        assert r.call("XADD", "engine", "*", "after", "the kill") == b"%d-0" % (length + 1), "a pause, no error"
    new = c.wait_primary(but=primary)
    wait_for(lambda: '"node":"%s"' % new.node in watch.output(), "the watch shows the new primary")
    assert '{"node":"%s"' % new.node in etcdctl(c, "get", "engine/leader")
    watch.kill()
    primary.start()
    c.wait_in_sync()
    wait_for(lambda: len({last_hash(n) for n in c.nodes}) == 1, "all nodes show the same log")


def last_hash(node):
    info = redis_cli(node.port, "XINFO", "STREAM", "engine").split("\n")
    return info[info.index("last-generated-id") + 1], info[info.index("last-hash") + 1]


def main(test):
    for tool in ("redis-cli", "nc", "etcdctl"):
        if not shutil.which(tool):
            raise Skip("no %s here" % tool)
    c = Cluster(test, lease_ttl="2", failure_timeout="500ms", disk_timeout="1900ms")
    cli = Cli(c.gateway.port)
    appends(cli)
    ranges(cli)
    blocking(test, c, cli)
    questions(c, cli)
    secondaries(c)
    with_nc(c)
    too_large(c)
    garbage(c)
    with_redis_py(c)
    benchmark(c)
    with_etcdctl(test, c)


if __name__ == "__main__":
    run(main)
