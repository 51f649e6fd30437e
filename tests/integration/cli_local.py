#!/usr/bin/env python3
"""What an administrator and the service manager do on a node's own machine, with three nodes and a systemctl of our own.

1. control: verbs over the control socket, reload that says what is wrong, nobody there.
2. leash-revoke-lease: the lease of a node that was killed is gone, and so is the file; also behind an endpoint that is dead;
   nothing to do is fine; a file that is no lease, or no etcd, is told, and the file stays.
3. rolling-restart: secondaries first, the primary hands over and comes last, each once; all are in sync in the end.
4. It refuses while a node is out, while etcd is away, and for a node that does not run; with --accept-pause it goes on
   although only min_insync nodes are left.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # the source tree stays as it is
from cli_cluster import Cluster, NAMES, NODED
from cli_etcd import BUILD, ENV, LEASH, Etcd, free_port

REVOKE = os.path.join(BUILD, "leash-revoke-lease")
SYSTEMCTL = """#!%s
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(%r)
    s.sendall(" ".join(sys.argv[1:]).encode() + b"\\n")
    status, _, text = s.makefile().read().partition("\\n")
    sys.stdout.write(text)
    sys.exit(int(status))
"""


class Manager:
    """Does what `systemctl list-units`, `is-active` and `restart` ask for, with the nodes of @cluster."""

    def __init__(self, tmp, cluster):
        self.cluster, self.restarted = cluster, []
        self.bin = os.path.join(tmp, "bin")
        os.mkdir(self.bin)
        path = os.path.join(tmp, "manager")
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen()
        with open(os.path.join(self.bin, "systemctl"), "w", encoding="utf-8") as f:
            f.write(SYSTEMCTL % (sys.executable, path))
        os.chmod(f.name, 0o755)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            conn, _ = self.server.accept()
            with conn:
                words = conn.makefile().readline().split()
                if words[0] == "list-units":
                    units = sorted("leash-noded@%s.service" % n for n in self.cluster.running)
                    conn.sendall(b"0\n" + "".join(u + " loaded active running leash node\n" for u in units).encode())
                else:
                    conn.sendall(b"%d\n" % self.obey(words))

    def obey(self, words):
        verb, quiet, dashes, unit = words
        assert (quiet, dashes) == ("--quiet", "--"), words
        name = re.fullmatch(r"leash-noded@(.*)\.service", unit).group(1)
        if verb == "is-active":
            return 0 if name in self.cluster.running else 3
        assert verb == "restart", words
        self.restarted.append(name)
        self.cluster.stop(name)
        self.cluster.start(name)
        return 0


class Tight(Cluster):
    """All three nodes are needed for every record."""

    def start(self, name):
        with open(os.path.join(self.tmp, name + ".log"), "a", encoding="utf-8") as log:
            self.running[name] = subprocess.Popen(
                [NODED, "--listen", self.address[name], "--data-dir", self.dir(name), "--runtime-dir",
                 os.path.join(self.tmp, "run", name), "--etcd-endpoints", self.etcd.url, "--min-insync", "3", name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENV)


class Test:
    def __init__(self, tmp, etcd, cluster):
        self.tmp, self.etcd, self.cluster = tmp, etcd, cluster
        self.manager = Manager(tmp, cluster)

    def leash(self, status, *args, says=""):
        env = dict(ENV, PATH=self.manager.bin + ":" + ENV["PATH"])
        r = subprocess.run([LEASH, *args, "--runtime-dir-base", os.path.join(self.tmp, "run")], capture_output=True, text=True,
                           env=env, timeout=240)
        assert r.returncode == status and says in r.stdout + r.stderr, (status, says, r)
        return r.stdout

    def revoke(self, status, name, says="", url=None):
        r = subprocess.run([REVOKE, name, "--runtime-dir", os.path.join(self.tmp, "run", name), "--etcd-endpoints",
                            url or self.etcd.url, "--log-target", "stderr"], capture_output=True, text=True, env=ENV, timeout=60)
        assert r.returncode == status and says in r.stderr, (status, says, r)

    def leases(self):
        return self.etcd.ctl("lease", "list").stdout.split()

    def lease_file(self, name):
        return os.path.join(self.tmp, "run", name, "lease")

    def controls(self):
        assert self.leash(0, "control", "S1", "version").strip()
        said = json.loads(self.leash(0, "control", "S1", "status"))
        assert said["node"] == "S1" and len(said["insync"]["members"]) == 3, said
        self.leash(0, "control", "S1", "RELOAD", says="nothing has changed")
        self.leash(0, "control", "S1", "help", says="LEASH SWITCHOVER [NODE]")
        self.leash(1, "control", "S1", "dance", says="unknown verb")
        primary = self.cluster.primary()
        secondary = next(n for n in NAMES if n != primary)
        self.leash(1, "control", secondary, "switchover", primary, says="no hand-over")
        self.leash(1, "control", "S9", "version", says='no node "S9" runs here')
        self.leash(2, "control", "../S1", "version", says="no name of a node")
        self.leash(2, "control", "S1")

    def revokes(self):
        name = self.cluster.primary()
        with open(self.lease_file(name), encoding="utf-8") as f:
            lease = f.read().strip()
        assert lease in self.leases(), (lease, self.leases())
        self.revoke(0, name, "lives: it keeps it")  # what failed was a second one of that name
        assert lease in self.leases() and os.path.exists(self.lease_file(name))
        self.cluster.stop(name, signal.SIGKILL)
        dead = "http://127.0.0.1:%d" % free_port()
        self.revoke(1, name, "expires by itself", url=dead)
        assert os.path.exists(self.lease_file(name))
        # Others may have revoked it meanwhile, which is as good.
        self.revoke(0, name, "revoked", url=dead + "," + self.etcd.url)
        assert lease not in self.leases(), (lease, self.leases())
        assert not os.path.exists(self.lease_file(name))
        self.revoke(0, name)
        with open(self.lease_file(name), "w", encoding="utf-8") as f:
            f.write("nonsense\n")
        self.revoke(1, name, "cannot read the lease")
        self.cluster.start(name)
        self.cluster.wait_in_sync(*NAMES)

    def rolls(self):
        primary = self.cluster.primary()
        others = sorted(n for n in NAMES if n != primary)
        plan = [n + ": restart" for n in others] + [primary + ": hand over, restart"]
        assert self.leash(0, "rolling-restart", "--dry-run").splitlines() == plan
        assert self.manager.restarted == []
        runs = {n["node"]: n["info"]["run"] for n in self.cluster.status()["nodes"]}
        said = self.leash(0, "rolling-restart").splitlines()
        assert self.manager.restarted == others + [primary], self.manager.restarted
        assert [line.split(":")[0] for line in said] == others + [primary] and "handed over" in said[-1], said
        status = self.cluster.status()
        assert status["commits"] and all(n["insync"] and n["info"]["run"] != runs[n["node"]] for n in status["nodes"]), status
        assert status["primary"] != primary, status
        self.leash(0, "rolling-restart", primary, says=primary + ": restarted, in sync again")
        assert self.manager.restarted == others + [primary, primary]

    def refuses(self):
        self.manager.restarted.clear()
        primary = self.cluster.primary()
        out, left = sorted(n for n in NAMES if n != primary)
        self.leash(1, "rolling-restart", "S9", says="leash-noded@S9.service is not active")
        self.leash(2, "rolling-restart", left, left, says="named twice")
        os.rename(os.path.join(self.tmp, "run", left), os.path.join(self.tmp, "run", "away"))
        self.leash(1, "rolling-restart", says=left + " does not answer on its control socket")
        os.rename(os.path.join(self.tmp, "run", "away"), os.path.join(self.tmp, "run", left))
        self.cluster.stop(out)
        self.cluster.wait("it is out of the set", lambda s: s["cluster"] and len(s["cluster"]["members"]) == 2)
        self.leash(1, "rolling-restart", says=out + " is not in sync")
        assert self.manager.restarted == [], self.manager.restarted
        self.leash(0, "rolling-restart", "--accept-pause", left, says=left + ": restarted")
        assert self.manager.restarted == [left], self.manager.restarted
        self.cluster.start(out)
        self.cluster.wait_in_sync(*NAMES)
        os.kill(self.etcd.process.pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + 60
            while json.loads(self.leash(0, "control", primary, "status"))["etcd_reachable"]:
                assert time.monotonic() < deadline, "etcd is away, and the primary does not notice"
                time.sleep(0.1)
            self.leash(1, "rolling-restart", says="etcd does not answer")
        finally:
            os.kill(self.etcd.process.pid, signal.SIGCONT)
        assert self.manager.restarted == [left], self.manager.restarted

    def refuses_where_all_are_needed(self):
        self.leash(1, "rolling-restart", says="without it 2 nodes would be in sync, and min_insync is 3")
        assert self.manager.restarted == [], self.manager.restarted
        self.leash(0, "rolling-restart", "--accept-pause")
        assert sorted(self.manager.restarted) == sorted(NAMES), self.manager.restarted


def run(tmp, cluster, scenarios):
    try:
        for n in NAMES:
            cluster.start(n)
        cluster.wait_in_sync(*NAMES)
        t = Test(tmp, cluster.etcd, cluster)
        for scenario in scenarios:
            scenario(t)
    except BaseException:
        for n in NAMES:
            with open(os.path.join(tmp, n + ".log"), encoding="utf-8") as f:
                print(f"== {n}\n" + f.read()[-2000:])
        raise
    finally:
        cluster.stop_all()


def main():
    if not shutil.which("etcd") or not shutil.which("etcdctl"):
        print("etcd and etcdctl are needed")
        return 77
    with tempfile.TemporaryDirectory(prefix="leash-local.") as tmp:
        etcd = Etcd(tmp)
        tight = os.path.join(tmp, "tight")
        os.mkdir(tight)
        try:
            run(tmp, Cluster(tmp, etcd), [Test.controls, Test.revokes, Test.rolls, Test.refuses])
            etcd.clear()
            run(tight, Tight(tight, etcd), [Test.refuses_where_all_are_needed])
        finally:
            etcd.stop()
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
