"""leash on booted hosts, set up as an administrator does it: packages by apt, files under /etc, systemctl.

A Site is e1, P1, S1, S2 and one or two gateway hosts; etcd runs on e1, P1 and S1. It stays up over many scenarios; after each,
settle() compares what all clients were told since the beginning with the logs of all nodes.
"""

import collections
import concurrent.futures
import contextlib
import json
import os
import re
import time

import history
from hosts import Failed, Net, call
from leashtest import Client, Etcd, RespError, wait_for
from traffic import HostHistory

NODE_PORT = 8081
GATEWAY_PORT = 8080
NODES = ("P1", "S1", "S2")
ETCD_HOSTS = ("e1", "P1", "S1")
ETCD_PORTS = (2379, 2380)
LEASE_TTL_S = 20        # longer than what is waited for, so that nothing passes because a lease ran out
IN_SYNC_S = 90

_line = re.compile(r"\[([^]]*)\] (\d+) (.*)")


class Members(Etcd):
    """The etcd cluster as the client sees it; asks whoever answers."""

    def __init__(self, hosts):
        self.members = hosts

    def post(self, path, body, timeout_s=2):
        failed = None
        for h in self.members:
            if h.running():
                try:
                    return self.post_to("http://%s:2379" % h.address, path, body, timeout_s)
                except OSError as e:
                    failed = e
        raise failed or OSError("no member of etcd runs")

    def leader_lease(self, engine="engine"):
        """The lease that the leader key hangs on, as etcdctl takes it (hex); None: there is no key."""
        kvs = self.post("/v3/kv/range", {"key": _b64(engine + "/leader")}).get("kvs")
        return "%x" % int(kvs[0]["lease"]) if kvs else None


def _b64(text):
    import base64
    return base64.b64encode(text.encode()).decode()


# ---------------------------------------------------------------------------------------------- what an administrator does


def install(host, deb, *more, recommends=False, timeout=300):
    """apt install ./leash_*.deb ..."""
    path = "/root/" + os.path.basename(deb)
    host.put(deb, path)
    options = [] if recommends else ["--no-install-recommends"]
    return host.run("apt-get", "--yes", *options, "install", path, *more, timeout=timeout)


def set_up_etcd(host, members):
    host.run("systemctl", "stop", "etcd")
    host.run("rm", "-rf", "/var/lib/etcd/default")
    host.write("/etc/default/etcd", "".join(line + "\n" for line in (
        "ETCD_NAME=" + host.name,
        "ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379",
        "ETCD_ADVERTISE_CLIENT_URLS=http://%s:2379" % host.address,
        "ETCD_LISTEN_PEER_URLS=http://%s:2380" % host.address,
        "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://%s:2380" % host.address,
        "ETCD_INITIAL_CLUSTER=" + ",".join("%s=http://%s:2380" % (m.name, m.address) for m in members),
        "ETCD_INITIAL_CLUSTER_TOKEN=leash",
    )))


def endpoints(members):
    return ", ".join("http://%s:2379" % m.name for m in members)


class Site:
    """All hosts are up, etcd runs, everybody is in sync, and this thread is the client when the constructor returns."""

    def __init__(self, lab, directory, gateways=1):
        self.lab, self.dir = lab, directory
        self.clients, self.histories = [], []
        self.gateway_port = GATEWAY_PORT
        os.makedirs(directory)
        self.net = Net(directory)
        self.net.__enter__()
        try:
            self.build(gateways)
        except BaseException:
            self.save_evidence()
            self.net.close()
            raise

    def build(self, gateways):
        self.by_name = {}
        for name in ("e1", *NODES, *("gw", "gw2")[:gateways]):
            self.by_name[name] = self.net.host(self.lab.image, name)
        self.hosts = list(self.by_name.values())
        self.nodes = [self.by_name[n] for n in NODES]
        self.gateways = self.hosts[4:]
        self.etcd_hosts = [self.by_name[n] for n in ETCD_HOSTS]
        self.etcd = Members(self.etcd_hosts)
        self.net.boot(*self.hosts)
        self.net.enter()
        with concurrent.futures.ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(self.set_up, self.hosts))
        for h in self.etcd_hosts:
            h.run("systemctl", "--no-block", "start", "etcd")
        wait_for(lambda: self.etcd.get("none") is None, "etcd answers", 60)
        for h in self.nodes:
            h.run("systemctl", "enable", "--now", "leash-noded@" + h.name)
        for h in self.gateways:
            h.run("systemctl", "enable", "leash-gatewayd.socket", "leash-gatewayd.service")
            h.run("systemctl", "start", "leash-gatewayd.service")
        self.wait_in_sync()
        wait_for(self.answers, "the gateways answer", 60)

    def set_up(self, h):
        if h in self.etcd_hosts:
            h.run("apt-get", "--yes", "--no-install-recommends", "install", "etcd-server", "etcd-client")
            set_up_etcd(h, self.etcd_hosts)
        if h in self.nodes:
            install(h, self.lab.deb)
            h.write("/etc/leash/leash-noded@%s.conf" % h.name,
                    "listen = %s:%d\netcd_endpoints = %s\nlease_ttl = %ds\n" % (
                        h.address, NODE_PORT, endpoints(self.etcd_hosts), LEASE_TTL_S))
        if h in self.gateways:
            install(h, self.lab.deb, "redis-tools")
            h.write("/etc/leash/leash-gatewayd.conf", "etcd_endpoints = %s\n" % endpoints(self.etcd_hosts))
            h.write("/etc/systemd/system/leash-gatewayd.socket.d/listen.conf",
                    "[Socket]\nListenStream=\nListenStream=%s:%d\n" % (h.address, GATEWAY_PORT))
            h.run("systemctl", "daemon-reload")

    def close(self):
        self.net.close()

    # ------------------------------------------------------------------------------------------------ looking

    @staticmethod
    def unit(host):
        return "leash-noded@" + host.name

    def readable(self):
        """Where clients can read: (host, port)."""
        return [(h, GATEWAY_PORT) for h in self.gateways] + [(h, NODE_PORT) for h in self.nodes]

    def answers(self):
        for g in self.gateways:
            with Client(g.address, GATEWAY_PORT, timeout_s=5) as c:
                c.call("XLEN", "engine")
        return True

    def role(self, host):
        try:
            with Client(host.address, NODE_PORT, timeout_s=2) as c:
                return c.call("ROLE")[0].decode()
        except (OSError, RespError, IndexError):
            return None

    def leader(self):
        """The leader key as a dict; None: there is none."""
        return self.etcd.leader()

    def primary(self):
        """The host of the primary as etcd and itself say; None: not both."""
        leader = self.leader()
        host = self.by_name.get(leader["node"]) if leader else None
        return host if host and host.running() and self.role(host) == "master" else None

    def wait_primary(self, but=None, seconds=60):
        def find():
            p = self.primary()
            return p if p is not but else None
        return wait_for(find, "there is a primary" + (" other than " + but.name if but else ""), seconds)

    def others(self, host):
        return [h for h in self.nodes if h is not host]

    def wait_in_sync(self, seconds=IN_SYNC_S, nodes=NODES):
        want = sorted(nodes)
        wait_for(lambda: self.primary() and sorted(set(self.etcd.insync())) == want, "%s are in sync" % ", ".join(want), seconds)

    def wait_active(self, host, unit, seconds=60):
        wait_for(lambda: host.show(unit, "ActiveState") == "active", "%s: %s is active" % (host.name, unit), seconds, 0.1)

    def history(self, name, in_order):
        h = HostHistory(self, os.path.join(self.dir, "history-" + name), name, in_order)
        self.histories.append(h)
        return h

    # ------------------------------------------------------------------------------------------------ checking

    def settle(self, traffic=None):
        """All is healed. Everybody gets in sync, clients end, and the promises are checked."""
        if traffic:
            traffic.moving()
        self.wait_in_sync()
        if traffic:
            traffic.finish()
        logs = self.logs()
        texts = [open(path, encoding="ascii").read() for path in logs]
        self.check_records(texts[0])
        self.verify()
        if os.access(os.path.join(history.BUILD, "tests", "check", "leash-check"), os.X_OK):
            history.check(self.histories, logs)

    def logs(self):
        """What `leash log cat` prints at each node, in files, once all nodes have the same."""
        paths = [os.path.join(self.dir, "log-" + h.name) for h in self.nodes]

        def same():
            texts = []
            for h, path in zip(self.nodes, paths):
                with open(path, "w", encoding="ascii") as out:
                    p = h.popen("leash", "log", "cat", h.name, stdout=out)
                    if p.wait(120):
                        return False
                with open(path, encoding="ascii") as f:
                    texts.append(f.read())
            return texts[0] == texts[1] == texts[2]

        wait_for(same, "the logs of all nodes are the same", 60, 0.2)
        return paths

    def check_records(self, text):
        """Exactly once, at the position that was told, in the sender's order, without a gap."""
        where = collections.defaultdict(list)
        last = 0
        for line in text.splitlines():
            _, seq, value = _line.fullmatch(line).groups()
            assert int(seq) == last + 1, "record %s follows record %d" % (seq, last)
            last = int(seq)
            where[value].append(last)
        for value, places in where.items():
            assert len(places) == 1, "%s is in the log at %r" % (value, places)
        for c in self.clients:
            assert not c.errors, "%s saw an error: %r" % (c.name_, c.errors)
            before = 0
            for i in sorted(c.acks):
                places = where["%s:%d" % (c.name_, i)]
                assert places == [c.acks[i]], "%s:%d was acknowledged at %d, the log has it at %r" % (
                    c.name_, i, c.acks[i], places)
                assert places[0] > before, "%s:%d is out of order" % (c.name_, i)
                before = places[0]
        print("  %d records, %d acknowledgements compared" % (last, sum(len(c.acks) for c in self.clients)), flush=True)

    def verify(self):
        """leash log verify on each node's host; the chains of the same length are the same."""
        chains = set()
        for h in self.nodes:
            info = json.loads(h.run("leash", "log", "info", "--json", h.name))
            chains.add((info["log_end"], info["chain"]))
            assert ": clean: " in h.run("leash", "log", "verify", h.name)
        assert len(chains) == 1, "logs differ: %r" % chains

    # ---------------------------------------------------------------------------------------------- afterwards

    def save_evidence(self):
        """The journal of each host that still answers, for who looks into a failure."""
        for h in self.net.hosts:
            with contextlib.suppress(Exception), open(os.path.join(self.dir, h.name + ".journal"), "w", encoding="utf-8") as f:
                f.write(h.run("journalctl", "--no-pager", "--output=short-precise", timeout=30))


class Fault:
    """Measures what clients notice of a fault.

        with Fault(site, traffic, "kill -9") as f:
            f.now()         # the fault happens right after
    """

    def __init__(self, site, traffic, name):
        self.site, self.traffic, self.name = site, traffic, name

    def __enter__(self):
        self.traffic.moving()
        self.traffic.reset_pause()
        self.began = time.monotonic()
        return self

    def now(self):
        self.began = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.began

    def __exit__(self, kind, *_):
        if kind is None:
            self.traffic.moving()
            self.site.lab.figure(self.name, "longest pause %d ms" % self.traffic.pause_ms())


def namespaces_left(prefix):
    return [line.split()[0] for line in call("ip", "netns", "list").splitlines() if line.startswith(prefix)]


__all__ = ["Failed", "Fault", "Site", "install"]
