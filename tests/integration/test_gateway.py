#!/usr/bin/env python3
"""leash-gatewayd against fake nodes (fake_cluster.c) and a real etcd.

What is claimed, each by a test:
  1. A message gets exactly one answer, in order, and is in the log once, while the lead goes back and forth, nodes crash
     with answers on their way, and primaries are stopped without their connections breaking.
  2. A leader key whose process does not say that it leads is not believed; a node that says so is, also while etcd is away.
  3. hold_timeout: -TRYAGAIN, -NOREPLICAS, -INDOUBT, and what each says about the log is true.
  4. A session that the nodes forgot is opened anew; HOLD is waited out.
  5. Reads go to the primary and survive a retarget, a blocking XREAD too; INFO and ROLE.
  6. SIGHUP takes up new engines and drops old ones; SIGTERM finishes what is in flight; start-up errors.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import leashtest
from leashtest import BUILD, Client, Etcd, Process, RespError, Test, free_ports, run, wait_for

GATEWAY = os.path.join(BUILD, "leash-gatewayd")


def seq_of(entry_id):
    seq, zero = entry_id.split(b"-")
    assert zero == b"0", entry_id
    return int(seq)


class Fakes:
    """The fake nodes and their commands."""

    def __init__(self, engine, names):
        self.proc = subprocess.Popen([os.path.join(BUILD, "tests/integration/fake-cluster"), engine, *names],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                     preexec_fn=leashtest._die_with_parent)
        self.address = {}
        for line in self.proc.stdout:
            if line == "ready\n":
                break
            _, name, address = line.split()
            self.address[name] = address

    def __call__(self, *words):
        self.proc.stdin.write(" ".join(map(str, words)) + "\n")
        self.proc.stdin.flush()
        answer = self.proc.stdout.readline().strip()
        assert answer, "fake-cluster ended"
        return answer

    def stats(self):
        return {k: int(v) for k, v in (w.split("=") for w in self("stats").split()[1:])}

    def log(self):
        self.proc.stdin.write("dump\n")
        self.proc.stdin.flush()
        values = []
        for line in self.proc.stdout:
            if line == "end\n":
                return values
            values.append(line.split(" ", 2)[2].rstrip("\n"))
        raise AssertionError("fake-cluster ended")

    def close(self):
        self.proc.stdin.close()
        self.proc.wait(10)
        self.proc.stdout.close()


class Stage:
    """etcd, fake nodes of one engine, one gateway."""

    def __init__(self, *options, names=("P1", "S1"), engine="engine"):
        self.test = Test()
        self.etcd = Etcd(self.test)
        self.engine = engine
        self.fakes = Fakes(engine, names)
        self.epoch = 0
        self.port = free_ports(1)[0]
        self.gw = Process(self.test, "gw", [GATEWAY, "--listen", "127.0.0.1:%d" % self.port, "--etcd-endpoints",
                                            self.etcd.url, "--log-target", "stderr", "--workers", "2", *options])
        for name in names:
            self.put_node(name)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                if self.gw.running():
                    assert self.gw.stop() == 0, "SIGTERM is a clean end"
                self.test.check_alive()
            else:
                self.test.tell()
        finally:
            self.test.end()
            self.fakes.close()
            shutil.rmtree(self.test.dir, ignore_errors=True)

    def put(self, key, value):
        self.etcd.put(key, json.dumps(value))

    def put_node(self, name):
        self.put("%s/nodes/%s" % (self.engine, name), {
            "node": name, "address": self.fakes.address[name], "incarnation": "%016x" % 1, "run": "%016x" % 2,
            "cluster": "%016x" % 0xc1, "priority": 0, "log_epoch": 0, "log_end": 0, "release": "0"})

    def put_leader(self, name, epoch):
        self.put("%s/leader" % self.engine, {"node": name, "address": self.fakes.address[name], "epoch": epoch,
                                             "incarnation": "%016x" % 1, "run": "%016x" % 2})

    def put_insync(self, cluster, epoch):
        self.put("%s/insync" % self.engine, {
            "cluster": "%016x" % cluster, "version": 1, "recovery": 0, "epoch": epoch, "min_insync": 2,
            "dedup_window": 1000, "members": [{"node": n, "incarnation": "%016x" % 1} for n in ("P1", "S1")]})

    def lead(self, name, tell_etcd=True):
        self.epoch += 1
        self.fakes("lead", name, self.epoch)
        if tell_etcd:
            self.put_leader(name, self.epoch)

    def start(self):
        self.gw.start()
        wait_for(lambda: "listening on" in self.gw.output(), "the gateway listens")
        return self

    def client(self):
        return Client("127.0.0.1", self.port, timeout_s=2 * leashtest.DEADLINE_S)

    def info(self, what="engines"):
        r = self.client()
        try:
            return r.call("INFO", what).decode()
        finally:
            r.close()

    def engine_info(self):
        line = [l for l in self.info().splitlines() if l.startswith("engine0:")][0]
        return dict(kv.split("=", 1) for kv in line.split(":", 1)[1].split(","))


class Writer(threading.Thread):
    """Messages without ids, `window` in flight on one connection; every third has an id of its own if own_ids."""

    def __init__(self, stage, name, window=16, own_ids=False):
        super().__init__(daemon=True)
        self.stage, self.name_, self.window, self.own_ids = stage, name, window, own_ids
        self.sent, self.answers, self.trouble = 0, [], None
        self.halt = threading.Event()
        self.start()

    def run(self):
        try:
            r = self.stage.client()
            while not self.halt.is_set() or len(self.answers) < self.sent:
                while not self.halt.is_set() and self.sent - len(self.answers) < self.window:
                    value = "%s:%d" % (self.name_, self.sent)
                    if self.own_ids and self.sent % 3 == 0:
                        r.send("XADD", self.stage.engine, "IDMP", self.name_, self.sent, "*", "v", value)
                    else:
                        r.send("XADD", self.stage.engine, "*", "v", value)
                    self.sent += 1
                self.answers.append(r.read())
            r.sock.settimeout(0.2)
            try:
                extra = r.sock.recv(100)
            except socket.timeout:
                extra = b""
            assert not extra, "an answer too many: %r" % extra
            r.close()
        except Exception as e:
            self.trouble = repr(e)

    def finish(self):
        self.halt.set()
        self.join(2 * leashtest.DEADLINE_S)
        assert not self.is_alive(), "%s still waits for %d answers" % (self.name_, self.sent - len(self.answers))
        assert not self.trouble, self.trouble


def check_all(log, writers):
    where = {}
    for i, value in enumerate(log):
        assert value not in where, "%s is in the log twice" % value
        where[value] = i + 1
    for w in writers:
        assert len(w.answers) == w.sent
        last = 0
        for i, a in enumerate(w.answers):
            assert isinstance(a, bytes), "%s:%d was answered %s" % (w.name_, i, a)
            seq = seq_of(a)
            assert where.get("%s:%d" % (w.name_, i)) == seq, (w.name_, i, seq)
            assert seq > last, "%s:%d is out of order" % (w.name_, i)
            last = seq
    assert len(log) == sum(w.sent for w in writers)


def more(fakes, n):
    """Waits until n more messages are in the log."""
    goal = fakes.stats()["appends"] + n
    wait_for(lambda: fakes.stats()["appends"] >= goal, "%d more messages" % n)


def good_weather():
    with Stage() as s:
        s.lead("P1")
        s.start()
        r = s.client()
        assert [r.call("XADD", "engine", "*", "v", "a%d" % i) for i in range(3)] == [b"1-0", b"2-0", b"3-0"]
        assert r.call("XADD", "engine", "IDMP", "p", "1", "*", "v", "x") == b"4-0"
        assert r.call("XADD", "engine", "IDMP", "p", "1", "*", "v", "x") == b"4-0"
        try:
            r.call("XADD", "engine", "IDMP", "p", "1", "*", "v", "y")
            assert False, "a conflict was not told"
        except RespError as e:
            assert str(e).startswith("IDMPCONFLICT"), e
        assert r.call("XLEN", "engine") == 4
        assert [e[1] for e in r.call("XRANGE", "engine", "2-0", "3-0")] == [[b"v", b"a1"], [b"v", b"a2"]]
        role = r.call("ROLE")
        assert role[0] == b"master" and len(role[2]) == 1, role
        e = s.engine_info()
        assert e["primary"] == "P1" and e["epoch"] == "1" and e["in_flight"] == "0" and e["dedup_hits"] == "1", e
        assert "primary of 'engine' is now 'P1' (epoch 1)" in s.gw.output()


def lead_goes_back_and_forth():
    with Stage() as s:
        s.lead("P1")
        s.start()
        writers = [Writer(s, "w%d" % i, own_ids=i % 2 == 1) for i in range(12)]
        for i in range(30):
            more(s.fakes, 200)
            s.lead("S1" if i % 2 == 0 else "P1", tell_etcd=i % 3 != 0)
        more(s.fakes, 200)
        for w in writers:
            w.finish()
        check_all(s.fakes.log(), writers)
        assert s.fakes.stats()["known"] > 0, "no answer was ever lost: the test shows nothing"
        e = s.engine_info()
        assert int(e["retargets"]) >= 31 and int(e["replays"]) > 0 and e["in_flight"] == "0" and e["held"] == "0", e


def crashes_and_stopped_primaries():
    with Stage(names=("P1", "S1", "S2")) as s:
        s.fakes("delay", 5)
        s.lead("P1")
        s.start()
        writers = [Writer(s, "w%d" % i, window=64, own_ids=i % 2 == 1) for i in range(6)]
        order = ["S1", "S2", "P1"]
        old = "P1"
        for i in range(12):
            more(s.fakes, 200)
            if i % 2 == 0:
                s.fakes("crash", old)
            else:
                s.fakes("mute", old)
            new = order[i % 3]
            s.lead(new)
            more(s.fakes, 100)
            s.fakes("revive", old)
            old = new
        for w in writers:
            w.finish()
        check_all(s.fakes.log(), writers)


def leader_key_alone_is_not_believed():
    with Stage() as s:
        s.put_leader("S1", 5)  # its process says that it is a secondary
        s.start()
        w = Writer(s, "w")
        wait_for(lambda: s.engine_info()["held"] != "0", "messages are held")
        assert s.fakes.stats()["refused"] == 0, "messages went to a node that does not lead"
        s.epoch = 3
        s.lead("P1", tell_etcd=False)  # epoch 4 is older than the 5 that etcd has shown
        wait_for(lambda: int(s.engine_info()["held"]) == 16, "all is held still")
        assert s.fakes.stats()["appends"] == 0
        s.epoch = 5
        s.lead("P1", tell_etcd=False)
        more(s.fakes, 50)
        w.finish()
        check_all(s.fakes.log(), [w])


def etcd_is_away():
    with Stage() as s:
        s.lead("P1")
        s.start()
        w = Writer(s, "w")
        more(s.fakes, 50)
        s.etcd.kill()
        wait_for(lambda: "etcd does not answer" in s.gw.output(), "the gateway says that etcd is away")
        more(s.fakes, 50)
        s.lead("S1", tell_etcd=False)
        more(s.fakes, 50)
        assert s.engine_info()["primary"] == "S1"
        s.etcd.start()
        s.etcd.wait_ready()
        wait_for(lambda: "etcd answers again" in s.gw.output(), "the gateway says that etcd is back")
        s.lead("P1")
        more(s.fakes, 50)
        w.finish()
        check_all(s.fakes.log(), [w])


def error_of(r):
    reply = r.read()
    assert isinstance(reply, RespError), reply
    return str(reply).split()[0]


def hold_timeout_tells_the_truth():
    with Stage("--hold-timeout", "1s") as s:
        s.start()
        r = s.client()
        r.send("XADD", "engine", "*", "v", "never")
        assert error_of(r) == "TRYAGAIN"
        s.lead("P1")
        assert r.call("XADD", "engine", "*", "v", "first") == b"1-0"
        s.fakes("replicas", 1)
        s.fakes("hold", "on")
        wait_for(lambda: refused_with(s, "NOREPLICAS"), "-NOREPLICAS")
        s.fakes("replicas", 2)
        s.fakes("hold", "off")
        assert r.call("XADD", "engine", "*", "v", "second") == b"2-0"
        s.fakes("delay", 60000)
        r.send("XADD", "engine", "*", "v", "third")  # appended, and the answer does not come
        assert error_of(r) == "INDOUBT"
        s.fakes("crash", "P1")
        s.fakes("delay", 1)
        s.lead("S1")
        assert r.call("XADD", "engine", "*", "v", "fourth") == b"4-0"
        assert s.fakes.log() == ["first", "second", "third", "fourth"]


def refused_with(s, code):
    c = s.client()
    try:
        c.call("XADD", "engine", "*", "v", "refused")
        return False
    except RespError as e:
        return str(e).startswith(code)
    finally:
        c.close()


def forgotten_sessions_and_holds():
    with Stage() as s:
        s.lead("P1")
        s.start()
        writers = [Writer(s, "w%d" % i) for i in range(4)]
        for _ in range(5):
            more(s.fakes, 100)
            s.fakes("hold", "on")
            wait_for(lambda: int(s.engine_info()["held"]) == 64, "all is held")
            s.fakes("hold", "off")
        more(s.fakes, 100)
        for w in writers:
            w.finish()
        check_all(s.fakes.log(), writers)
        s.fakes("forget")
        after = [Writer(s, "x%d" % i) for i in range(4)]
        more(s.fakes, 200)
        for w in after:
            w.finish()
        check_all(s.fakes.log(), writers + after)


def reads_survive_a_retarget():
    with Stage() as s:
        s.lead("P1")
        s.start()
        r, blocked = s.client(), s.client()
        for i in range(600):
            r.send("XADD", "engine", "*", "v", str(i))
        for i in range(600):
            r.read()
        blocked.send("XREAD", "BLOCK", "0", "STREAMS", "engine", "$")
        wait_for(lambda: "blocked_clients:1" in s.info("clients"), "somebody is blocked")
        s.fakes("depose")
        r.send("XRANGE", "engine", "-", "+")
        r.send("XLEN", "engine")
        wait_for(lambda: "has no primary" in s.gw.output(), "no primary")
        s.lead("S1")
        got = r.read()
        assert [e[1][1] for e in got] == [str(i).encode() for i in range(600)]
        assert r.read() == 600
        assert r.call("XADD", "engine", "*", "v", "new") == b"601-0"
        assert blocked.read() == [[b"engine", [[b"601-0", [b"v", b"new"]]]]]


def reload_changes_engines():
    with Stage() as s:
        conf = os.path.join(s.test.dir, "gw.conf")
        other = Fakes("other", ["Q1"])

        def write(engines):
            with open(conf, "w") as f:
                f.write("engines = %s\n" % engines)

        write("engine")
        s.gw.argv += ["--config", conf]
        s.lead("P1")
        other("lead", "Q1", 1)
        s.put("other/nodes/Q1", {"node": "Q1", "address": other.address["Q1"], "incarnation": "%016x" % 1,
                                 "run": "%016x" % 2, "cluster": "%016x" % 0xc1, "priority": 0, "log_epoch": 0,
                                 "log_end": 0, "release": "0"})
        s.start()
        r = s.client()
        assert r.call("XADD", "engine", "*", "v", "a") == b"1-0"
        r.send("XADD", "other", "*", "v", "a")
        assert error_of(r) == "ERR"
        write("engine, other")
        s.gw.signal(signal.SIGHUP)
        wait_for(lambda: "name=other" in s.info(), "the new engine is served")
        assert r.call("XADD", "other", "*", "v", "b") == b"1-0"
        assert r.call("XADD", "engine", "*", "v", "c") == b"2-0"
        blocked = s.client()
        blocked.send("XREAD", "BLOCK", "0", "STREAMS", "engine", "$")
        write("other")
        s.gw.signal(signal.SIGHUP)
        wait_for(lambda: "name=engine" not in s.info(), "the old engine is gone")
        assert r.call("XADD", "other", "*", "v", "d") == b"2-0"
        write("nonsense = 1\nengines = engine")
        s.gw.signal(signal.SIGHUP)
        wait_for(lambda: "reload failed" in s.gw.output(), "a bad file is refused")
        assert r.call("XADD", "other", "*", "v", "e") == b"3-0"
        other.close()


def founded_anew_while_the_former_cluster_lives():
    """Another cluster under the same name, with a lower epoch: it is followed as soon as etcd says so, not before; what the
    former one may have is in doubt, what it never got goes to the new one; whatever the former says later, and whatever
    etcd says of it, changes nothing."""
    with Stage("--hold-timeout", "120s", "--workers", "1") as s:
        s.epoch = 8
        s.put_insync(0xc1, 9)
        s.lead("P1")
        s.start()
        r, behind, blocked = s.client(), s.client(), s.client()
        for i in range(3):
            assert r.call("XADD", "engine", "*", "v", "old%d" % i) == b"%d-0" % (i + 1)
        blocked.send("XREAD", "BLOCK", "0", "STREAMS", "engine", "$")
        wait_for(lambda: "blocked_clients:1" in s.info("clients"), "somebody is blocked")

        new = Fakes("engine", ["Q1"])
        new("cluster", "c2")
        new("lead", "Q1", 1)
        s.put("engine/nodes/Q1", {"node": "Q1", "address": new.address["Q1"], "incarnation": "%016x" % 1, "run": "%016x" % 2,
                                  "cluster": "%016x" % 0xc2, "priority": 0, "log_epoch": 0, "log_end": 0, "release": "0"})
        wait_for(lambda: "nodes=3" in s.info(), "the new node is known")
        assert r.call("XADD", "engine", "*", "v", "old3") == b"4-0"  # etcd has not said that it counts
        assert blocked.read() == [[b"engine", [[b"4-0", [b"v", b"old3"]]]]]

        s.fakes("delay", 100000)
        r.send("XADD", "engine", "IDMP", "p", "1", "*", "v", "doubt")
        r.send("XADD", "engine", "*", "v", "doubt")
        wait_for(lambda: s.fakes.stats()["appends"] == 6, "they are with the former primary")
        assert blocked.call("XREAD", "BLOCK", "0", "STREAMS", "engine", "5")
        blocked.send("XREAD", "BLOCK", "0", "STREAMS", "engine", "$")
        wait_for(lambda: "blocked_clients:1" in s.info("clients"), "somebody is blocked")
        s.fakes("depose")
        wait_for(lambda: "has no primary" in s.gw.output(), "nobody leads")
        behind.send("XADD", "engine", "*", "v", "new")
        wait_for(lambda: "in_flight=3" in s.info(), "it waits")
        s.etcd.delete("engine/leader")
        s.etcd.delete("engine/insync")
        s.put_insync(0xc2, 1)
        assert error_of(r) == "INDOUBT" and error_of(r) == "INDOUBT"
        assert behind.read() == b"1-0"
        assert blocked.read() == [[b"engine", [[b"1-0", [b"v", b"new"]]]]]
        assert "was founded anew" in s.gw.output()

        s.fakes("lead", "S1", 20)
        s.fakes("lead", "P1", 21)
        s.put_node("P1")
        assert r.call("XADD", "engine", "*", "v", "more") == b"2-0"
        assert r.call("XLEN", "engine") == 2
        assert new.log() == ["new", "more"] and s.fakes.stats()["appends"] == 6
        s.gw.signal(signal.SIGHUP)  # everything is read afresh
        assert r.call("XADD", "engine", "*", "v", "last") == b"3-0"
        new.close()


def sigterm_finishes_what_is_in_flight():
    with Stage() as s:
        s.fakes("delay", 300)
        s.lead("P1")
        s.start()
        r, idle = s.client(), s.client()
        for i in range(20):
            r.send("XADD", "engine", "*", "v", str(i))
        wait_for(lambda: s.fakes.stats()["appends"] == 20, "all are with the node")
        s.gw.signal(signal.SIGTERM)
        assert [r.read() for _ in range(20)] == [b"%d-0" % (i + 1) for i in range(20)]
        assert s.gw.wait() == 0
        assert "all commands were answered" in s.gw.output()
        assert idle.sock.recv(1) == b""


def many_clients_are_spread_and_bounded():
    with Stage("--max-clients", "60") as s:
        s.lead("P1")
        s.start()
        clients = [s.client() for _ in range(60)]
        for c in clients:
            assert c.call("PING") == "PONG"
        extra = s.client()
        assert isinstance(extra.read(), RespError)
        for c in clients:
            c.close()
        wait_for(lambda: can_ping(s), "there is room again")


def can_ping(s):
    try:
        c = s.client()
        try:
            return c.call("PING") == "PONG"
        finally:
            c.close()
    except (OSError, RespError):
        return False


def start_up_errors():
    def run(*argv, **kw):
        return subprocess.run([GATEWAY, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20, **kw)

    assert run("--hold-timeout", "never").returncode == 78
    assert run("--engines", "a,a").returncode == 78
    assert run("--check").returncode == 0
    assert run("--help").stdout.startswith("Usage: leash-gatewayd")
    assert run("--version").stdout.startswith("leash-gatewayd ")
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    p = run("--listen", "127.0.0.1:%d" % taken.getsockname()[1], "--log-target", "stderr")
    assert p.returncode == 1 and "cannot listen" in p.stderr, p
    # an inherited socket (descriptor 3) and another `listen`
    script = 'exec 3<&%d; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"' % taken.fileno()
    p = subprocess.run(["sh", "-c", script, "sh", GATEWAY, "--listen", "127.0.0.1:1", "--log-target", "stderr"],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=[taken.fileno()], timeout=20)
    assert p.returncode == 78 and "differ" in p.stderr, p
    taken.close()


TESTS = [good_weather, lead_goes_back_and_forth, crashes_and_stopped_primaries, leader_key_alone_is_not_believed,
         etcd_is_away, hold_timeout_tells_the_truth, forgotten_sessions_and_holds, reads_survive_a_retarget,
         reload_changes_engines, founded_anew_while_the_former_cluster_lives, sigterm_finishes_what_is_in_flight,
         many_clients_are_spread_and_bounded, start_up_errors]


def main(_):
    for test in TESTS:
        if sys.argv[1:] and test.__name__ not in sys.argv[1:]:
            continue
        begin = time.monotonic()
        test()
        print("ok %s: %.1f s" % (test.__name__, time.monotonic() - begin), flush=True)


if __name__ == "__main__":
    run(main)
