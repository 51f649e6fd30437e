"""Real processes for the integration tests: etcd, nodes, gateways, clients. Standard library only.

Everything runs in a temporary directory of its own on free ports of 127.0.0.1 and dies with the test (parent-death
signal). Nothing waits by sleeping: wait_for() looks at a condition until a deadline. The programs are taken from the build
tree, which is the current directory of `make check` ($LEASH_BUILD chooses another).
"""

import base64
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BUILD = os.environ.get("LEASH_BUILD", os.getcwd())
SLOW = float(os.environ.get("LEASH_TEST_SLOW", "1"))  # stretches every deadline (sanitizers)
_libc = ctypes.CDLL(None, use_errno=True)


def wait_for(condition, seconds, what):
    """The first true value of condition(); AssertionError naming `what` when the deadline comes first."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %g s: %s" % (seconds * SLOW, what))
        time.sleep(0.02)


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


def _die_with_parent():
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """One program; its stderr goes to <dir>/<name>.log, appended over restarts."""

    def __init__(self, directory, name, argv):
        self.dir, self.name, self.argv = directory, name, argv
        self.log = os.path.join(directory, name + ".log")
        self.proc = None

    def start(self):
        assert not self.running(), self.name + " runs already"
        with open(self.log, "ab") as log:
            log.write(("---- start %.3f\n" % time.time()).encode())
            log.flush()
            self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         preexec_fn=_die_with_parent, cwd=self.dir)
        return self

    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def signal(self, sig):
        if self.running():
            self.proc.send_signal(sig)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def stop(self, seconds=20):
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds=20):
        if self.proc is None:
            return None
        try:
            return self.proc.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s does not end" % self.name)

    def text(self):
        with open(self.log, "r", errors="replace") as f:
            return f.read()


class Etcd:
    """A cluster of n members."""

    def __init__(self, directory, n=1):
        ports = free_ports(2 * n)
        self.clients, peers = ports[:n], ports[n:]
        everybody = ",".join("m%d=http://127.0.0.1:%d" % (i, peers[i]) for i in range(n))
        self.members = []
        for i in range(n):
            url, peer = "http://127.0.0.1:%d" % self.clients[i], "http://127.0.0.1:%d" % peers[i]
            self.members.append(Process(directory, "etcd%d" % i, [
                "/usr/bin/etcd", "--name", "m%d" % i, "--data-dir", os.path.join(directory, "etcd%d.data" % i),
                "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", everybody, "--logger", "zap",
                "--log-level", "error", "--heartbeat-interval", "50", "--election-timeout", "500"]))
        self.endpoints = ",".join("http://127.0.0.1:%d" % p for p in self.clients)

    def start(self):
        for m in self.members:
            if not m.running():
                m.start()
        wait_for(self.healthy, 30, "etcd is healthy")
        return self

    def kill(self):
        for m in self.members:
            m.kill()

    def call(self, path, body, timeout=5):
        last = None
        for port in self.clients:
            try:
                req = urllib.request.Request("http://127.0.0.1:%d/v3%s" % (port, path), json.dumps(body).encode())
                with urllib.request.urlopen(req, timeout=timeout) as f:
                    return json.load(f)
            except OSError as e:
                last = e
        raise last

    def healthy(self):
        try:
            return "header" in self.call("/kv/range", {"key": base64.b64encode(b"x").decode()}, 1)
        except OSError:
            return False

    def get(self, key):
        """The value as JSON, or None."""
        kvs = self.call("/kv/range", {"key": base64.b64encode(key.encode()).decode()}).get("kvs")
        return json.loads(base64.b64decode(kvs[0]["value"])) if kvs else None

    def delete_all(self):
        self.call("/kv/deleterange", {"key": "AA==", "range_end": "AA=="})


class RespError(Exception):
    pass


class Resp:
    """A Redis protocol client on a raw socket."""

    def __init__(self, port, timeout=60):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout * SLOW)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def close(self):
        self.file.close()
        self.sock.close()

    @staticmethod
    def encode(*args):
        out = [b"*%d\r\n" % len(args)]
        for a in args:
            a = a if isinstance(a, bytes) else str(a).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(a), a))
        return b"".join(out)

    def send(self, *args):
        self.sock.sendall(self.encode(*args))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("connection closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RespError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            n = int(rest)
            if n < 0:
                return None
            data = self.file.read(n + 2)
            if len(data) != n + 2:
                raise ConnectionError("connection closed")
            return data[:-2]
        if kind == b"*":
            n = int(rest)
            return None if n < 0 else [self.read() for _ in range(n)]
        raise ValueError("not RESP2: %r" % line)

    def __call__(self, *args):
        self.send(*args)
        reply = self.read()
        if isinstance(reply, RespError):
            raise reply
        return reply


def seq_of(entry_id):
    seq, zero = entry_id.split(b"-")
    assert zero == b"0", entry_id
    return int(seq)


class Cluster:
    """etcd, nodes and gateways. node_options and gateway_options are lists of command line options."""

    def __init__(self, nodes=3, etcd=1, gateways=1, topology="star", node_options=(), gateway_options=(), min_insync=2,
                 keep=None):
        self.dir = tempfile.mkdtemp(prefix="leash-test-", dir=os.environ.get("TMPDIR"))
        self.keep = keep if keep is not None else bool(os.environ.get("LEASH_TEST_KEEP"))
        self.names = ["P1"] + ["S%d" % i for i in range(1, nodes)]
        self.etcd = Etcd(self.dir, etcd)
        ports = free_ports(nodes + gateways)
        self.ports = dict(zip(self.names, ports))
        self.gateway_ports = ports[nodes:]
        self.nodes = {}
        for name in self.names:
            self.nodes[name] = Process(self.dir, name, [
                os.path.join(BUILD, "leash-noded"), name, "--listen", "127.0.0.1:%d" % self.ports[name],
                "--etcd-endpoints", self.etcd.endpoints, "--data-dir", self.data(name),
                "--runtime-dir", os.path.join(self.dir, name + ".run"), "--founders", ",".join(self.names),
                "--min-insync", str(min_insync), "--topology", topology, "--log-target", "stderr", *node_options])
        self.gateways = [Process(self.dir, "gw%d" % i, [
            os.path.join(BUILD, "leash-gatewayd"), "--listen", "127.0.0.1:%d" % port, "--etcd-endpoints",
            self.etcd.endpoints, "--log-target", "stderr", *gateway_options]) for i, port in enumerate(self.gateway_ports)]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for p in [*self.gateways, *self.nodes.values(), *self.etcd.members]:
            p.signal(signal.SIGCONT)
            p.kill()
        if kind is None and not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            sys.stderr.write("logs and data are kept in %s\n" % self.dir)
            self.tails()

    def tails(self, lines=25):
        for p in [*self.nodes.values(), *self.gateways]:
            if os.path.exists(p.log):
                sys.stderr.write("==== %s\n%s\n" % (p.name, "\n".join(p.text().splitlines()[-lines:])))

    def data(self, name):
        return os.path.join(self.dir, name + ".data")

    def start(self, gateways=True):
        self.etcd.start()
        for n in self.nodes.values():
            n.start()
        if gateways:
            for g in self.gateways:
                g.start()
        self.wait_in_sync()
        if gateways:
            for port in self.gateway_ports:
                wait_for(lambda p=port: self.answers(p), 20, "the gateway answers")
        return self

    def answers(self, port):
        try:
            r = Resp(port, 2)
            try:
                return r("PING") == "PONG"
            finally:
                r.close()
        except (OSError, RespError):
            return False

    def leader(self):
        """Who stands in etcd's leader key, or None."""
        try:
            value = self.etcd.get("engine/leader")
        except OSError:
            return None
        return value["node"] if value else None

    def insync(self):
        value = self.etcd.get("engine/insync")
        return [m["node"] for m in value["members"]] if value else []

    def role(self, name):
        """What the node itself says: "master", "slave", or None when it does not answer."""
        try:
            r = Resp(self.ports[name], 2)
            try:
                return r("ROLE")[0].decode()
            finally:
                r.close()
        except (OSError, RespError, TypeError):
            return None

    def primary(self):
        leader = self.leader()
        return leader if leader and self.nodes[leader].running() and self.role(leader) == "master" else None

    def wait_primary(self, other_than=None, seconds=20):
        def there():
            p = self.primary()
            return p if p and p != other_than else None
        return wait_for(there, seconds, "a primary%s" % (" other than " + other_than if other_than else ""))

    def wait_in_sync(self, names=None, seconds=40):
        want = sorted(names or self.names)
        wait_for(lambda: self.primary() and sorted(set(self.insync())) == want, seconds,
                 "in sync: " + " ".join(want))

    def leash(self, *args, check=True, stdin=None):
        return subprocess.run([os.path.join(BUILD, "leash"), *args], stdin=stdin or subprocess.DEVNULL, check=check,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120 * SLOW)

    def xrange(self, port):
        """The whole log as a node or gateway shows it: [(sequence, [field, value, ...])]."""
        r, entries, start = Resp(port), [], "-"
        try:
            while True:
                part = r("XRANGE", "engine", start, "+", "COUNT", "1000")
                entries += [(seq_of(e[0]), e[1]) for e in part]
                if len(part) < 1000:
                    return entries
                start = "(%d-0" % entries[-1][0]
        finally:
            r.close()

    def wait_equal(self, seconds=40):
        """Waits until all nodes show the same committed log, and returns it."""
        def lengths():
            ends = set()
            for name in self.names:
                r = Resp(self.ports[name], 5)
                try:
                    ends.add(r("XLEN", "engine"))
                except RespError:
                    return None
                finally:
                    r.close()
            return len(ends) == 1
        def quiet():
            try:
                return lengths()
            except OSError:
                return None
        wait_for(quiet, seconds, "all nodes show logs of the same length")
        logs = {name: self.xrange(self.ports[name]) for name in self.names}
        first = logs[self.names[0]]
        for name, log in logs.items():
            assert log == first, "the log of %s differs from that of %s" % (name, self.names[0])
        return first


class Producer(threading.Thread):
    """Appends numbered messages with IDMP ids, `window` in flight, in order. A lost connection (a gateway that died) is
    made again and what is unanswered is sent again with the same ids; an error reply is noted and ends it."""

    def __init__(self, port, name, window=8):
        super().__init__(daemon=True)
        self.port, self.name_, self.window = port, name, window
        self.acks = {}          # number -> sequence
        self.errors = []
        self.reconnects = 0
        self.longest_pause = 0.0
        self.halt = threading.Event()
        self.sent = 0

    def message(self, i):
        return ("XADD", "engine", "IDMP", self.name_, str(i), "*", "v", "%s:%d" % (self.name_, i))

    def run(self):
        while not (self.halt.is_set() and len(self.acks) == self.sent) and not self.errors:
            try:
                self.connection()
            except OSError:
                self.reconnects += 1
                time.sleep(0.05)

    def connection(self):
        r = Resp(self.port, 90)
        try:
            unanswered = [i for i in range(self.sent) if i not in self.acks]
            for i in unanswered:
                r.send(*self.message(i))
            last = time.monotonic()
            while True:
                while len(unanswered) < self.window and not self.halt.is_set():
                    unanswered.append(self.sent)
                    r.send(*self.message(self.sent))
                    self.sent += 1
                if not unanswered:
                    return
                reply = r.read()
                now = time.monotonic()
                self.longest_pause = max(self.longest_pause, now - last)
                last = now
                if isinstance(reply, RespError):
                    self.errors.append((unanswered[0], str(reply)))
                    return
                self.acks[unanswered.pop(0)] = seq_of(reply)
        finally:
            r.close()

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


def main(tests):
    """Runs the functions in order (or those named on the command line), prints libcheck's closing line."""
    chosen = [t for t in tests if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    failed = 0
    for t in chosen:
        begin = time.monotonic()
        try:
            t()
            print("ok %s (%.1f s)" % (t.__name__, time.monotonic() - begin), flush=True)
        except Exception as e:  # a test that fails must not keep the others from running
            import traceback
            traceback.print_exc()
            failed += 1
            print("FAILED %s: %s" % (t.__name__, e), flush=True)
    print("%d%%: Checks: %d, Failures: %d, Errors: 0" % (
        100 * (len(chosen) - failed) // max(1, len(chosen)), len(chosen), failed))
    sys.exit(1 if failed else 0)
