"""Appends: systems x shapes, repeated in turn (A B C A B C ...), so that what disturbs the machine disturbs all alike."""

import os
import sys

import leashtest
import load
import table

BASIC = ("1x1", "50x1", "50x16", "50x64")


def shapes(args):
    """The basic ones with each payload that was asked for; without --payloads also others at 50 x 16."""
    if args.payloads:
        return [load.Shape.parse(s, p) for p in args.payloads for s in args.shapes or BASIC]
    found = [load.Shape.parse(s, 128) for s in args.shapes or BASIC]
    if not args.quick and not args.shapes:
        found += [load.Shape(50, 16, p) for p in (64, 1024, 16384)]
    return found


def cell(system, shape, seconds):
    os.sync()  # what the one before left for the disk is not this one's
    try:
        return system.measure(shape, seconds)
    except (load.LoadFailed, leashtest.Failed, OSError) as e:
        sys.stderr.write("%s, %s: %s\n" % (system.name, shape, e))
        return {"failed": str(e)}


def middle(values):
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def medians(runs):
    """Of each number by itself; None: no run went well."""
    good = [r for r in runs if "failed" not in r]
    if not good:
        return None
    return {key: middle_of([r[key] for r in good]) for key in good[0]}


def middle_of(values):
    if isinstance(values[0], dict):
        return {key: middle_of([v[key] for v in values]) for key in values[0]}
    return middle(values)


def measure(ctx, systems):
    """[{system, durable, shape, runs, median}], in the order of shapes, then systems."""
    cells = [{"system": s.name, "durable": s.durable, "shape": shape, "runs": []} for shape in shapes(ctx.args) for s in systems]
    by_name = {s.name: s for s in systems}
    for i in range(ctx.args.runs):
        for c in cells:
            ctx.progress("run %d of %d: %s, %s" % (i + 1, ctx.args.runs, c["shape"], c["system"]))
            c["runs"].append(cell(by_name[c["system"]], c["shape"], ctx.args.seconds))
    for c in cells:
        c["median"] = medians(c["runs"])
    return cells


def groups(cells):
    """[(shape, its cells)]"""
    found = {}
    for c in cells:
        found.setdefault(c["shape"], []).append(c)
    return list(found.items())


def spread(c):
    """How far the runs were from each other: (greatest - least) / median."""
    rates = [r["per_second"] for r in c["runs"] if "failed" not in r]
    return (max(rates) - min(rates)) / middle(rates) if rates and middle(rates) else 0


def row(c):
    m = c["median"]
    if not m:
        return [c["system"], "failed"]
    name = c["system"] + (" (batches of %d)" % m["batch"] if "batch" in m else "") + ("" if c["durable"] else " *")
    ns = m["append_ns"]
    return [name, "%.0f" % m["per_second"], "%.0f %%" % (100 * spread(c)), "%.3f" % (ns["p50"] / 1e6), "%.3f" % (ns["p99"] / 1e6),
            "%.2f" % m["server_cpu"], "%.2f" % m["cpu"]["gateway"] if "gateway" in m["cpu"] else "",
            "%.2f" % m["cpu"]["primary"] if "primary" in m["cpu"] else "", "%.2f" % m["generator_cpu"]]


HEAD = ["", "acked/s", "spread", "p50 ms", "p99 ms", "servers' CPU s/M", "gateway", "primary", "load's"]


def tell(cells):
    for shape, of_shape in groups(cells):
        print("\n" + str(shape))
        table.show(HEAD, [row(c) for c in of_shape])
    print("* not on three disks when acknowledged")


def tell_ratios(cells):
    """Leash's rate divided by each other's."""
    names = [c["system"] for c in groups(cells)[0][1] if not c["system"].startswith("leash")]
    mine = [c["system"] for c in groups(cells)[0][1] if c["system"].startswith("leash")]
    rows = []
    for shape, of_shape in groups(cells):
        by_name = {c["system"]: c["median"] for c in of_shape}
        for me in mine:
            if by_name[me]:
                rows.append(["%s: %s" % (shape, me)] + [ratio(by_name[me], by_name[n]) for n in names])
    if names and rows:
        print("\nrate of leash / rate of the other (p50 of leash / p50 of the other)")
        table.show([""] + names, rows)


def ratio(me, other):
    if not other or not other["per_second"]:
        return "-"
    return "%.2f (%.2f)" % (me["per_second"] / other["per_second"], me["append_ns"]["p50"] / other["append_ns"]["p50"])
