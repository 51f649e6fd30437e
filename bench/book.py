"""The gateway's address book: bench/addrbook's figures."""

import json
import os
import subprocess

import goals
import table


def measure(ctx):
    program = os.path.join(ctx.builddir, "bench", "addrbook")
    if not os.access(program, os.X_OK):
        print("left out: %s is not built: make bench-programs" % program)
        return []
    return json.loads(subprocess.run([program, "--json", "--seconds", "%dms" % (ctx.args.seconds * 1000)], check=True,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=ctx.pin.client).stdout)


def tell(found):
    if not found:
        return
    print("\naddress book: a read while another thread retargets 10,000 engines a second")
    table.show(["", "ns/read", "of CPU", "us/retarget p50", "p99"], [
        ["%d engines, %s, %s" % (f["engines"], f["pattern"], f["kind"]), "%.1f" % f["read_ns"], "%.1f" % f["read_cpu_ns"],
         "%.1f" % (f["swap_p50_ns"] / 1e3), "%.1f" % (f["swap_p99_ns"] / 1e3)] for f in found])
    mine = [f for f in found if f["kind"] == "book"]
    goals.show([("ns CPU per read, %d engines, %s" % (f["engines"], f["pattern"]), f["read_cpu_ns"], "<=", 5)
                for f in mine if f["pattern"] == "one"] +
               [("us per retarget, p99, %d engines, %s" % (f["engines"], f["pattern"]), f["swap_p99_ns"] / 1e3, "<=", 100)
                for f in mine])
