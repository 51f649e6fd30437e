"""How fast a node that was away catches up: stopped while records are appended, then started again, idle or under load."""

import time

import load
import systems
import table
from leashtest import wait_for

MIB = 1 << 20


def caught_up(servers, node):
    return node.node in servers.etcd.insync()


def one(ctx, servers, payload, n_bytes, rate):
    """Seconds from the start of the process until it is in sync again, and until it has read its own log."""
    node = servers.secondaries()[-1]
    node.stop(60)
    wait_for(lambda: not caught_up(servers, node), "%s is out of the in-sync set" % node.node, 60)
    end, size = servers.appended(), servers.log_bytes(servers.primary)
    servers.fill(ctx, size + n_bytes, payload)
    lag = servers.appended() - end
    busy = load.start(systems.bench_argv(ctx, servers.gateway_address(), load.Shape(50, 1, payload), 600, rate=rate),
                      ctx.pin) if rate else None
    began = time.monotonic()
    try:
        node.start()
        opened_s = time.monotonic() - began
        wait_for(lambda: caught_up(servers, node), "%s is in sync again" % node.node, 300)
        seconds = time.monotonic() - began
    finally:
        if busy:
            busy.kill()
            busy.communicate()
    ctx.pin.server(node.popen.pid)
    return {"payload": payload, "records": lag, "rate_beside": rate, "opened_s": opened_s, "seconds": seconds,
            "mib_per_second": lag * payload / MIB / (seconds - opened_s),
            "records_per_second": lag / (seconds - opened_s)}


def measure(ctx):
    servers = systems.LeashServers(ctx, gateways=1, retention_bytes="0")
    n_bytes = (64 if ctx.args.quick else 512) * MIB
    found = []
    for payload, rate in ((128, 0), (1024, 0), (16384, 0), (128, 5000)):
        ctx.progress("catching up: payloads of %d, %d/s beside" % (payload, rate))
        found.append(one(ctx, servers, payload, n_bytes, rate))
    ctx.end_test(servers.test)
    return found


def tell(found):
    print("\ncatching up, until in sync again")
    table.show(["", "records behind", "MiB of payload", "s", "of it to start", "MiB/s", "records/s"], [
        ["%s%s" % (load.size_text(f["payload"]), ", %d/s beside" % f["rate_beside"] if f["rate_beside"] else ""),
         "%d" % f["records"], "%.0f" % (f["records"] * f["payload"] / MIB), "%.2f" % f["seconds"], "%.2f" % f["opened_s"],
         "%.0f" % f["mib_per_second"], "%.0f" % f["records_per_second"]] for f in found])
