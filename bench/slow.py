"""Does a slow reader, or a slow secondary, slow the producers?

A reader that asks for the whole log many times over, and one that waits for records, both of which never read an answer; at
the gateway and at the primary. A secondary whose connection from the primary passes 1 MB/s: it must leave the in-sync set.
"""

import socket
import threading
import time

import append
import leashtest
import load
import systems
import table
from leashtest import wait_for

CHUNK = 16384
SLOW_BYTES_S = 1000000
ONSET_S = 10  # of the run in which a secondary becomes slow
SHAPE = load.Shape(50, 16, 128)


class Throttle:
    """A TCP proxy on a port of its own; what goes to the target passes at bytes_s (None: as fast as it can)."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * CHUNK)  # else the kernel holds megabytes for us
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.target = None
        self.bytes_s = None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            here, _ = self.listener.accept()
            try:
                there = socket.create_connection(self.target)
            except (OSError, TypeError):
                here.close()  # nobody there, or nobody known yet
                continue
            for s in (here, there):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pump, args=(here, there, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(there, here, False), daemon=True).start()

    def pump(self, source, sink, throttled):
        try:
            data = source.recv(CHUNK)
            while data:
                sink.sendall(data)
                if throttled and self.bytes_s:
                    time.sleep(len(data) / self.bytes_s)
                data = source.recv(CHUNK)
        except OSError:
            pass  # one end was closed: so is the other
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def stopped_readers(port):
    """Two clients that are due answers and take none."""
    asks = leashtest.Client("127.0.0.1", port)
    for _ in range(1000):
        asks.send("XRANGE", "engine", "-", "+", "COUNT", 1000)
    waits = leashtest.Client("127.0.0.1", port)
    waits.send("XREAD", "BLOCK", 0, "STREAMS", "engine", "$")
    return [asks, waits]


def rate(ctx, target, payload=128):
    return load.run([systems.bench_argv(ctx, target, SHAPE._replace(payload=payload), ctx.args.seconds)], ctx.pin, ctx.args.seconds)


def brief(name, via, said):
    return {"name": name, "via": via, "per_second": said["per_second"], "append_ns": said["append_ns"]}


def with_stopped_readers(ctx):
    servers = systems.LeashServers(ctx, gateways=1)
    targets = {"gateway": servers.gateway_address(), "direct": servers.primary.address}
    runs = []
    for i in range(ctx.args.runs):
        for via, target in targets.items():
            ctx.progress("run %d: a stopped reader, %s" % (i + 1, via))
            runs.append(brief("nobody reads", via, rate(ctx, target)))
            readers = stopped_readers(int(target.rsplit(":", 1)[1]))
            runs.append(brief("two readers that stopped", via, rate(ctx, target)))
            for r in readers:
                r.close()
    ctx.end_test(servers.test)
    return runs


def throttled_cluster(ctx, throttle):
    """S2 is reached through the throttle."""
    def make_node(test, etcd, name, **options):
        if name != "S2":
            return leashtest.Node(test, etcd, name, **options)
        node = leashtest.Node(test, etcd, name, advertise=throttle.address, **options)
        throttle.target = ("127.0.0.1", node.port)
        return node

    servers = systems.LeashServers(ctx, gateways=1, make_node=make_node)
    assert servers.primary.node != "S2", "S2 is to be a secondary"
    return servers


def become_slow(ctx, servers, throttle, payload):
    """The run in which it begins; and after how many seconds S2 was out of the in-sync set (None: it never was)."""
    began, left_s = time.monotonic(), None
    throttle.bytes_s = SLOW_BYTES_S
    argv = systems.bench_argv(ctx, servers.gateway_address(), SHAPE._replace(payload=payload), ONSET_S, warmup_s=0)
    p = load.start(argv, ctx.pin)
    while p.poll() is None:
        if left_s is None and "S2" not in servers.etcd.insync():
            left_s = time.monotonic() - began
        time.sleep(0.05)
    return load.finish(p, 60), left_s


def with_slow_secondary(ctx):
    throttle = Throttle()
    servers = throttled_cluster(ctx, throttle)
    target, runs = servers.gateway_address(), []
    for i in range(ctx.args.runs):
        for payload in (128, 16384):
            ctx.progress("run %d: a slow secondary, %d bytes" % (i + 1, payload))
            via = "gateway, " + load.size_text(payload)
            runs.append(brief("all three in sync", via, rate(ctx, target, payload)))
            said, left_s = become_slow(ctx, servers, throttle, payload)
            runs.append(dict(brief("S2 becomes slow", via, said), left_s=left_s))
            if left_s is not None:
                runs.append(brief("S2 slow, not in sync", via, rate(ctx, target, payload)))
            throttle.bytes_s = None
            wait_for(lambda: "S2" in servers.etcd.insync(), "S2 is back in sync", 300)
    ctx.end_test(servers.test)
    return runs


def measure(ctx):
    return with_stopped_readers(ctx) + with_slow_secondary(ctx)


def left_text(runs):
    """When S2 left, of the runs in which it became slow."""
    if "left_s" not in runs[0]:
        return ""
    return ", ".join("after %.1f s" % r["left_s"] if r["left_s"] is not None else "never" for r in runs)


def tell(runs):
    rows = []
    for name, via in dict.fromkeys((r["name"], r["via"]) for r in runs):
        same = [r for r in runs if (r["name"], r["via"]) == (name, via)]
        m = append.medians([{k: r[k] for k in ("per_second", "append_ns")} for r in same])
        rows.append(["%s: %s" % (via, name), "%.0f" % m["per_second"]] + [
            "%.3f" % (m["append_ns"][p] / 1e6) for p in ("p50", "p99", "max")] + [left_text(same)])
    print("\nslow readers and secondaries, as producers see them (50 x 16)")
    table.show(["", "acked/s", "p50 ms", "p99 ms", "max ms", "S2 left the set"], rows)
