"""What integration tests share: etcd, nodes and gateways as processes of this test, and a RESP client.

Everything runs on 127.0.0.1 in a directory of its own under $TMPDIR, which is removed in the end unless the test failed.
Processes die with the test (PR_SET_PDEATHSIG). Ports are free ones; those of nodes are chosen by the kernel and kept
over restarts. Nothing sleeps to synchronise: wait_for() looks for a condition until a deadline.

    def main(t):
        etcd = Etcd(t)
        nodes = [Node(t, etcd, name) for name in ("P1", "S1", "S2")]
        primary = wait_primary(nodes)
        with primary.client() as c:
            assert c.call("XADD", "engine", "*", "f", "v") == b"1-0"

    if __name__ == "__main__":
        run(main)

Programs are taken from $LEASH_BUILDDIR, else the current directory. A test that cannot run here ends with 77 (skipped).
"""
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

BUILD = os.environ.get("LEASH_BUILDDIR", os.getcwd())
ETCD = "/usr/bin/etcd"
DEADLINE_S = float(os.environ.get("LEASH_TEST_DEADLINE", "30"))
PR_SET_PDEATHSIG = 1


class Skip(Exception):
    """This machine lacks something; the test is skipped."""


class Failed(AssertionError):
    """A condition did not come true in time."""


def wait_for(condition, what, deadline_s=None, pause_s=0.02):
    """Calls condition() until it returns something true, which is returned. Errors of connections count as not yet."""
    end = time.monotonic() + (deadline_s or DEADLINE_S)
    last = None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
            last = None
        except (OSError, RespError, ConnectionLost) as e:
            last = e
        time.sleep(pause_s)
    raise Failed("not within %g s: %s%s" % (deadline_s or DEADLINE_S, what, " (%s)" % last if last else ""))


def free_ports(n):
    """Ports that are free now. All are held until all are known, so that none comes twice."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


# ------------------------------------------------------------------------------------------------------------- processes


def _die_with_parent():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A program with its output in a file. start() may be called again after it ended."""

    def __init__(self, test, name, argv, env=None):
        self.test = test
        self.name = name
        self.argv = argv
        self.env = env
        self.log = os.path.join(test.dir, name + ".log")
        self.popen = None
        test.processes.append(self)

    def start(self):
        assert not self.running()
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                preexec_fn=_die_with_parent,
                close_fds=True,
            )
        return self

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def signal(self, sig):
        self.popen.send_signal(sig)

    def kill(self):
        """SIGKILL, reaped."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()

    def stop(self, deadline_s=None):
        """SIGTERM; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline_s)

    def wait(self, deadline_s=None):
        try:
            return self.popen.wait(deadline_s or DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise Failed("%s does not end" % self.name)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def output(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""


# ------------------------------------------------------------------------------------------------------------------ etcd


class Etcd(Process):
    """One member, started and ready."""

    def __init__(self, test, name="etcd"):
        if not os.access(ETCD, os.X_OK):
            raise Skip("no etcd here")
        self.port, self.peer_port = free_ports(2)
        self.url = "http://127.0.0.1:%d" % self.port
        peer = "http://127.0.0.1:%d" % self.peer_port
        self.data = os.path.join(test.dir, name)
        argv = [
            ETCD,
            "--name=" + name,
            "--data-dir=" + self.data,
            "--listen-client-urls=" + self.url,
            "--advertise-client-urls=" + self.url,
            "--listen-peer-urls=" + peer,
            "--initial-advertise-peer-urls=" + peer,
            "--initial-cluster=%s=%s" % (name, peer),
            "--initial-cluster-token=" + test.dir,
            "--heartbeat-interval=50",
            "--election-timeout=500",
            "--logger=zap",
        ]
        super().__init__(test, name, argv)
        self.start()
        self.wait_ready()

    def wait_ready(self):
        wait_for(lambda: "header" in self.post("/v3/kv/txn", {}), "etcd is ready")

    def post(self, path, body, timeout_s=5):
        return self.post_to(self.url, path, body, timeout_s)

    def post_to(self, url, path, body, timeout_s):
        request = urllib.request.Request(url + path, json.dumps(body).encode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=timeout_s) as answer:
            return json.load(answer)

    def get(self, key):
        """The value of a key as text; None: there is no such key."""
        kvs = self.post("/v3/kv/range", {"key": _b64(key)}).get("kvs")
        return _unb64(kvs[0]["value"]) if kvs else None

    def put(self, key, value):
        self.post("/v3/kv/put", {"key": _b64(key), "value": _b64(value)})

    def delete(self, key):
        self.post("/v3/kv/deleterange", {"key": _b64(key)})

    def delete_all(self):
        """etcdctl del "" --prefix"""
        self.post("/v3/kv/deleterange", {"key": "AA==", "range_end": "AA=="})

    def leader(self, engine="engine"):
        """The leader key's value as a dict, or None."""
        value = self.get(engine + "/leader")
        return json.loads(value) if value else None

    def insync(self, engine="engine"):
        """Names of the in-sync set, in its order."""
        value = self.get(engine + "/insync")
        return [m["node"] for m in json.loads(value)["members"]] if value else []


def _b64(text):
    import base64

    return base64.b64encode(text.encode()).decode()


def _unb64(text):
    import base64

    return base64.b64decode(text).decode()


# ----------------------------------------------------------------------------------------------------------------- nodes


class Node(Process):
    """A leash-noded, started; it listens when the constructor returns. `options`: key=value as in its configuration."""

    def __init__(self, test, etcd, name, start=True, **options):
        self.engine = options.get("engine", "engine")
        self.node = name
        self.dir = os.path.join(test.dir, "%s-%s" % (self.engine, name))
        self.run_dir = os.path.join(test.dir, "run-%s-%s" % (self.engine, name))
        self.control = os.path.join(self.run_dir, "control.sock")
        self.address = None
        self.options = {
            "engine": self.engine,
            "listen": "127.0.0.1:0",
            "etcd_endpoints": etcd.url,
            "data_dir": self.dir,
            "runtime_dir": self.run_dir,
            "segment_bytes": "4M",
            "lease_ttl": "2",
            "failure_timeout": "300ms",
            "disk_timeout": "1500ms",
            "log_target": "stderr",
            "log_level": "debug",
        }
        self.options.update(options)
        super().__init__(test, "%s-%s" % (self.engine, name), None)
        if start:
            self.start()

    def start(self, wait=True):
        program = os.path.join(BUILD, "leash-noded")
        args = ["--%s=%s" % (k.replace("_", "-"), v) for k, v in self.options.items()]
        self.argv = [program, self.node] + args
        seen = len(self.output())
        super().start()
        if wait:
            self._wait_listening(seen)
        return self

    def _wait_listening(self, seen):
        def listening():
            m = re.search(r"listens on (127\.0\.0\.1:\d+)", self.output()[seen:])
            if m is None and not self.running():
                raise Failed("%s ended with %s:\n%s" % (self.name, self.popen.returncode, self.output()[seen:][-2000:]))
            return m

        self.address = wait_for(listening, "%s listens" % self.name).group(1)
        self.options["listen"] = self.address  # the same after a restart

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def client(self, **kwargs):
        return Client("127.0.0.1", self.port, **kwargs)

    def admin(self, *verb):
        """LEASH <verb> over the control socket."""
        with Client(path=self.control) as c:
            return c.call("LEASH", *verb)

    def status(self):
        return json.loads(self.admin("STATUS"))

    def role(self):
        """'master' or 'slave', as ROLE says; None: it does not answer."""
        try:
            with self.client(timeout_s=5) as c:
                return c.call("ROLE")[0].decode()
        except (OSError, ConnectionLost):
            return None


def wait_primary(nodes, deadline_s=None, but=()):
    """The node of `nodes` that says it is primary and takes reads; not one of `but`."""

    def find():
        for n in nodes:
            if n not in but and n.running() and n.role() == "master":
                with n.client() as c:
                    c.call("XLEN", n.engine)
                return n
        return None

    return wait_for(find, "there is a primary", deadline_s)


# ------------------------------------------------------------------------------------------------------------ RESP client


class RespError(Exception):
    """An error reply."""

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class ConnectionLost(Exception):
    pass


class Client:
    """RESP over TCP or a Unix socket. call() raises RespError for an error reply; send() and read() pipeline."""

    def __init__(self, host=None, port=None, path=None, timeout_s=None):
        timeout_s = timeout_s or DEADLINE_S
        if path is not None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout_s)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection((host, port), timeout=timeout_s)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, *args):
        parts = [b"*%d\r\n" % len(args)]
        for a in args:
            b = a if isinstance(a, bytes) else str(a).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(b), b))
        self.sock.sendall(b"".join(parts))

    def send_raw(self, data):
        self.sock.sendall(data)

    def call(self, *args):
        self.send(*args)
        value = self.read()
        if isinstance(value, RespError):
            raise value
        return value

    def _line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionLost("the connection ended")
        return line[:-2]

    def _bytes(self, n):
        data = self.file.read(n + 2)
        if len(data) != n + 2:
            raise ConnectionLost("the connection ended")
        return data[:-2]

    def read(self):
        """The next reply. Errors are returned, not raised."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RespError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind in b"$=":
            if rest == b"-1":
                return None
            data = self._bytes(int(rest))
            return data[4:] if kind == b"=" else data
        if kind in b"*~>":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"%":
            return {_key(self.read()): self.read() for _ in range(int(rest))}
        raise ConnectionLost("no RESP: %r" % line)


def _key(value):
    return value.decode() if isinstance(value, bytes) else value


def pairs(array):
    """A map that RESP2 sends as a flat array."""
    return {_key(array[i]): array[i + 1] for i in range(0, len(array), 2)}


# --------------------------------------------------------------------------------------------------------------- the test


class Test:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="leash-", dir=os.environ.get("TMPDIR"))
        self.processes = []

    def check_alive(self):
        """No program of the test has ended by itself with a sanitizer's or an assert's word."""
        for p in self.processes:
            for word in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "assertion failed"):
                assert word not in p.output(), "%s: %s" % (p.name, p.output()[-4000:])

    def end(self):
        for p in reversed(self.processes):
            if p.running():
                p.kill()

    def tell(self):
        for p in self.processes:
            if isinstance(p, Etcd):
                continue
            sys.stderr.write("---- %s\n%s\n" % (p.name, p.output()[-6000:]))


def run(main):
    """main(test) and the exit status: 0, 1 (the directory stays), 77."""
    t = Test()
    try:
        main(t)
        t.check_alive()
        status = 0
    except Skip as e:
        print("skipped: %s" % e)
        status = 77
    except BaseException:  # also KeyboardInterrupt: the processes must end
        traceback.print_exc()
        t.tell()
        status = 1
    t.end()
    if status == 1:
        print("what it left is in %s" % t.dir)
    else:
        shutil.rmtree(t.dir, ignore_errors=True)
    sys.exit(status)
