"""The table of what bench/run can measure: name, sentence, function(ctx) -> results that JSON can hold."""

import sys

import append
import goals
import peers
import systems


def chosen(ctx, classes):
    """Systems that can run here; of the others it says why not."""
    found = []
    for make in classes:
        s = make(ctx)
        if s.missing:
            print("left out: %s (%s)" % (s.name, s.missing))
        else:
            found.append(s)
    return found


def wanted_peers(ctx):
    if not ctx.args.peers:
        return ()
    names = ctx.args.peers.lower().split(",")
    return [p for p in peers.PEERS if names == ["all"] or p.name.split()[0] in names]


def appends(ctx):
    more = systems.LEASH_MORE if ctx.args.more else ()
    found = chosen(ctx, systems.LEASH + more + (systems.Floor,) + tuple(wanted_peers(ctx)))
    for s in found:
        s.start()
    cells = append.measure(ctx, found)
    for s in found:
        s.stop()
    ctx.end_shared()
    append.tell(cells)
    append.tell_ratios(cells)
    goals.tell(cells)
    return cells


ALL = [
    ("append", "rate and latency of appends, through the gateway and direct, peers and the floor beside them", appends),
]


def tell():
    for name, about, _ in ALL:
        print("%-10s %s" % (name, about))


def run(ctx):
    names = ctx.args.only.split(",") if ctx.args.only else [name for name, _, _ in ALL]
    unknown = set(names) - {name for name, _, _ in ALL}
    if unknown:
        sys.exit("no such measurement: %s (--list tells them)" % ", ".join(sorted(unknown)))
    return {name: function(ctx) for name, _, function in ALL if name in names}
