"""The table of what bench/run can measure: name, sentence, function(ctx) -> results that JSON can hold."""

import sys

import append
import book
import catchup
import curve
import goals
import leashtest
import load
import memory
import pauses
import peers
import readers
import slow
import startup
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


def told(module):
    """A module that measures and tells."""
    def function(ctx):
        found = module.measure(ctx)
        module.tell(found)
        return found
    return function


ALL = [
    ("append", "rate and latency of appends, through the gateway and direct, peers and the floor beside them", appends),
    ("load", "latency by load: at 10 to 95 % of the highest rate", told(curve)),
    ("readers", "how old records are when blocking readers get them", told(readers)),
    ("slow", "producers beside readers that stopped and a secondary that is slow", told(slow)),
    ("pauses", "pauses above 20 ms, and whether the machine had them too (--pause-seconds)", told(pauses)),
    ("catchup", "how fast a node that was away catches up", told(catchup)),
    ("startup", "how long a node takes to start with a large log (--log-sizes)", told(startup)),
    ("memory", "of gateway and nodes, with idle clients and with a log", told(memory)),
    ("book", "the gateway's address book, against locks", told(book)),
]


def tell():
    for name, about, _ in ALL:
        print("%-10s %s" % (name, about))


def run(ctx):
    names = ctx.args.only.split(",") if ctx.args.only else [name for name, _, _ in ALL]
    unknown = set(names) - {name for name, _, _ in ALL}
    if unknown:
        sys.exit("no such measurement: %s (--list tells them)" % ", ".join(sorted(unknown)))
    return {name: one(ctx, name, function) for name, _, function in ALL if name in names}


def one(ctx, name, function):
    """A measurement that cannot be made leaves the others alone: None."""
    try:
        return function(ctx)
    except (load.LoadFailed, leashtest.Failed, leashtest.RespError, leashtest.ConnectionLost, OSError) as e:
        print("\n%s could not be measured: %s" % (name, e))
        ctx.end_all()
        return None
