#!/usr/bin/env python3
"""The command line with three nodes.

1. status: who leads, all in sync, exit 0; a dead secondary is "refused"; without etcd --node still tells.
2. produce to the primary, consume and consume --verify see the same; log verify finds equal, clean logs.
3. switchover moves the lead and says who leads; produce goes on behind a change of primary with the same ids.
4. etcd loses everything: recover from data directories, and the cluster goes on with every acknowledged record.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # the source tree stays as it is
from cli_etcd import BUILD, ENV, LEASH, Etcd, free_port

NODED = os.path.join(BUILD, "leash-noded")
NAMES = ("P1", "S1", "S2")


class Cluster:
    def __init__(self, tmp, etcd):
        self.tmp, self.etcd, self.running = tmp, etcd, {}
        self.address = {n: f"127.0.0.1:{free_port()}" for n in NAMES}

    def dir(self, name):
        return os.path.join(self.tmp, "data", name)

    def start(self, name):
        with open(os.path.join(self.tmp, name + ".log"), "a") as log:
            self.running[name] = subprocess.Popen(
                [NODED, "--listen", self.address[name], "--data-dir", self.dir(name), "--runtime-dir",
                 os.path.join(self.tmp, "run", name), "--etcd-endpoints", self.etcd.url, name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENV)

    def stop(self, name, how=signal.SIGTERM):
        p = self.running.pop(name)
        p.send_signal(how)
        p.wait(60)

    def stop_all(self):
        for name in list(self.running):
            self.stop(name, signal.SIGKILL)

    def leash(self, *args, stdin="", url=None):
        env = dict(ENV, LEASH_ETCD_ENDPOINTS=url or self.etcd.url)
        return subprocess.run([LEASH, *args], input=stdin, capture_output=True, text=True, env=env, timeout=120)

    def status(self):
        return json.loads(self.leash("status", "--json").stdout)

    def wait(self, what, cond):
        deadline = time.monotonic() + 60
        while not cond(self.status()):
            assert time.monotonic() < deadline, what + "\n" + self.leash("status").stdout
            time.sleep(0.1)

    def wait_in_sync(self, *names):
        self.wait(f"{names} in sync", lambda s: s["commits"] and
                  all(any(n["node"] == name and n["heard"] and n["insync"] for n in s["nodes"]) for name in names))

    def primary(self):
        return self.status()["primary"]

    def produce(self, lines, *args):
        r = self.leash("produce", "--gateway", self.address[self.primary()], "--json", *args, stdin="".join(l + "\n" for l in lines))
        assert r.returncode == 0, r
        return json.loads(r.stdout)


def works(c):
    for n in NAMES:
        c.start(n)
    c.wait_in_sync(*NAMES)
    lines = [f"order {i}" for i in range(1, 1001)]
    said = c.produce(lines, "--producer", "shop")
    assert (said["acknowledged"], said["first_sequence"], said["last_sequence"]) == (1000, 1, 1000), said
    primary = c.primary()
    c.wait("nobody lags", lambda s: all(n.get("commit") == 1000 for n in s["nodes"]))
    for name in NAMES:
        r = c.leash("consume", "--gateway", c.address[name])
        assert r.returncode == 0 and r.stdout.splitlines() == [f"{i} order {i}" for i in range(1, 1001)], r
    r = c.leash("consume", "--verify", "--format", "raw")
    assert r.returncode == 0 and r.stdout.splitlines() == lines and "records 1 to 1000, no gap" in r.stderr, r
    r = c.leash("consume", "--verify", "--from", "990", "--count", "5", "--format", "none")
    assert r.returncode == 0 and "records 990 to 994" in r.stderr, r
    r = c.leash("log", "cat", c.dir("S1"))
    assert r.stdout.startswith("[shop/1-") and r.stdout.count("\n") == 1000, r.stdout[:200]
    return lines, primary


def switches(c, lines, primary):
    to = next(n for n in NAMES if n != primary)
    r = c.leash("switchover", "--to", to)
    assert r.returncode == 0 and f"{to} leads, epoch " in r.stdout, r
    c.wait("the new primary says so", lambda s: s["primary"] == to and s["commits"])
    said = c.produce(lines + ["one more"], "--producer", "shop")
    assert (said["first_sequence"], said["last_sequence"]) == (1, 1001), said
    third = next(n for n in NAMES if n not in (primary, to))
    c.stop(third, signal.SIGKILL)
    r = c.leash("status")
    assert r.returncode == 0 and "refused: nothing listens there" in r.stdout, r.stdout
    r = c.leash("status", "--node", c.address[to], url=f"127.0.0.1:{free_port()}")
    assert r.returncode == 0 and "etcd does not answer" in r.stdout and to in r.stdout, r
    c.start(third)
    c.wait_in_sync(*NAMES)


def recovers(c):
    c.stop_all()
    r = c.leash("log", "verify", *map(c.dir, NAMES))
    assert r.returncode == 0, r.stdout
    c.etcd.clear()
    assert c.leash("recover", "--yes", c.dir("P1"), c.dir("S1"), c.dir("S2")).returncode == 0
    for n in NAMES:
        c.start(n)
    c.wait_in_sync(*NAMES)
    r = c.leash("consume", "--verify", "--format", "raw")
    assert r.returncode == 0 and len(r.stdout.splitlines()) == 1001, r.stderr
    said = c.produce(["after it"])
    assert said["last_sequence"] == 1002, said


def main():
    if not shutil.which("etcd") or not shutil.which("etcdctl") or not os.path.exists(NODED):
        print("etcd, etcdctl and leash-noded are needed")
        return 77
    with tempfile.TemporaryDirectory(prefix="leash-cli.") as tmp:
        etcd = Etcd(tmp)
        c = Cluster(tmp, etcd)
        try:
            lines, primary = works(c)
            switches(c, lines, primary)
            recovers(c)
        except BaseException:
            for n in NAMES:
                with open(os.path.join(tmp, n + ".log")) as f:
                    print(f"== {n}\n" + f.read()[-2000:])
            raise
        finally:
            c.stop_all()
            etcd.stop()
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
