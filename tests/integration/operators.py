#!/usr/bin/env python3
"""What operators do and what happens to them: state or disks deleted, the wrong directory, typing errors, etcd absent or lying.

1. everything deleted: a new cluster is founded, from record 1
2. etcd's keys deleted, logs kept: nobody founds anything, the nodes name `leash recover`, which loses nothing
3. the keys deleted under a running cluster: commits go on, nodes and `leash status` say so, `leash recover` puts them back
4. a data directory deleted while its node was down: a new incarnation that catches up, and cannot lead before
5. the directory of another node or cluster, or another min_insync: exit 78, one line, nothing touched
6. mistakes in options and files, a port in use, a directory that is none: one line and the right exit status
7. no etcd yet: said once, and the cluster forms when it comes
8. an etcd that lies: nodes and gateway say so and keep trying, and work with a real one afterwards

Names of scenarios may be given as arguments.
"""

import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from cluster import Cluster, Gateway, Producer, SLOW, check_promises, leash, run_scenarios
from leashtest import BUILD, Etcd, Node, RespError, free_ports, run, wait_for

QUICK = {"lease_ttl": "2", "failure_timeout": "500ms", "disk_timeout": "1900ms"}
GONE = "etcd has lost the state of this engine"


def append(c, n, prefix="v"):
    """The ids of n records that are acknowledged."""
    with c.gateway.client() as r:
        for i in range(n):
            r.send("XADD", "engine", "*", "v", "%s:%d" % (prefix, i))
        replies = [r.read() for _ in range(n)]
    assert not any(isinstance(a, RespError) for a in replies), replies
    return replies


def ctl(c, *args, check=True):
    done = leash(*args, "--etcd-endpoints", c.etcd.url, check=False)
    assert done.returncode == 0 or not check, done
    return done


def contents(directory):
    """What is in a directory, as one value; times do not count."""
    h = hashlib.sha256()
    for path, dirs, files in os.walk(directory):
        dirs.sort()
        for name in sorted(set(files) - {"spare"}):  # the next segment, empty: made anew at each start
            full = os.path.join(path, name)
            with open(full, "rb") as f:
                h.update(("%s %d " % (os.path.relpath(full, directory), os.path.getsize(full))).encode())
                h.update(f.read())
    return h.hexdigest()


def stop_all(c):
    for n in c.nodes:
        n.kill()


def start_all(c):
    for n in c.nodes:
        n.start()


def said(node, text, start=0):
    return text in node.output()[start:]


# ----------------------------------------------------------------------------------------------------- 1 to 3: the state


def clean_start(test):
    c = Cluster(test, **QUICK)
    append(c, 10)
    before = c.nodes[0].status()["cluster"]
    stop_all(c)
    c.gateway.kill()
    c.etcd.delete_all()
    for n in c.nodes:
        shutil.rmtree(n.dir)
    start_all(c)
    c.wait_in_sync()
    c.gateway.start()
    assert append(c, 1) == [b"1-0"]
    assert c.nodes[0].status()["cluster"] != before


def keys_deleted(test):
    c = Cluster(test, **QUICK)
    append(c, 500)
    log = c.wait_equal()
    stop_all(c)
    c.etcd.delete_all()
    marks = {n.node: len(n.output()) for n in c.nodes}
    start_all(c)
    for n in c.nodes:
        wait_for(lambda: said(n, GONE, marks[n.node]), "%s names leash recover" % n.node)
    wait_for(lambda: all(c.etcd.get("engine/nodes/" + n.node) for n in c.nodes), "all nodes announce themselves")
    s = ctl(c, "status", check=False)
    assert s.returncode == 1 and "leash recover" in s.stdout, s
    assert c.etcd.get("engine/insync") is None and c.etcd.leader() is None, "nobody founds a cluster over their logs"
    ctl(c, "recover", "--yes")
    c.wait_in_sync()
    assert c.wait_equal() == log, "nothing is lost"
    assert append(c, 1) == [b"501-0"]
    again = ctl(c, "recover", "--yes", check=False)
    assert again.returncode == 1 and "the state is there" in again.stderr, again


def keys_deleted_alive(test):
    c = Cluster(test, **QUICK)
    ps = [Producer(c.gateway.port, "p%d" % i) for i in range(2)]
    for p in ps:
        p.start()
    moving(ps)
    marks = {n.node: len(n.output()) for n in c.nodes}
    c.etcd.delete_all()
    for n in c.nodes:
        wait_for(lambda: said(n, GONE, marks[n.node]), "%s says that the state is gone" % n.node)
    end = time.monotonic() + 5  # longer than the lease and all timeouts
    while time.monotonic() < end:
        moving(ps, 5)
    wait_for(lambda: all(c.etcd.get("engine/nodes/" + n.node) for n in c.nodes), "all nodes announce themselves")
    s = ctl(c, "status", check=False)
    assert "leash recover" in s.stdout, s.stdout
    ctl(c, "recover", "--yes")
    c.wait_in_sync()
    moving(ps)
    assert ctl(c, "status").returncode == 0
    for p in ps:
        p.finish()
    check_promises(c.wait_equal(), ps)


def moving(ps, more=20, seconds=40):
    goals = [len(p.acks) + more for p in ps]
    wait_for(lambda: all(len(p.acks) >= g or p.errors for p, g in zip(ps, goals)), "acknowledgements go on", seconds * SLOW)
    for p in ps:
        assert not p.errors, "%s saw an error: %r" % (p.name_, p.errors)


# ------------------------------------------------------------------------------------------------------ 4 and 5: the disk


def lost_disk(test):
    c = Cluster(test, **QUICK)
    append(c, 300)
    log = c.wait_equal()
    primary = c.wait_primary()
    lost, other = [n for n in c.nodes if n is not primary]
    former = lost.status()["incarnation"]

    lost.kill()
    shutil.rmtree(lost.dir)
    append(c, 10)
    lost.start()
    c.wait_in_sync()
    second = lost.status()["incarnation"]
    assert second != former, "a new incarnation"
    log = c.wait_equal()
    assert len(log) == 310

    stop_all(c)
    shutil.rmtree(lost.dir)
    lost.start()
    wait_for(lambda: c.etcd.leader() is None, "the key of the last primary is gone", 20 * SLOW)
    assert lost.status()["incarnation"] not in (former, second)
    end = time.monotonic() + 6  # many times the time in which a candidate asks for the lead
    while time.monotonic() < end:
        assert c.etcd.leader() is None and lost.role() == "slave", "a node without its log leads"
        time.sleep(0.1)
    other.start()
    wait_for(lambda: (c.etcd.leader() or {}).get("node") == other.node, "the one that has its log leads", 20 * SLOW)
    wait_for(lambda: lost.node in c.etcd.insync(), "the other copies it", 20 * SLOW)
    primary.start()
    c.wait_in_sync()
    assert c.wait_equal() == log
    assert append(c, 1) == [b"311-0"]


def refused_start(node, status, *texts, directory=None):
    """Starts a node that must end by itself, with nothing in its directory touched."""
    before = contents(directory) if directory else None
    seen = len(node.output())
    node.start(wait=False)
    code = node.wait()
    out = node.output()[seen:]
    errors = [line for line in out.splitlines() if ": error: " in line or ": err: " in line]
    assert code == status, "%s ended with %s, not %d: %s" % (node.name, code, status, out)
    assert len(errors) == 1, out
    for text in texts:
        assert text in errors[0], "%r is not in %r" % (text, errors[0])
    if directory:
        assert contents(directory) == before, "%s touched %s" % (node.name, directory)


def foreign_directories(test):
    c = Cluster(test, gateway=False, **QUICK)
    p1, s1, s2 = c.nodes
    with c.wait_primary().client() as r:
        r.call("XADD", "engine", "*", "v", "a")
    c.wait_equal()

    s2.kill()
    impostor = Node(test, c.etcd, "S3", start=False, data_dir=s2.dir, **QUICK)
    refused_start(impostor, 78, s2.dir, "another node", directory=s2.dir)
    elsewhere = Node(test, c.etcd, "S2", start=False, engine="elsewhere", data_dir=s2.dir, **QUICK)
    refused_start(elsewhere, 78, s2.dir, "engine", directory=s2.dir)
    s2.options["min_insync"] = "3"
    refused_start(s2, 78, "min_insync is 3 here, but this cluster was founded with 2")
    s2.options["min_insync"] = "1"
    refused_start(s2, 78, "min_insync is 1 here, but this cluster was founded with 2")
    del s2.options["min_insync"]
    fresh = Node(test, c.etcd, "S4", start=False, min_insync="3", **QUICK)
    refused_start(fresh, 78, "min_insync", "2")

    kept = s2.dir + ".kept"
    os.rename(s2.dir, kept)
    other_etcd = Etcd(test, "etcd-other")
    shutil.copytree(kept, s2.dir)
    stop_all(c)
    for n in (p1, s1):  # another cluster by the same names
        shutil.rmtree(n.dir)
        n.options["etcd_endpoints"] = other_etcd.url
        n.start()
    third = Node(test, other_etcd, "S2", data_dir=s2.dir + ".other", **QUICK)
    wait_for(lambda: len(other_etcd.insync()) == 3, "the other cluster is founded")
    third.kill()
    s2.options["etcd_endpoints"] = other_etcd.url
    refused_start(s2, 78, "another cluster", directory=s2.dir)
    assert contents(s2.dir) == contents(kept)


# -------------------------------------------------------------------------------------------------------- 6: typing errors


def refusals(test):
    dead = "http://127.0.0.1:%d" % free_ports(1)[0]
    busy = socket.create_server(("127.0.0.1", 0))
    port = busy.getsockname()[1]
    a_file = os.path.join(test.dir, "file")
    with open(a_file, "w", encoding="utf-8") as f:
        f.write("x")

    def conf(text):
        path = os.path.join(tempfile.mkdtemp(dir=test.dir), "some.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return "--config=" + path

    common = ["--etcd-endpoints=" + dead]
    paths = ["--data-dir=" + os.path.join(test.dir, "d"), "--runtime-dir=" + os.path.join(test.dir, "r")]
    node = [os.path.join(BUILD, "leash-noded"), "X1"] + common + paths
    gw = [os.path.join(BUILD, "leash-gatewayd")] + common
    cases = [
        (node + ["--lisen=127.0.0.1:0"], 78, ["--lisen", "unknown"]),
        (node + ["--min-insync=two"], 78, ["--min-insync", "two", "a number"]),
        (node + ["--segment-bytes=1"], 78, ["--segment-bytes"]),
        (node + ["--lease-ttl=5", "--failure-timeout=4000"], 78, ["2 * failure_timeout = 8000 ms"]),
        (node + [conf("listen = 127.0.0.1:0\n\nlisten_adress = 1\n")], 78, ["some.conf:3", "listen_adress"]),
        (node + [conf("min_insync = 77\n")], 78, ["some.conf:1", "min_insync", "77"]),
        (node + ["--config=" + os.path.join(test.dir, "none.conf")], 78, ["none.conf", "No such file"]),
        ([node[0], "a b"] + node[2:], 78, ["a b"]),
        ([node[0]] + node[2:], 78, ["Which node"]),
        (node + ["--listen=127.0.0.1:%d" % port], 1, ["127.0.0.1:%d" % port, "another process"]),
        (node[:3] + [paths[1], "--listen=127.0.0.1:0", "--data-dir=" + os.path.join(a_file, "x")], 1, [a_file, "directory"]),
        (node[:3] + [paths[1], "--listen=127.0.0.1:0", "--data-dir=" + a_file], 1, [a_file]),
        (node[:3] + [paths[0], "--listen=127.0.0.1:0", "--runtime-dir=" + a_file + "/x"], 1, [a_file, "runtime_dir"]),
        (node + ["--listen=127.0.0.1:0", "--etcd-user=a", "--etcd-password-file=/nonexistent"], 78, ["/nonexistent"]),
        (gw + ["--lisen=127.0.0.1:0"], 78, ["--lisen", "unknown"]),
        (gw + ["--workers=many"], 78, ["--workers", "many", "a number"]),
        (gw + [conf("engins = a\n")], 78, ["some.conf:1", "engins"]),
        (gw + ["--listen=127.0.0.1:%d" % port], 1, ["127.0.0.1:%d" % port, "in use"]),
    ]
    for argv, status, texts in cases:
        p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=60 * SLOW)
        assert p.returncode == status, (argv, p)
        assert p.stdout.count("\n") == 1, (argv, p.stdout)
        for text in texts:
            assert text in p.stdout, (argv, text, p.stdout)
    busy.close()


# ---------------------------------------------------------------------------------------------------- 7 and 8: etcd


def cluster_later(test, etcd, **options):
    """Nodes and a gateway whose etcd is not there yet."""
    c = Cluster.__new__(Cluster)
    c.etcd = etcd
    c.nodes = [Node(test, etcd, name, founders="P1,S1,S2", **options) for name in ("P1", "S1", "S2")]
    c.by_name = {n.node: n for n in c.nodes}
    c.gateway = Gateway(test, etcd)
    return c


def etcd_later(test):
    etcd = Etcd(test)
    etcd.kill()
    c = cluster_later(test, etcd, **QUICK)
    for p in c.nodes + [c.gateway]:
        wait_for(lambda: said(p, "etcd does not answer"), "%s says that etcd does not answer" % p.name)
    s = ctl(c, "status", check=False)
    assert s.returncode == 1 and "etcd does not answer" in s.stdout + s.stderr, s
    with c.nodes[0].client() as r:
        assert r.call("PING") == "PONG"
    end = time.monotonic() + 5
    wait_for(lambda: time.monotonic() > end, "many attempts were made", 10)
    etcd.start()
    c.wait_in_sync()
    for p in c.nodes + [c.gateway]:
        wait_for(lambda: said(p, "etcd answers again"), "%s says that etcd is back" % p.name)
        assert p.output().count("etcd does not answer") == 1, "%s says it more than once" % p.name
    assert append(c, 1) == [b"1-0"]


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers as `mode` says; counts, so that a test knows when everybody has had enough of it."""

    protocol_version = "HTTP/1.1"
    mode = ""
    cluster = ""     # the real one's id: another cluster's answers are not listened to later
    asked = 0
    bytes_taken = 0  # the most that a client took of one endless answer
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def body(self, data, code=200, kind="application/json"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def endless(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.close_connection = True
        taken = 0
        try:
            self.wfile.write(b'{"header":{"cluster_id":"')
            while taken < 1 << 30:
                self.wfile.write(b"1" * 65536)
                taken += 65536
        finally:
            with Liar.lock:
                Liar.bytes_taken = max(Liar.bytes_taken, taken)

    def do_POST(self):
        with Liar.lock:
            Liar.asked += 1
        mode = Liar.mode
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        header = {"cluster_id": Liar.cluster, "member_id": "2", "revision": "1", "raft_term": "1"}
        try:
            if mode == "garbage":
                self.body(os.urandom(3000))
            elif mode == "no http":
                self.wfile.write(os.urandom(500))
                self.close_connection = True
            elif mode == "closes":
                self.close_connection = True
            elif mode == "errors":
                self.body(b'{"error":"etcdserver: too many learners","code":99}', code=503)
            elif mode == "html":
                self.body(b"<html>Not Found</html>", code=404, kind="text/html")
            elif mode == "empty":
                self.body(b"{}")
            elif mode == "fields are missing":
                self.body(json.dumps({"header": header, "succeeded": True, "kvs": [{}], "result": {}}).encode() + b"\n")
            elif mode == "wrong types":
                self.body(json.dumps({"header": [1], "ID": {}, "TTL": "x", "responses": 5, "kvs": "?", "result": 7}).encode())
            elif mode == "wrong numbers":
                header["revision"] = "-9223372036854775809"
                self.body(json.dumps({"header": header, "ID": "99999999999999999999", "TTL": "-1"}).encode())
            elif mode == "deep":
                self.body(b'{"header":' * 5000 + b"1" + b"}" * 5000)
            elif mode == "lies":
                value = "eyJub2RlIjoiWFgiLCJhZGRyZXNzIjoibm93aGVyZSIsImVwb2NoIjotMX0="  # {"node":"XX", ... "epoch":-1}
                kv = {"key": "ZW5naW5lL2xlYWRlcg==", "value": value, "mod_revision": "1", "create_revision": "1", "version": "1"}
                answer = {"response_range": {"header": header, "kvs": [kv], "count": "1"}}
                self.body(json.dumps({"header": header, "ID": "77", "TTL": "5", "kvs": [kv], "succeeded": True,
                                      "responses": [answer, answer],
                                      "result": {"header": header, "ID": "77", "TTL": "5", "created": True}}).encode() + b"\n")
            else:
                self.endless()
        except OSError:
            self.close_connection = True


MODES = ("garbage", "no http", "closes", "errors", "html", "empty", "fields are missing", "wrong types", "wrong numbers",
         "deep", "lies", "endless")


def peak_bytes(process):
    with open("/proc/%d/status" % process.popen.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))


def lying_etcd(test):
    etcd = Etcd(test)
    Liar.cluster = etcd.post("/v3/kv/range", {"key": "YQ=="})["header"]["cluster_id"]
    etcd.kill()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", etcd.port), Liar)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    Liar.mode = "empty"
    thread.start()
    c = cluster_later(test, etcd, **QUICK)
    programs = c.nodes + [c.gateway]
    for Liar.mode in MODES:
        goal = Liar.asked + 8
        wait_for(lambda: Liar.asked >= goal, "they keep asking (%s)" % Liar.mode, 60 * SLOW)
        for p in programs:
            assert p.running(), "%s ended with %s (%s)" % (p.name, p.popen.returncode, Liar.mode)
    for p in programs:
        assert "etcd" in p.output(), "%s says nothing" % p.name
        assert len(p.output().splitlines()) < 400, "%s says too much" % p.name
        assert peak_bytes(p) < 1 << 29, "%s takes what it is given: %d" % (p.name, peak_bytes(p))
    assert Liar.bytes_taken < 1 << 28, "an answer without an end was read on and on"
    server.shutdown()
    server.server_close()
    thread.join()
    etcd.start()
    c.wait_in_sync()
    assert append(c, 1) == [b"1-0"]


SCENARIOS = [clean_start, keys_deleted, keys_deleted_alive, lost_disk, foreign_directories, refusals, etcd_later, lying_etcd]


def main(test):
    run_scenarios(test, SCENARIOS)


if __name__ == "__main__":
    run(main)
