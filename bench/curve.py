"""Latency by load: appends on a schedule, at parts of the highest rate that the same connections reach without one."""

import append
import goals
import load
import systems
import table

PARTS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
SHAPE = load.Shape(50, 64, 128)
GOAL_PART, GOAL = 0.5, 5  # p99 at half of the highest rate, in p50


def measure(ctx):
    servers = systems.LeashServers(ctx, gateways=1)
    targets = {"leash gateway": servers.gateway_address(), "leash direct": servers.primary.address}
    found = []
    for name, target in targets.items():
        ctx.progress("the highest rate: %s" % name)
        highest = append.middle([load.run([systems.bench_argv(ctx, target, SHAPE, ctx.args.seconds)], ctx.pin,
                                          ctx.args.seconds)["per_second"] for _ in range(ctx.args.runs)])
        found += [{"system": name, "highest": highest, "part": part, "runs": []} for part in PARTS]
    for i in range(ctx.args.runs):
        for c in found:
            ctx.progress("run %d: %s at %.0f %%" % (i + 1, c["system"], 100 * c["part"]))
            said = load.run([systems.bench_argv(ctx, targets[c["system"]], SHAPE, ctx.args.seconds,
                                                rate=max(1, int(c["highest"] * c["part"])))], ctx.pin, ctx.args.seconds)
            c["runs"].append({key: said[key] for key in ("per_second", "append_ns")})
    for c in found:
        c["median"] = append.medians(c["runs"])
    ctx.end_test(servers.test)
    return found


def tell(found):
    rows = []
    for c in found:
        ns = c["median"]["append_ns"]
        rows.append(["%s, %.0f %% of %.0f/s" % (c["system"], 100 * c["part"], c["highest"]),
                     "%.0f" % c["median"]["per_second"]] + ["%.3f" % (ns[p] / 1e6) for p in ("p50", "p99", "p99.9", "max")] +
                    ["%.1f" % (ns["p99"] / ns["p50"])])
    print("\nlatency by load (%s, on a schedule)" % str(SHAPE))
    table.show(["", "acked/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "p99 / p50"], rows)
    goals.show([("p99 / p50 at half of the highest rate: %s" % c["system"],
                 c["median"]["append_ns"]["p99"] / c["median"]["append_ns"]["p50"], "<=", GOAL)
                for c in found if c["part"] == GOAL_PART])
