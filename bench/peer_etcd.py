"""etcd: three members; --depth puts in one transaction. It answers when two disks have it."""

import cluster
import load
from peer import Peer

TXN_OPS_MAX = 128
BATCH_BYTES_MAX = 40000  # what bench/etcd-load sends at once


class EtcdServers:
    def __init__(self, ctx):
        self.test = ctx.new_test()
        self.members = cluster.EtcdMembers(self.test)
        for m in self.members.members:
            ctx.pin.server(m.popen.pid)

    def groups(self):
        leader = self.members.leading() or 0
        pids = [m.popen.pid for m in self.members.members]
        return {"primary": [pids.pop(leader)], "secondaries": pids}

    def address(self):
        """Of the member that leads: the others would only pass it on."""
        return self.members.urls[self.members.leading() or 0].removeprefix("http://")


class EtcdPeer(Peer):
    name = "etcd"
    program, package, load_name = "/usr/bin/etcd", "etcd-server", "etcd-load"
    durable = False

    def make(self):
        return EtcdServers(self.ctx)

    def before(self, shape):
        if shape.depth > TXN_OPS_MAX or shape.depth * (shape.payload + 64) > BATCH_BYTES_MAX:
            raise load.LoadFailed("more than a transaction takes")

    def commands(self, shape, seconds):
        return [self.load_argv(self.servers.address(), shape, seconds)]
