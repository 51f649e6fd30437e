"""NATS JetStream: three servers, a stream with three replicas on files.

Debian 12 has 2.9, which cannot sync each message (sync_interval, and sync always in 2.10, came later): what it acknowledges
is in the memory of two servers.
"""

import json
import os
import socket

import leashtest
from peer import Peer


class Wire:
    """One request at a time over NATS's own protocol."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.sock.makefile("rb")
        self.sock.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB _INBOX.ask 1\r\n')

    def ask(self, subject, body=None):
        data = json.dumps(body).encode() if body is not None else b""
        self.sock.sendall(b"PUB %s _INBOX.ask %d\r\n%s\r\n" % (subject.encode(), len(data), data))
        while True:
            line = self.file.readline()
            if not line:
                raise leashtest.ConnectionLost("NATS closed the connection")
            if line.startswith(b"MSG "):
                return json.loads(self.file.read(int(line.split()[-1]) + 2))
            if line.startswith(b"PING"):
                self.sock.sendall(b"PONG\r\n")

    def close(self):
        self.file.close()
        self.sock.close()


class NatsServers:
    def __init__(self, ctx):
        self.test = ctx.new_test()
        ports = leashtest.free_ports(6)
        self.ports, routes = ports[:3], ports[3:]
        self.servers = []
        for i in range(3):
            conf = os.path.join(self.test.dir, "nats%d.conf" % i)
            with open(conf, "w", encoding="ascii") as f:
                f.write('server_name: n%d\nlisten: "127.0.0.1:%d"\njetstream {store_dir: "%s"}\ncluster {name: bench, '
                        'listen: "127.0.0.1:%d", routes: [%s]}\n' % (
                            i, self.ports[i], os.path.join(self.test.dir, "nats%d" % i), routes[i],
                            ", ".join('"nats://127.0.0.1:%d"' % r for r in routes)))
            p = leashtest.Process(self.test, "nats%d" % i, [NatsPeer.program, "-c", conf]).start()
            self.servers.append(p)
        leashtest.wait_for(self.make_stream, "NATS has made the stream", 60)
        for p in self.servers:
            ctx.pin.server(p.popen.pid)

    def ask(self, *args):
        w = Wire(self.ports[0])
        try:
            return w.ask(*args)
        finally:
            w.close()

    def make_stream(self):
        said = self.ask("$JS.API.STREAM.CREATE.BENCH", {"name": "BENCH", "subjects": ["bench"], "num_replicas": 3,
                                                        "storage": "file", "retention": "limits", "discard": "old"})
        return "error" not in said

    def leader(self):
        name = self.ask("$JS.API.STREAM.INFO.BENCH").get("cluster", {}).get("leader", "n0")
        return int(name[1:])

    def groups(self):
        pids = [p.popen.pid for p in self.servers]
        return {"primary": [pids.pop(self.leader())], "secondaries": pids}


class NatsPeer(Peer):
    name = "nats 2.9"
    program, package, load_name = "/usr/sbin/nats-server", "nats-server", "nats-load"
    durable = False

    def make(self):
        print("nats: Debian 12's 2.9 cannot sync each message; what it acknowledges is in memory only")
        return NatsServers(self.ctx)

    def before(self, shape):
        self.servers.ask("$JS.API.STREAM.PURGE.BENCH")

    def commands(self, shape, seconds):
        return [self.load_argv("127.0.0.1:%d" % self.servers.ports[self.servers.leader()], shape, seconds)]
