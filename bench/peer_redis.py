"""Redis: a primary and two replicas, appendfsync always on all three."""

import os

import leashtest
from peer import Peer


class RedisServers:
    """The replicas follow before the constructor returns."""

    def __init__(self, ctx):
        self.test = ctx.new_test()
        self.ports = leashtest.free_ports(3)
        self.servers = [self.start(ctx, i) for i in range(3)]
        leashtest.wait_for(self.followed, "both replicas follow", 60)

    def start(self, ctx, i):
        where = os.path.join(self.test.dir, "redis%d" % i)
        os.mkdir(where)
        argv = [Redis.program, "--port", str(self.ports[i]), "--bind", "127.0.0.1", "--dir", where, "--appendonly", "yes",
                "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no", "--auto-aof-rewrite-percentage", "0",
                "--save", "", "--repl-diskless-sync-delay", "0", "--client-output-buffer-limit", "replica 0 0 0"]
        if i > 0:
            argv += ["--replicaof", "127.0.0.1", str(self.ports[0])]
        p = leashtest.Process(self.test, "redis%d" % i, argv).start()
        leashtest.wait_for(lambda: self.call(i, "PING") == "PONG", "redis%d answers" % i)
        ctx.pin.server(p.popen.pid)
        return p

    def groups(self):
        pids = [p.popen.pid for p in self.servers]
        return {"primary": pids[:1], "secondaries": pids[1:]}

    def call(self, i, *args):
        with leashtest.Client("127.0.0.1", self.ports[i], timeout_s=90) as c:
            return c.call(*args)

    def followed(self):
        return all(b"master_link_status:up" in self.call(i, "INFO", "replication") for i in (1, 2))

    def empty(self):
        """What the run before left in memory goes, at all three, before the next begins."""
        with leashtest.Client("127.0.0.1", self.ports[0], timeout_s=90) as c:
            c.call("DEL", "bench")
            replicas = c.call("WAIT", 2, 60000)
        assert replicas == 2, "only %d replicas followed within a minute" % replicas


class Redis(Peer):
    name = "redis WAIT 2"
    program, package, load_name = "/usr/bin/redis-server", "redis-server", "redis-load"
    wait = 2

    def make(self):
        return RedisServers(self.ctx)

    def before(self, shape):
        self.servers.empty()

    def commands(self, shape, seconds):
        return [self.load_argv("127.0.0.1:%d" % self.servers.ports[0], shape, seconds, wait=self.wait)]


class RedisNoWait(Redis):
    name = "redis no WAIT"
    wait = 0
    durable = False
