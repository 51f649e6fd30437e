#!/usr/bin/env python3
"""The commands that speak to etcd, with a real etcd and no node running.

1. status without a cluster, and without etcd: exit 1, and it says so.
2. pause, resume, drain and undrain change only what they are to change; settings that nobody can read are left alone.
3. switchover: without a primary, to an unknown node, done, failed, unanswered (then the request is withdrawn).
4. recover: takes the highest log epoch, not the longest log; asks; writes once; twice is the same; refuses a state that
   is there, data of another cluster and of another engine; names who was not heard; removes a stale leader.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("LEASH_BUILDDIR", os.getcwd())
LEASH = os.path.join(BUILD, "leash")
MAKE_LOG = os.path.join(BUILD, "tests", "integration", "make_log")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LEASH_", "ETCD"))}
ENV["ETCDCTL_API"] = "3"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Etcd:
    def __init__(self, tmp):
        while True:  # another process may take a port in between
            self.url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
            env = dict(ENV, ETCD_UNSUPPORTED_ARCH="arm64" if os.uname().machine == "aarch64" else "")
            shutil.rmtree(os.path.join(tmp, "etcd"), ignore_errors=True)
            self.process = subprocess.Popen(
                ["etcd", "--name", "t", "--data-dir", os.path.join(tmp, "etcd"), "--listen-client-urls", self.url,
                 "--advertise-client-urls", self.url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", "t=" + peer, "--log-level", "error"],
                env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while self.process.poll() is None and time.monotonic() < deadline:
                if self.ctl("endpoint", "health").returncode == 0:
                    return
                time.sleep(0.1)
            self.stop()
            assert time.monotonic() < deadline, "etcd does not start"

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ctl(self, *args):
        return subprocess.run(["etcdctl", "--endpoints", self.url, *args], capture_output=True, text=True, env=ENV, timeout=60)

    def put(self, key, value):
        r = self.ctl("put", key, value if isinstance(value, str) else json.dumps(value))
        assert r.returncode == 0, r.stderr

    def get(self, key):
        out = self.ctl("get", key, "--print-value-only").stdout
        return json.loads(out) if out.strip() else None

    def clear(self):
        assert self.ctl("del", "engine/", "--prefix").returncode == 0


def node(name, address="127.0.0.1:1", n=1):
    return {"node": name, "address": address, "incarnation": f"{n:016x}", "run": f"{n + 8:016x}", "cluster": f"{0xc1:016x}",
            "priority": 0, "log_epoch": 1, "log_end": 5, "release": "0"}


def leader(name, epoch):
    return {"node": name, "address": "127.0.0.1:1", "epoch": epoch, "incarnation": f"{1:016x}", "run": f"{9:016x}"}


def insync(epoch=3, version=4):
    return {"cluster": f"{0xc1:016x}", "version": version, "recovery": 0, "epoch": epoch, "min_insync": 2,
            "dedup_window": 1000, "members": [{"node": "P1", "incarnation": f"{1:016x}"}]}


class Test:
    def __init__(self, tmp, etcd):
        self.tmp, self.etcd = tmp, etcd

    def leash(self, *args, stdin=""):
        return subprocess.run([LEASH, *args, "--etcd-endpoints", self.etcd.url], input=stdin, capture_output=True, text=True,
                              env=ENV, timeout=120)

    def expect(self, status, *args, says="", stdin=""):
        r = self.leash(*args, stdin=stdin)
        assert r.returncode == status, (args, r)
        assert says in r.stdout + r.stderr, (args, says, r)
        return r

    def status(self):
        self.expect(1, "status", says="leader      none")
        assert json.loads(self.expect(1, "status", "--json").stdout)["etcd"][0]["healthy"] is True
        port = free_port()
        self.etcd.put("engine/nodes/P1", node("P1", f"127.0.0.1:{port}"))
        self.etcd.put("engine/insync", insync())
        r = self.expect(1, "status", says="refused")
        assert "min_insync 2" in r.stdout and "takeover    automatic" in r.stdout, r.stdout
        said = json.loads(self.expect(1, "status", "--json").stdout)
        assert said["commits"] is False and said["cluster"]["members"] == ["P1"], said
        assert said["nodes"][0]["heard"] is False and said["nodes"][0]["insync"] is True, said
        self.etcd.put("engine/insync", "garbage")
        self.expect(1, "status", says="cannot be read")
        r = subprocess.run([LEASH, "status", "--etcd-endpoints", f"127.0.0.1:{port}"], capture_output=True, text=True, env=ENV,
                           timeout=60)
        assert r.returncode == 1 and "etcd does not answer" in r.stdout, r
        # a server that is no node
        with socket.create_server(("127.0.0.1", port)) as s:
            def answer():
                conn, _ = s.accept()
                conn.sendall(b"-ERR who are you\r\n")
                conn.recv(100)
                conn.close()
            t = threading.Thread(target=answer)
            t.start()
            self.expect(1, "status", says="no leash node answers there")
            t.join()
        self.etcd.clear()

    def settings(self):
        e = self.etcd
        self.expect(0, "pause")
        assert e.get("engine/settings") == {"paused": True, "drained": []}
        self.expect(0, "drain", "S1", says="S1: does not become primary")
        self.expect(0, "drain", "S1")
        self.expect(0, "drain", "S2")
        assert e.get("engine/settings") == {"paused": True, "drained": ["S1", "S2"]}
        self.expect(1, "status", says="paused")
        self.expect(0, "resume")
        self.expect(0, "undrain", "S1")
        self.expect(0, "undrain", "nobody")
        assert e.get("engine/settings") == {"paused": False, "drained": ["S2"]}
        e.put("engine/settings", "garbage")
        self.expect(1, "pause", says="cannot be read")
        assert e.ctl("get", "engine/settings", "--print-value-only").stdout.strip() == "garbage"
        e.clear()

    def answer_request(self, state, text):
        """Plays the primary."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            q = self.etcd.get("engine/request")
            if q and "state" not in q:
                if state == "done":
                    self.etcd.put("engine/leader", leader(q["to"] or "S1", 8))
                self.etcd.put("engine/request", dict(q, state=state, text=text))
                return
            time.sleep(0.02)

    def switchover(self):
        e = self.etcd
        self.expect(1, "switchover", says="nobody leads")
        e.put("engine/leader", leader("P1", 7))
        e.put("engine/nodes/P1", node("P1"))
        e.put("engine/nodes/S1", node("S1"))
        self.expect(1, "switchover", "--to", "S9", says='no node "S9"')
        self.expect(0, "switchover", "--to", "P1", says="P1 leads already")
        assert e.get("engine/request") is None
        for state, status, says in (("failed", 1, "S1 is not in sync"), ("done", 0, "S1 leads, epoch 8; it took")):
            t = threading.Thread(target=self.answer_request, args=(state, "S1 is not in sync" if status else ""))
            t.start()
            self.expect(status, "switchover", "--to", "S1", says=says)
            t.join()
        self.expect(1, "switchover", "--timeout", "300ms", "--to", "P1", says="no answer")
        assert e.get("engine/request") is None, "the request stays there"
        e.clear()

    def make_log(self, name, cluster, promise, log_epoch, matched, records, epoch):
        path = os.path.join(self.tmp, "data", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        r = subprocess.run([MAKE_LOG, path, name, f"{cluster:016x}"] + [str(v) for v in (promise, log_epoch, matched, records,
                           epoch)])
        assert r.returncode == 0
        return path

    def recover(self):
        e = self.etcd
        # P1 has a long tail of epoch 1 that nobody acknowledged; S1 and S2 were the set of epoch 2.
        p1 = self.make_log("P1", 0xc1, 1, 1, 60, 500, 1)
        s1 = self.make_log("S1", 0xc1, 2, 2, 60, 80, 2)
        s2 = self.make_log("S2", 0xc1, 6, 2, 60, 79, 2)
        other = self.make_log("X1", 0xc2, 2, 2, 60, 80, 2)
        virgin = self.make_log("V1", 0, 0, 0, 0, 0, 1)
        base = ["--data-dir-base", os.path.join(self.tmp, "data")]
        self.expect(1, "recover", "--yes", says="no node and no data directory")
        self.expect(1, "recover", "--yes", "/nowhere/at/all", says="there is no log")
        self.expect(1, "recover", "--yes", virgin, says="none of them")
        self.expect(1, "recover", "--yes", s1, other, says="different clusters")
        r = self.leash("recover", "--yes", "--engine", "another", s1)
        assert r.returncode == 1 and 'belongs to the engine "engine"' in r.stderr, r
        r = self.expect(1, "recover", p1, s1, s2, stdin="no\n", says="nothing was written")
        assert "chosen: S1, log epoch 2, records to 80" in r.stdout, r.stdout
        assert e.get("engine/insync") is None
        e.put("engine/leader", leader("P1", 3))  # stale
        e.put("engine/nodes/S3", node("S3", f"127.0.0.1:{free_port()}"))
        r = self.expect(0, "recover", *base, "P1", "S1", "S2", stdin="yes\n", says="written; S1 becomes primary")
        assert "not heard: S3 (refused" in r.stdout, r.stdout
        got = e.get("engine/insync")
        assert got["epoch"] == 7 and got["version"] == 13 and got["recovery"] == 1, got
        assert got["cluster"] == f"{0xc1:016x}" and got["min_insync"] == 2 and got["dedup_window"] == 1000, got
        assert [m["node"] for m in got["members"]] == ["S1"], got
        assert e.get("engine/leader") is None
        self.expect(0, "recover", "--yes", p1, s1, s2, says="nothing is left to do")
        assert e.get("engine/insync") == got
        self.expect(1, "recover", "--yes", p1, says="nothing is to be recovered")
        assert e.get("engine/insync") == got
        self.expect(0, "recover", "--yes", "--force", p1, says="P1 becomes primary")
        again = e.get("engine/insync")
        assert again["epoch"] == 8 and again["version"] == 14 and again["recovery"] == 2, again
        e.put("engine/insync", "garbage")
        self.expect(1, "recover", "--yes", s1, says="--force")
        self.expect(0, "recover", "--yes", "--force", s1)
        assert [m["node"] for m in e.get("engine/insync")["members"]] == ["S1"]
        e.clear()


def main():
    if not shutil.which("etcd") or not shutil.which("etcdctl"):
        print("etcd and etcdctl are needed")
        return 77
    with tempfile.TemporaryDirectory(prefix="leash-cli.") as tmp:
        etcd = Etcd(tmp)
        try:
            t = Test(tmp, etcd)
            t.status()
            t.settings()
            t.switchover()
            t.recover()
        finally:
            etcd.stop()
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
