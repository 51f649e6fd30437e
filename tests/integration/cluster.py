"""A whole cluster and its producers for the fault tests, on top of leashtest.py."""

import os
import subprocess
import sys
import threading
import time

import history
from leashtest import (BUILD, ETCD, Client, ConnectionLost, Etcd, Node, Process, RespError, Skip, free_ports,
                       wait_for)

SLOW = float(os.environ.get("LEASH_TEST_SLOW", "1"))  # stretches every deadline (sanitizers)


def seq_of(entry_id):
    seq, zero = entry_id.split(b"-")
    assert zero == b"0", entry_id
    return int(seq)


class Gateway(Process):
    def __init__(self, test, etcd, name="gw", **options):
        self.port = free_ports(1)[0]
        self.options = {
            "listen": "127.0.0.1:%d" % self.port,
            "etcd_endpoints": etcd.url,
            "log_target": "stderr",
            "log_level": "debug",
        }
        self.options.update(options)
        super().__init__(test, name, None)
        self.start()

    def start(self):
        args = ["--%s=%s" % (k.replace("_", "-"), v) for k, v in self.options.items()]
        self.argv = [os.path.join(BUILD, "leash-gatewayd")] + args
        super().start()
        wait_for(self.answers, "%s answers" % self.name, 20 * SLOW)
        return self

    def answers(self):
        with Client("127.0.0.1", self.port, timeout_s=2) as c:
            return c.call("PING") == "PONG"

    def client(self):
        return Client("127.0.0.1", self.port, timeout_s=90 * SLOW)


class EtcdMembers(Etcd):
    """Three members of one etcd cluster; itself no process. Asks whoever answers."""

    def __init__(self, test, n=3):
        if not os.access(ETCD, os.X_OK):
            raise Skip("no etcd here")
        ports = free_ports(2 * n)
        peers = ["http://127.0.0.1:%d" % p for p in ports[n:]]
        self.urls = ["http://127.0.0.1:%d" % p for p in ports[:n]]
        self.url = ",".join(self.urls)
        self.members = []
        for i, (url, peer) in enumerate(zip(self.urls, peers)):
            self.members.append(Process(test, "etcd%d" % i, [
                ETCD, "--name=e%d" % i, "--data-dir=" + os.path.join(test.dir, "etcd%d" % i), "--listen-client-urls=" + url,
                "--advertise-client-urls=" + url, "--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
                "--initial-cluster=" + ",".join("e%d=%s" % m for m in enumerate(peers)),
                "--initial-cluster-token=" + test.dir, "--heartbeat-interval=50", "--election-timeout=500", "--logger=zap"]))
            self.members[i].start()
        self.wait_ready()

    def post(self, path, body, timeout_s=2):
        failed = None
        for url, member in zip(self.urls, self.members):
            if member.running():
                try:
                    return self.post_to(url, path, body, timeout_s)
                except OSError as e:
                    failed = e
        raise failed or OSError("no member runs")

    def leading(self):
        """The index of the member that leads; None: nobody, or they do not agree."""
        said = []
        for url, member in zip(self.urls, self.members):
            if member.running():
                try:
                    status = self.post_to(url, "/v3/maintenance/status", {}, 2)
                    said.append((status.get("leader"), status["header"]["member_id"]))
                except OSError:
                    pass  # not ready yet
        names = {leader for leader, _ in said}
        if len(names) != 1 or names & {None, "0"}:
            return None
        ids = [m for _, m in said]
        return ids.index(names.pop()) if len(said) == len(self.members) and names <= set(ids) else None


class Cluster:
    """etcd, nodes P1 S1 S2 and a gateway, started, everybody in sync."""

    def __init__(self, test, n=3, gateway=True, etcd=None, node=Node, **options):
        self.test = test
        self.histories = []
        self.readers = []
        self.etcd = etcd or Etcd(test)
        names = ["P1"] + ["S%d" % i for i in range(1, n)]
        options.setdefault("founders", ",".join(names))
        options.setdefault("lease_ttl", "5")
        options.setdefault("failure_timeout", "1000ms")
        self.nodes = [node(test, self.etcd, name, **options) for name in names]
        self.by_name = {node.node: node for node in self.nodes}
        self.wait_in_sync()
        self.gateway = Gateway(test, self.etcd) if gateway else None

    def primary(self):
        leader = self.etcd.leader()
        node = self.by_name.get(leader["node"]) if leader else None
        return node if node and node.running() and node.role() == "master" else None

    def wait_primary(self, but=None, seconds=20):
        def find():
            p = self.primary()
            return p if p is not but else None
        return wait_for(find, "there is a primary" + (" other than " + but.node if but else ""), seconds * SLOW)

    def wait_in_sync(self, seconds=40):
        want = sorted(n.node for n in self.nodes)
        wait_for(lambda: self.primary() and sorted(set(self.etcd.insync())) == want, "all are in sync", seconds * SLOW)

    def wait_equal(self, seconds=40):
        """Waits until all nodes show the same log, and returns it: [(sequence, [field, value, ...])]."""
        def lengths():
            found = set()
            for n in self.nodes:
                with n.client() as c:
                    found.add(c.call("XLEN", n.engine))
            return len(found) == 1
        wait_for(lengths, "all nodes show logs of the same length", seconds * SLOW)
        logs = [entries(n) for n in self.nodes]
        for n, log in zip(self.nodes, logs):
            assert log == logs[0], "the log of %s differs from that of %s" % (n.node, self.nodes[0].node)
        return logs[0]

    def history(self, name, in_order=False):
        """A new client's history, for check_histories()."""
        h = history.History(os.path.join(self.test.dir, "history-" + name), name, in_order)
        self.histories.append(h)
        return h

    def start_readers(self):
        """One at the gateway, one at each node."""
        for name, port in [("gateway", self.gateway.port)] + [(n.node, n.port) for n in self.nodes]:
            self.readers.append(history.Reader(port, self.history("reader-" + name)))
            self.readers[-1].start()

    def check_histories(self, *options):
        """All that was recorded, against the logs of all nodes. Nobody writes any more and all nodes are equal."""
        for r in self.readers:
            r.finish()
            assert r.answers, "the reader %s was never answered" % r.history.name
        logs = []
        for n in self.nodes:
            logs.append(os.path.join(self.test.dir, "log-" + n.node))
            with open(logs[-1], "w", encoding="ascii") as out:
                out.write(leash("log", "cat", n.dir).stdout)
        history.check(self.histories, logs, *options)


def entries(node):
    """The whole log as the node shows it."""
    with node.client() as c:
        found, start = [], "-"
        while True:
            part = c.call("XRANGE", node.engine, start, "+", "COUNT", 1000)
            found += [(seq_of(e[0]), e[1]) for e in part]
            if len(part) < 1000:
                return found
            start = "(%d-0" % found[-1][0]


def leash(*args, check=True):
    return subprocess.run([os.path.join(BUILD, "leash"), *args], stdin=subprocess.DEVNULL, check=check, timeout=120 * SLOW,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Producer(threading.Thread):
    """Appends numbered messages with IDMP ids, `window` in flight, in order. A lost connection (a gateway that died) is
    made again and what is unanswered is sent again with the same ids; an error reply is noted and ends it. `history`: where
    it writes down what it did (Cluster.history(), in_order)."""

    def __init__(self, port, name, window=8, history=None):
        super().__init__(daemon=True)
        self.history = history
        self.port, self.name_, self.window = port, name, window
        self.acks = {}          # number -> sequence
        self.errors = []
        self.reconnects = 0
        self.longest_pause = 0.0
        self.halt = threading.Event()
        self.sent = 0

    def message(self, i):
        return ("XADD", "engine", "IDMP", self.name_, str(i), "*", "v", "%s:%d" % (self.name_, i))

    def send(self, r, conn, i):
        """Returns the tag in the history."""
        tag = None
        if self.history:
            name = self.name_.encode()
            tag = self.history.append(conn, history.ident(name, b"%d" % i), b"%s:%d" % (name, i))
        r.send(*self.message(i))
        return tag

    def run(self):
        while not (self.halt.is_set() and len(self.acks) == self.sent) and not self.errors:
            try:
                self.connection()
            except (OSError, ConnectionLost):
                self.reconnects += 1
                time.sleep(0.05)

    def connection(self):
        r = self.connect()
        try:
            conn = self.history.conn(r) if self.history else None
            unanswered = [i for i in range(self.sent) if i not in self.acks]
            tags = [self.send(r, conn, i) for i in unanswered]
            last = time.monotonic()
            while True:
                while len(unanswered) < self.window and not self.halt.is_set():
                    unanswered.append(self.sent)
                    self.sent += 1
                    tags.append(self.send(r, conn, unanswered[-1]))
                if not unanswered:
                    return
                reply = r.read()
                if self.history:
                    self.history.answered(tags.pop(0), reply)
                now = time.monotonic()
                self.longest_pause = max(self.longest_pause, now - last)
                last = now
                if isinstance(reply, RespError):
                    self.errors.append((unanswered[0], str(reply)))
                    return
                self.acks[unanswered.pop(0)] = seq_of(reply)
        finally:
            r.close()

    def connect(self):
        return Client("127.0.0.1", self.port, timeout_s=90 * SLOW)

    def finish(self, seconds=60):
        self.halt.set()
        self.join(seconds * SLOW)
        assert not self.is_alive(), "%s still waits for %d answers" % (self.name_, self.sent - len(self.acks))


def check_promises(log, producers):
    """What every producer was told against what the log holds, record by record."""
    where = {}
    for seq, (field, value) in log:
        assert field == b"v", (seq, field)
        where.setdefault(value.decode(), []).append(seq)
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1)), "sequence numbers have a gap"
    for p in producers:
        assert not p.errors, "%s saw an error: %r" % (p.name_, p.errors)
        last = 0
        for i in sorted(p.acks):
            places = where.get("%s:%d" % (p.name_, i), [])
            assert places == [p.acks[i]], "%s:%d was acknowledged at %d, the log has it at %r" % (
                p.name_, i, p.acks[i], places)
            assert places[0] > last, "%s:%d is out of order" % (p.name_, i)
            last = places[0]
    assert sum(len(v) for v in where.values()) == len(where), "a message is in the log twice"


def run_scenarios(test, scenarios):
    """One after the other, each with processes of its own; names on the command line choose. What one leaves is kept apart."""
    for scenario in scenarios:
        if sys.argv[1:] and scenario.__name__ not in sys.argv[1:]:
            continue
        begin = time.monotonic()
        scenario(test)
        test.check_alive()
        test.end()
        del test.processes[:]
        for name in os.listdir(test.dir):
            os.rename(os.path.join(test.dir, name), os.path.join(test.dir, "%s.%s" % (scenario.__name__, name)))
        print("ok %s: %.0f s" % (scenario.__name__, time.monotonic() - begin), flush=True)
