"""Systems that a user would pick instead, from Debian's packages, with the same work and their durable settings."""

import os

import leashtest
import systems

REDIS_SERVER = "/usr/bin/redis-server"


class RedisServers:
    """A primary and two replicas that sync each append; the replicas follow before the constructor returns."""

    def __init__(self, ctx):
        self.test = ctx.new_test()
        self.ports = leashtest.free_ports(3)
        self.servers = [self.start(ctx, i) for i in range(3)]
        leashtest.wait_for(self.followed, "both replicas follow", 60)

    def start(self, ctx, i):
        where = os.path.join(self.test.dir, "redis%d" % i)
        os.mkdir(where)
        argv = [REDIS_SERVER, "--port", str(self.ports[i]), "--bind", "127.0.0.1", "--dir", where, "--appendonly", "yes",
                "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no", "--auto-aof-rewrite-percentage", "0",
                "--save", "", "--repl-diskless-sync-delay", "0", "--client-output-buffer-limit", "replica 0 0 0"]
        if i > 0:
            argv += ["--replicaof", "127.0.0.1", str(self.ports[0])]
        p = leashtest.Process(self.test, "redis%d" % i, argv).start()
        leashtest.wait_for(lambda: self.call(i, "PING") == "PONG", "redis%d answers" % i)
        ctx.pin.server(p.popen.pid)
        return p

    def call(self, i, *args):
        with leashtest.Client("127.0.0.1", self.ports[i]) as c:
            return c.call(*args)

    def followed(self):
        return all(b"master_link_status:up" in self.call(i, "INFO", "replication") for i in (1, 2))

    def empty(self):
        """What the run before left in memory goes, at all three, before the next begins."""
        self.call(0, "DEL", "bench")
        assert self.call(0, "WAIT", 2, 60000) == 2


class Redis(systems.System):
    name = "redis WAIT 2"
    wait = 2
    package = "redis-server"

    def __init__(self, ctx):
        super().__init__(ctx)
        self.load = os.path.join(ctx.builddir, "bench", "redis-load")
        if not os.access(REDIS_SERVER, os.X_OK):
            self.missing = "package redis-server is not installed"
        elif not os.access(self.load, os.X_OK):
            self.missing = "its load is not built: make bench-programs"

    def start(self):
        self.servers = self.ctx.shared("redis", lambda: RedisServers(self.ctx))

    def stop(self):
        self.servers = None

    def groups(self):
        pids = [p.popen.pid for p in self.servers.servers]
        return {"primary": pids[:1], "secondaries": pids[1:]}

    def before(self, shape):
        self.servers.empty()

    def commands(self, shape, seconds):
        return [[self.load, "--json", "--server", "127.0.0.1:%d" % self.servers.ports[0], "--connections",
                 str(shape.connections), "--depth", str(shape.depth), "--payload", str(shape.payload), "--wait",
                 str(self.wait), "--seconds", "%dms" % (seconds * 1000), "--warmup", "%dms" % (systems.WARMUP_S * 1000)]]


class RedisNoWait(Redis):
    name = "redis no WAIT"
    wait = 0
    durable = False


PEERS = (Redis, RedisNoWait)
