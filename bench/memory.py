"""Memory: of a gateway and of a node, with nobody connected and with many idle clients; of nodes with a log."""

import resource

import goals
import leashtest
import load
import machine
import systems
import table

IDLE = 10000
IDS = 1000000        # dedup_window's default
NODE_MIB = 64 + 64 + 64 + 64  # its own, cache_bytes, uncommitted_bytes, and 64 bytes for each id
SPARE = 200  # descriptors that programs need besides


def allow_files(n):
    """This process and those that it starts may have so many descriptors; returns how many clients that allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = n + SPARE
    if hard != resource.RLIM_INFINITY and hard < want:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, want))
            return n
        except (OSError, ValueError):
            want = hard
    if soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
    return want - SPARE


def connect_all(port, n, *command):
    """Clients that were answered once and then say nothing."""
    clients = []
    for _ in range(n):
        clients.append(leashtest.Client("127.0.0.1", port, timeout_s=60))
        if len(clients) % 100 == 0:  # in groups: each waits for the other, not one by one
            ask(clients[-100:], command)
    ask(clients[len(clients) // 100 * 100:], command)
    return clients


def ask(clients, command):
    for c in clients:
        c.send(*command)
    for c in clients:
        answer = c.read()
        assert not isinstance(answer, leashtest.RespError), answer


def per_client(p, port, n, command):
    before = machine.memory_bytes(p.popen.pid)
    clients = connect_all(port, n, *command)
    after = machine.memory_bytes(p.popen.pid)
    for c in clients:
        c.close()
    return {"process": p.name, "clients": n, "after": command[0], "before": before, "with_clients": after,
            "bytes_per_client": (after["rss"] - before["rss"]) / n}


def measure(ctx):
    n = allow_files(IDLE)
    servers = systems.LeashServers(ctx, gateways=2, gateway={"max_clients": str(2 * n)}, max_clients=str(2 * n))
    primary = servers.primary
    found = {"idle": [], "nodes": [], "ids": IDS}
    payload = b"x" * 128
    for gateway, command in zip(servers.gateways, (("PING",), ("XADD", "engine", "*", "data", payload))):
        found["idle"].append(per_client(gateway, gateway.port, n, command))  # a gateway each: memory is not given back at once
    found["idle"].append(per_client(primary, primary.port, n, ("PING",)))
    servers.fill(ctx, 320 << 20, 128)  # more than IDS records
    for p in servers.nodes:
        found["nodes"].append({"node": p.node, "log_bytes": servers.log_bytes(p), "memory": machine.memory_bytes(p.popen.pid)})
    ctx.end_test(servers.test)
    return found


def mib(n):
    return "%.1f" % (n / (1 << 20))


def tell(found):
    print("\nidle clients")
    table.show(["", "clients", "MiB before", "MiB with them", "KiB per client"], [
        ["%s, after one %s each" % (i["process"], i["after"]), "%d" % i["clients"], mib(i["before"]["rss"]),
         mib(i["with_clients"]["rss"]), "%.1f" % (i["bytes_per_client"] / 1024)] for i in found["idle"]])
    print("\nnodes with a log, its table of %d ids full (cache_bytes 64M is part of it)" % found["ids"])
    table.show(["", "log", "resident MiB", "peak"], [
        [n["node"], load.size_text(n["log_bytes"] >> 20 << 20), mib(n["memory"]["rss"]), mib(n["memory"]["peak"])]
        for n in found["nodes"]])
    goals.show([("KiB per idle client: %s, after %s" % (i["process"], i["after"]), i["bytes_per_client"] / 1024, "<=", 20)
                for i in found["idle"] if i["process"].startswith("gw")] +
               [("MiB of a node: %s" % n["node"], n["memory"]["rss"] / (1 << 20), "<=", NODE_MIB) for n in found["nodes"]])
