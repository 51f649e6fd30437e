"""How old is a record when a reader that waits for it gets it? From when its append was meant to be sent; blocking XREAD."""

import append
import load
import systems
import table

RATES = (500, 5000)
READERS = (1, 10, 50)


def measure(ctx):
    servers = systems.LeashServers(ctx, gateways=1)
    cells = [{"via": via, "rate": rate, "readers": n, "runs": []}
             for via in ("gateway", "direct") for rate in RATES for n in READERS]
    for i in range(ctx.args.runs):
        for c in cells:
            ctx.progress("run %d: %d readers, %d/s, %s" % (i + 1, c["readers"], c["rate"], c["via"]))
            target = servers.gateway_address() if c["via"] == "gateway" else servers.primary.address
            argv = systems.bench_argv(ctx, target, load.Shape(10, 16, 128), ctx.args.seconds, rate=c["rate"],
                                      readers=c["readers"])
            said = load.run([argv], ctx.pin, ctx.args.seconds)
            c["runs"].append({key: said[key] for key in ("append_ns", "read_ns", "per_second", "read_records")})
    ctx.end_test(servers.test)
    return cells


def tell(cells):
    rows = []
    for c in cells:
        m = append.medians(c["runs"])
        rows.append(["%s, %d/s, %d readers" % (c["via"], c["rate"], c["readers"])] + [
            "%.3f" % (m[kind][p] / 1e6) for kind in ("append_ns", "read_ns") for p in ("p50", "p99")])
    print("\nblocking readers, from the append's schedule to the reader (128 B, 10 connections)")
    table.show(["", "acked p50 ms", "p99", "read p50 ms", "p99"], rows)
