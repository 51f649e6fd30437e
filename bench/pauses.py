"""Pauses: bench/pauses beside a load, for long; those that the machine had too are excused."""

import json
import os

import goals
import load
import systems
import table

LOAD = load.Shape(10, 16, 128)
RATE = 5000  # records per second beside the one that is watched


def measure(ctx):
    program = os.path.join(ctx.builddir, "bench", "pauses")
    if not os.access(program, os.X_OK):
        print("left out: %s is not built: make bench-programs" % program)
        return []
    servers, seconds, found = systems.LeashServers(ctx, gateways=1), ctx.args.pause_seconds, []
    for via, target in (("gateway", servers.gateway_address()), ("direct", servers.primary.address)):
        ctx.progress("%g s of watching for pauses: %s" % (seconds, via))
        beside = load.start(systems.bench_argv(ctx, servers.gateway_address(), LOAD, seconds + 5, rate=RATE), ctx.pin)
        p = load.start([program, "--gateway", target, "--seconds", "%dms" % (seconds * 1000), "--dir", servers.test.dir], ctx.pin)
        try:
            out, err = p.communicate(timeout=seconds + 120)
            if p.returncode != 0:
                raise load.LoadFailed(err.strip())
            found.append(dict(json.loads(out), via=via, seconds=seconds, rate_beside=RATE))
        finally:
            for q in (p, beside):
                q.kill()
                q.communicate()
    ctx.end_test(servers.test)
    return found


def tell(found):
    if not found:
        return
    print("\npauses above 20 ms in appends of one client, %d/s beside it; not excused: none above 10 ms in a process that only "
          "writes and syncs" % RATE)
    table.show(["", "appends", "longest ms", "pauses", "not excused", "longest sync ms", "syncs above 10 ms"], [
        ["%s, %g s" % (f["via"], f["seconds"]), "%d" % f["appends"], "%.1f" % f["longest_append_ms"], "%d" % len(f["pauses"]),
         "%d" % f["unexcused"], "%.1f" % f["longest_sync_ms"], "%d" % f["syncs_above_10_ms"]] for f in found])
    goals.show([("pauses of leash's own: %s" % f["via"], f["unexcused"], "<=", 0) for f in found])
