"""How long a node needs to start with a large log: after a clean stop and after SIGKILL, from the disk and from memory.

From its exec to READY=1 (its log is open), and until it acknowledges an append again. One node, so that nothing but the log
counts; the lease of the life before is what an append waits for after SIGKILL.
"""

import os
import shutil
import time

import append
import goals
import load
import machine
import manager
import systems
import table
from leashtest import wait_for

PAYLOAD = 1024
GOALS_S = {"clean stop": 1, "SIGKILL": 3}
ROOM = 1.3  # of the log's size must be free


def forget_pages(directory):
    """What the page cache has of these files goes, so that the next start reads the disk."""
    for base, _, names in os.walk(directory):
        for name in names:
            fd = os.open(os.path.join(base, name), os.O_RDONLY)
            try:
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def appends(node):
    with node.client(timeout_s=60) as c:
        return c.call("XADD", "engine", "*", "data", "after the start")


def start(ctx, node, heard):
    """Seconds to READY, seconds to an append."""
    seen = len(heard.heard)
    began = time.monotonic()
    node.start(wait=False)

    def ready():
        return next((when for when, message in heard.heard[seen:] if message.get("READY") == "1"), None)

    ready_s = wait_for(ready, "the node is ready", 300) - began
    wait_for(lambda: appends(node), "it takes an append", 120)
    append_s = time.monotonic() - began
    ctx.pin.server(node.popen.pid)
    return ready_s, append_s


def one_size(ctx, size):
    servers = systems.LeashServers(ctx, nodes=1, gateways=0, retention_bytes="0")
    node, found = servers.primary, []
    servers.fill(ctx, size, PAYLOAD)
    log_bytes = servers.log_bytes(node)
    heard = manager.Manager(servers.test, "start")
    node.env = dict(os.environ, NOTIFY_SOCKET=heard.path)
    for i in range(ctx.args.runs):
        for how, end in (("clean stop", lambda: node.stop(120)), ("SIGKILL", node.kill)):
            for cold in (True, False):
                ctx.progress("start %d of %d after %s" % (i + 1, ctx.args.runs, how))
                end()
                if cold:
                    forget_pages(node.dir)
                ready_s, append_s = start(ctx, node, heard)
                found.append({"after": how, "cold": cold, "log_bytes": log_bytes, "ready_s": ready_s, "append_s": append_s,
                              "memory": machine.memory_bytes(node.popen.pid)})
    ctx.end_test(servers.test)
    return found


def measure(ctx):
    found = []
    for size in ctx.args.log_sizes:
        free = shutil.disk_usage(ctx.args.dir).free
        if free < ROOM * size:
            print("left out: a log of %s (only %s are free)" % (load.size_text(size), load.size_text(free >> 30 << 30)))
            continue
        found += one_size(ctx, size)
    return found


def tell(found):
    rows, wanted = [], []
    kinds = sorted({(f["log_bytes"], f["after"], f["cold"]) for f in found})
    for log_bytes, after, cold in kinds:
        runs = [f for f in found if (f["log_bytes"], f["after"], f["cold"]) == (log_bytes, after, cold)]
        rows.append(["%.2f GiB, after %s, %s" % (log_bytes / (1 << 30), after, "from disk" if cold else "from memory"),
                     "%.3f" % append.middle([f["ready_s"] for f in runs]), "%.3f" % max(f["ready_s"] for f in runs),
                     "%.3f" % append.middle([f["append_s"] for f in runs]),
                     "%.1f" % (append.middle([f["memory"]["rss"] for f in runs]) / (1 << 20))])
        wanted.append(("s to ready: " + rows[-1][0], append.middle([f["ready_s"] for f in runs]), "<=", GOALS_S[after]))
    print("\nstart with a log of records of 1 KiB with ids")
    table.show(["", "ready s", "worst", "append s", "MiB then"], rows)
    goals.show(wanted)
