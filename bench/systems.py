"""What takes appends: leash in several ways, and the floor under all. Peers are in peers.py.

A system is started once and then asked to take one shape of work after the other. measure() returns
    per_second, append_ns {p50, ...}, cpu {kind of process: CPU seconds per million records}, generator_cpu
"""

import math
import os

import cluster
import leashtest
import load
import machine

NODE = {
    "log_level": "info",
    "segment_bytes": "64M",
    "retention_bytes": "2G",
    "lease_ttl": "10",
    "failure_timeout": "2000ms",
    "disk_timeout": "5s",
}
WARMUP_S = 0.5


def bench_argv(ctx, target, shape, seconds=None, warmup_s=WARMUP_S, **options):
    """leash bench at HOST:PORT; count=1000 is --count=1000, ids=True is --ids."""
    argv = [os.path.join(ctx.builddir, "leash"), "bench", "--yes", "--json", "--gateway", target, "--connections",
            str(shape.connections), "--depth", str(shape.depth), "--payload", str(shape.payload), "--warmup",
            "%dms" % (warmup_s * 1000)]
    if seconds:
        argv += ["--seconds", "%dms" % (seconds * 1000)]
    return argv + ["--" + k if v is True else "--%s=%s" % (k, v) for k, v in options.items()]


def load_argv(ctx, name, target, shape, seconds, **options):
    """One of bench/'s generators for peers."""
    return [os.path.join(ctx.builddir, "bench", name), "--json", "--server", target, "--connections", str(shape.connections),
            "--depth", str(shape.depth), "--payload", str(shape.payload), "--seconds", "%dms" % (seconds * 1000),
            "--warmup", "%dms" % (WARMUP_S * 1000)] + ["--%s=%s" % option for option in options.items()]


class System:
    """`ctx`: bench/run's context."""

    name = None
    durable = True  # three nodes have a record on disk when it is acknowledged
    missing = None  # why it cannot run here

    def __init__(self, ctx):
        self.ctx = ctx
        self.test = None

    def start(self):
        self.test = self.ctx.new_test()

    def stop(self):
        if self.test:
            self.ctx.end_test(self.test)
        self.test = None

    def groups(self):
        """{kind: [pid, ...]} of the servers."""
        raise NotImplementedError

    def commands(self, shape, seconds):
        """Command lines of the generators, which run side by side."""
        raise NotImplementedError

    def records(self):
        """How many there are in all; None: the generator knows."""
        return None

    def before(self, shape):
        """Makes ready for a run."""

    def measure(self, shape, seconds):
        self.before(shape)
        count, cpu = self.records(), machine.Cpu(self.groups())
        said = load.run(self.commands(shape, seconds), self.ctx.pin, seconds)
        used = cpu.used_s()
        records = said["records"] if count is None else self.records() - count
        return self.result(said, used, records)

    @staticmethod
    def result(said, used, records):
        millions = records / 1e6
        return {
            "per_second": said["per_second"],
            "append_ns": said["append_ns"],
            "cpu": {kind: s / millions for kind, s in used.items()},
            "server_cpu": sum(used.values()) / millions,
            "generator_cpu": said["generator_cpu_s"] / millions,
        }


class LeashServers:
    """etcd, nodes and gateways of the tree that was built; others of this file share one."""

    def __init__(self, ctx, nodes=3, gateways=2, gateway=None, make_node=leashtest.Node, **options):
        self.test = ctx.new_test()
        settings = dict(NODE, min_insync=str(min(2, nodes)))
        settings.update(options)
        self.cluster = cluster.Cluster(self.test, nodes, gateway=False, node=make_node, **settings)
        self.etcd, self.nodes = self.cluster.etcd, self.cluster.nodes
        self.gateways = [cluster.Gateway(self.test, self.etcd, name="gw%d" % i, log_level="info", **gateway or {})
                         for i in range(gateways)]
        self.primary = self.cluster.wait_primary()
        for p in self.test.processes:
            ctx.pin.server(p.popen.pid)

    def appended(self):
        """The number of the last record."""
        with self.primary.client() as c:
            return leashtest.pairs(c.call("XINFO", "STREAM", "engine"))["entries-added"]

    def gateway_address(self, i=0):
        return "127.0.0.1:%d" % self.gateways[i].port

    def fill(self, ctx, n_bytes, payload):
        """Appends until the log has about so many bytes. All records have ids, so that a table of ids is full."""
        while self.log_bytes(self.primary) < n_bytes:
            missing = n_bytes - self.log_bytes(self.primary)
            ctx.progress("filling the log: %s to go" % load.size_text(missing >> 20 << 20))
            load.run([bench_argv(ctx, self.primary.address, load.Shape(50, 16, payload), warmup_s=0, ids=True,
                                 count=max(1000, min(missing, 256 << 20) // (payload + 150)))], ctx.pin, 600)

    @staticmethod
    def log_bytes(node):
        return node.status()["log"]["bytes"]

    def secondaries(self):
        return [n for n in self.nodes if n is not self.primary]


class Leash(System):
    nodes = 3
    gateways = 1  # that the load goes through; 0: straight to the primary

    def start(self):
        self.servers = self.ctx.leash_servers(self.nodes)

    def stop(self):
        self.servers = None

    def groups(self):
        s = self.servers
        found = {"primary": [s.primary.popen.pid], "secondaries": [n.popen.pid for n in s.secondaries()]}
        if self.gateways:
            found["gateway"] = [g.popen.pid for g in s.gateways[:self.gateways]]
        return found

    def records(self):
        return self.servers.appended()

    def before(self, shape):
        self.servers.cluster.wait_in_sync()
        self.servers.primary = self.servers.cluster.wait_primary()

    def measure(self, shape, seconds):
        """What was measured while a node was out of the in-sync set, or another one took over, is of something else."""
        found = super().measure(shape, seconds)
        s = self.servers
        if s.cluster.primary() is not s.primary:
            raise load.LoadFailed("the primary moved")
        if len(set(s.etcd.insync())) < len(s.nodes):
            raise load.LoadFailed("a node left the in-sync set")
        return found

    def targets(self):
        if not self.gateways:
            return [self.servers.primary.address]
        return [self.servers.gateway_address(i) for i in range(self.gateways)]

    def commands(self, shape, seconds):
        targets = self.targets()
        each = shape._replace(connections=max(1, shape.connections // len(targets)))
        if self.ctx.args.same_load:
            return [load_argv(self.ctx, "redis-load", target, each, seconds, stream="engine") for target in targets]
        return [bench_argv(self.ctx, target, each, seconds) for target in targets]


class LeashGateway(Leash):
    name = "leash gateway"


class LeashDirect(Leash):
    name = "leash direct"
    gateways = 0


class LeashTwoGateways(Leash):
    name = "leash 2 gateways"
    gateways = 2


class LeashOneNode(Leash):
    name = "leash 1 node gateway"
    nodes = 1
    durable = False


class LeashOneNodeDirect(Leash):
    name = "leash 1 node direct"
    nodes = 1
    gateways = 0
    durable = False


class Floor(System):
    """bench/floor with as many records in a batch as such a load makes."""

    name = "floor"
    BATCHES = {(1, 1): 1, (50, 1): 16, (50, 16): 64, (50, 64): 256}

    def __init__(self, ctx):
        super().__init__(ctx)
        self.program = os.path.join(ctx.builddir, "bench", "floor")
        if not os.access(self.program, os.X_OK):
            self.missing = "not built: make bench-programs"

    def batch(self, shape):
        if shape.payload >= 16384 and shape.connections * shape.depth >= 16:
            return 16
        works = max(1, shape.connections * shape.depth // 12)
        return self.BATCHES.get((shape.connections, shape.depth), 1 << int(math.log2(works)))

    def measure(self, shape, seconds):
        pin = self.ctx.pin
        argv = [self.program, "--json", "--batch", str(self.batch(shape)), "--payload", str(shape.payload),
                "--seconds", "%dms" % (seconds * 1000), "--dir", self.test.dir]
        if pin.how != machine.PIN_NO:
            argv += ["--client-cpu", str(min(pin.clients)), "--server-cpu", str(min(pin.servers))]
        said = load.run([argv], machine.Pin(machine.PIN_NO), seconds)
        said["generator_cpu_s"] = said["client_cpu_s"]
        found = self.result(said, {"servers": said["server_cpu_s"]}, said["records"])
        found["batch"] = self.batch(shape)
        return found


LEASH = (LeashGateway, LeashDirect)
LEASH_MORE = (LeashTwoGateways, LeashOneNode, LeashOneNodeDirect)
