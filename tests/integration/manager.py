"""A small service manager for the gateway, and for nodes: it reads the notify socket, keeps descriptors over restarts
(FDSTORE, FDNAME, FDSTOREREMOVE, BARRIER) and passes them on with the listening socket, as systemd does."""

import array
import os
import socket
import subprocess
import sys
import threading
import time

from cluster import SLOW
from leashtest import BUILD, Client, Process, _die_with_parent, wait_for

FDS_MAX = 300  # of one message
START = """
import fcntl, os, sys
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 512) for fd in sys.argv[1].split(",") if fd]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.closerange(3 + len(high), 512)
if high:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)))
if os.environ.get("WATCHDOG_USEC"):
    os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """`keeps`: whether it has a file-descriptor store (FileDescriptorStoreMax= above 0)."""

    def __init__(self, test, name, keeps=True, watchdog_us=0):
        self.name, self.keeps, self.watchdog_us = name, keeps, watchdog_us
        self.path = os.path.join(test.dir, name + ".notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.lock = threading.Lock()
        self.store = []     # (name, descriptor)
        self.heard = []     # (time, {key: value})
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            data, control, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(FDS_MAX * 4))
            fds = array.array("i")
            for level, kind, body in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(body[:len(body) - len(body) % fds.itemsize])
            with self.lock:
                self.take(dict(line.split("=", 1) for line in data.decode().split("\n") if "=" in line), list(fds))

    def take(self, message, fds):
        self.heard.append((time.monotonic(), message))
        if message.get("FDSTORE") == "1" and self.keeps:
            assert message.get("FDPOLL") == "0", "one end of a bag is closed: systemd would drop it"
            self.store += [(message["FDNAME"], fd) for fd in fds]
            fds = []
        if message.get("FDSTOREREMOVE") == "1":
            gone = [fd for name, fd in self.store if name == message["FDNAME"]]
            self.store = [(name, fd) for name, fd in self.store if name != message["FDNAME"]]
            fds = fds + gone
        for fd in fds:  # of a barrier, too: closing is the answer
            os.close(fd)

    def discard(self):
        """As systemd 252 does when a service is stopped."""
        with self.lock:
            for _, fd in self.store:
                os.close(fd)
            self.store = []

    def times(self, key, value=None, since=0):
        """When it heard this."""
        with self.lock:
            return [t for t, m in self.heard if t >= since and key in m and value in (None, m[key])]

    def values(self, key, since=0):
        with self.lock:
            return [m[key] for t, m in self.heard if t >= since and key in m]

    def env(self):
        env = dict(os.environ, NOTIFY_SOCKET=self.path)
        if self.watchdog_us:
            env["WATCHDOG_USEC"] = str(self.watchdog_us)
        return env

    def spawn(self, argv, listening, log):
        """`listening`: a list of (name, socket)."""
        with self.lock:
            passed = [(name, s.fileno()) for name, s in listening] + list(reversed(self.store))
            env = self.env()
            if passed:
                env["LISTEN_FDNAMES"] = ":".join(name for name, _ in passed)
            fds = [fd for _, fd in passed]
            return subprocess.Popen([sys.executable, "-c", START, ",".join(map(str, fds)), *argv], pass_fds=fds, env=env,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent)


class ManagedGateway(Process):
    """A gateway whose listening socket is the manager's, as with leash-gatewayd.socket."""

    def __init__(self, test, etcd, name="gw", keeps=True, watchdog_us=0, **options):
        self.manager = Manager(test, name, keeps, watchdog_us)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.options = {"etcd_endpoints": etcd.url, "log_target": "stderr", "log_level": "debug"}
        self.options.update(options)
        super().__init__(test, name, None)
        self.start()

    def start(self):
        begin = time.monotonic()
        argv = [os.path.join(BUILD, "leash-gatewayd")]
        argv += ["--%s=%s" % (k.replace("_", "-"), v) for k, v in self.options.items()]
        with open(self.log, "ab") as log:
            self.popen = self.manager.spawn(argv, [("leash-gatewayd.socket", self.listener)], log)
        wait_for(lambda: self.manager.times("READY", "1", begin) or not self.running(), "READY", 30 * SLOW)
        assert self.running(), self.output()[-3000:]
        return self

    def restart(self):
        """As `systemctl restart`; returns for how long it was away."""
        self.signal(15)
        status = self.wait(40 * SLOW)
        begin = time.monotonic()
        assert status == 0, "the gateway ended with %s" % status
        self.start()
        return time.monotonic() - begin

    def client(self):
        return Client("127.0.0.1", self.port, timeout_s=90 * SLOW)
