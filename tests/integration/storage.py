#!/usr/bin/env python3
"""Disks that fail, hang and fill up under a running cluster, with real processes and a real etcd, while producers write
through the gateway (design 6, R11, R11a; the disk is made sick by faultfs.c).

1. a failed sync or write, of a secondary and of the primary: the process ends with 74 and says why; started again on a disk
   that is well it is in sync again, as the same incarnation; clients see no error
2. blocks that cannot be read while it runs: found by the scrub or a reader, never served, repaired in place from peers
3. a disk that hangs: a secondary leaves the in-sync set, a primary hands over (disk_timeout); back when the disk moves again
4. a full disk (a small file system of its own where this may mount one; else the shim): a secondary waits, clients of
   a primary get -OOM; when there is room it goes on
5. files of another node in the place of one's own: the metadata is refused (78) and nothing touched; a segment is repaired; a
   mark costs at most the incarnation

Afterwards what each producer was told is compared with every node's log, record by record; the evidence is there.
"""

import ctypes
import errno
import glob
import os
import shutil
import struct
import subprocess
import time

from cluster import Cluster, ConnectionLost, Producer, SLOW, check_promises, entries, leash, run_scenarios
from faultfs import SickNode
from leashtest import RespError, run, wait_for
from scrub import moving, producing

RATE = "4G"  # of the scrub: rests one second between two passes
LEASE_S = 3
DISK_TIMEOUT_MS = 1000


def cluster(test, node=SickNode, **options):
    settings = dict(segment_bytes="64K", max_record_bytes="16K", cache_bytes="1M", scrub_rate=RATE, lease_ttl=str(LEASE_S),
                    disk_timeout="%dms" % DISK_TIMEOUT_MS)
    settings.update(options)
    return Cluster(test, node=node, **settings)


class PatientProducer(Producer):
    """One message at a time; -OOM and -NOREPLICAS are no end but a reason to try again, with the same id."""

    PASSING = ("OOM", "NOREPLICAS", "TRYAGAIN")

    def __init__(self, port, name):
        super().__init__(port, name, window=1)
        self.refused = []

    def run(self):
        while not self.halt.is_set() or len(self.acks) < self.sent:
            super().run()
            if not self.errors:
                continue
            _, text = self.errors[0]
            if text.split(" ")[0] not in self.PASSING:
                return
            self.refused.append(text)
            del self.errors[:]
            time.sleep(0.05)


def secondary(c):
    primary = c.wait_primary()
    return next(n for n in c.nodes if n is not primary)


def segments(node):
    return sorted(glob.glob(os.path.join(node.dir, "*.seg")))


def incarnation(node):
    return node.status()["incarnation"]


def says(node, text, seen, seconds=30):
    wait_for(lambda: text in node.output()[seen:], "%s says \"%s\"" % (node.node, text), seconds * SLOW)


def in_sync(node, seconds=60):
    wait_for(lambda: node.status()["in_sync"], "%s is in sync" % node.node, seconds * SLOW)


def settle(c, ps, name):
    for p in ps:
        p.finish()
    c.wait_in_sync()
    log = c.wait_equal()
    check_promises(log, ps)
    for n in c.nodes:
        leash("log", "verify", n.dir)
    print("%s: %d acknowledged, %d refused, longest pause %.0f ms" % (
        name, sum(len(p.acks) for p in ps), sum(len(getattr(p, "refused", [])) for p in ps),
        1000 * max(p.longest_pause for p in ps)), flush=True)


# ------------------------------------------------------------------------------------------------ writes and syncs fail


def dies_and_returns(c, ps, node, *calls, **which):
    """Ends with 74 and a message; is itself again on a disk that is well."""
    before, seen = incarnation(node), len(node.output())
    node.disk.fail(errno.EIO, *calls, **which)
    node.disk.struck()
    status = node.wait()
    assert status == 74, "%s ended with %d: %s" % (node.node, status, node.output()[seen:])
    said = node.output()[seen:]
    assert ": error: the disk failed; this process ends" in said and "Input/output error" in said, said
    moving(ps)
    node.start()
    in_sync(node)
    assert incarnation(node) == before, "%s is somebody else now" % node.node
    moving(ps)


def failed_sync(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 200)
    dies_and_returns(c, ps, secondary(c), "fdatasync", path="*.seg")
    dies_and_returns(c, ps, c.wait_primary(), "fdatasync", path="*.seg")
    dies_and_returns(c, ps, c.wait_primary(), "fdatasync", path="*/mark")
    dies_and_returns(c, ps, secondary(c), "fdatasync", "fsync", path="*/spare")
    settle(c, ps, "failed_sync")


def failed_write(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 200)
    dies_and_returns(c, ps, secondary(c), "pwritev", path="*.seg")
    dies_and_returns(c, ps, c.wait_primary(), "pwritev", path="*.seg", times=1)  # it would have worked a moment later
    dies_and_returns(c, ps, secondary(c), "pwritev", path="*/mark")
    dies_and_returns(c, ps, c.wait_primary(), "rename", path="*/spare")
    settle(c, ps, "failed_write")


# ----------------------------------------------------------------------------------------------------------- reads fail


def unreadable(c, ps, node):
    """The blocks of its second segment cannot be read any more, as long as they are there."""
    wait_for(lambda: len(segments(node)) >= 4, "%s has finished segments" % node.node, 60 * SLOW)
    path = segments(node)[1]
    before, seen, inode = incarnation(node), len(node.output()), os.stat(path).st_ino
    first = int(os.path.basename(path).split(".")[0])
    node.disk.fail(errno.EIO, "pread", inode=inode)
    with node.client() as r:  # what it shows is right, or an error
        try:
            shown = r.call("XRANGE", "engine", "%d-0" % (first + 1), "%d-0" % (first + 1))
            assert shown and shown[0][1][0] == b"v", shown
        except RespError as e:
            assert "damaged here" in str(e), e
    node.disk.struck()
    says(node, "the log is damaged at records", seen)
    says(node, "the log is repaired", seen, 60)
    wait_for(lambda: not node.status()["scrub"]["damaged"], "it knows of no damage", 60 * SLOW)
    assert os.stat(path).st_ino != inode, "the segment was written anew"
    kept = glob.glob(os.path.join(node.dir, "damaged", "*", "*.seg"))
    assert inode in [os.stat(k).st_ino for k in kept], "the evidence is kept: %r" % kept
    assert incarnation(node) == before and node.running()
    node.disk.well()
    moving(ps)


def failed_read(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 500)
    unreadable(c, ps, secondary(c))
    primary = c.wait_primary()
    unreadable(c, ps, primary)
    assert c.wait_primary() is primary, "nobody had to hand over"
    settle(c, ps, "failed_read")


# -------------------------------------------------------------------------------------------------------------- it hangs


def hanging(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 200)
    for call in ("fdatasync", "pwritev"):
        node = secondary(c)
        primary, before, seen = c.wait_primary(), incarnation(node), len(node.output())
        node.disk.hang(call, path="*.seg")
        wait_for(node.disk.hanging, "it hangs")
        wait_for(lambda: node.node not in c.etcd.insync(), "%s is taken out of the set" % node.node)
        assert c.wait_primary() is primary
        moving(ps)
        says(node, "the disk hangs", seen)
        node.disk.well()
        says(node, "the disk answers again", seen)
        in_sync(node)
        assert incarnation(node) == before and node.running()
        moving(ps)
    settle(c, ps, "hanging")


def hanging_primary(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 200)
    for call in ("fdatasync", "pwritev"):
        node = c.wait_primary()
        before, seen, epoch = incarnation(node), len(node.output()), c.etcd.leader()["epoch"]
        node.disk.hang(call, path="*.seg")
        wait_for(node.disk.hanging, "it hangs")
        c.wait_primary(but=node)
        says(node, "the disk hangs; the lead is handed over", seen)
        moving(ps)
        assert node.running() and c.etcd.leader()["epoch"] > epoch
        node.disk.well()
        says(node, "the disk answers again", seen)
        in_sync(node)
        assert incarnation(node) == before
        moving(ps)
    settle(c, ps, "hanging_primary")


# ----------------------------------------------------------------------------------------------------------- it is full


class SmallDisk:
    """A file system of its own for a node's directory, in a mount namespace that ends with this process."""

    SMALL, LARGE = "16960k", "64m"  # the reserve takes 16m
    private = False

    def __init__(self, directory):
        self.directory = directory
        os.mkdir(directory)
        if not SmallDisk.private:
            libc = ctypes.CDLL(None, use_errno=True)
            if os.geteuid() != 0 or libc.unshare(0x00020000) != 0:  # CLONE_NEWNS
                raise PermissionError
            self.mount("--make-rprivate", "/")
            SmallDisk.private = True
        self.mount("-t", "tmpfs", "-o", "size=" + self.SMALL, "leash-test", directory)

    @staticmethod
    def mount(*args):
        if subprocess.run(["mount", *args], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise PermissionError

    def room(self):
        self.mount("-o", "remount,size=" + self.LARGE, self.directory)

    def end(self):
        subprocess.run(["umount", "-l", self.directory], check=False)


class ShimDisk:
    """Where nothing can be mounted."""

    def __init__(self, node):
        self.node = node
        node.disk.fail(errno.ENOSPC, "fallocate", path="*/@(spare|reserve)")

    def room(self):
        self.node.disk.well()

    def end(self):
        pass


def on_small_disk(test, name):
    """The node's directory on a small disk, before it starts. None: not here, or not wanted ($LEASH_NO_MOUNT)."""
    if os.environ.get("LEASH_NO_MOUNT"):
        return None
    try:
        return SmallDisk(os.path.join(test.dir, "engine-" + name))
    except PermissionError:
        shutil.rmtree(os.path.join(test.dir, "engine-" + name))
        return None


def full_disk(test, name, refused):
    """@refused: the node leads when its disk is full."""
    small = on_small_disk(test, name)
    disk = small
    try:
        c = cluster(test, lease_ttl="5", failure_timeout="2500ms")
        node = c.by_name[name]
        ps = producing(c, PatientProducer, 6)
        moving(ps, 20)
        if refused and c.wait_primary() is not node:
            leash("switchover", "--to", name, "--etcd-endpoints", c.etcd.url)
            wait_for(lambda: c.primary() is node, "%s leads" % name)
        seen, before = len(node.output()), incarnation(node)
        disk = disk or ShimDisk(node)
        says(node, "no room on disk for the next segment of the log", seen, 120)
        if refused:
            wait_for(lambda: any(p.refused for p in ps), "clients are told", 60 * SLOW)
            with node.client() as r:  # what is there is served
                assert r.call("XRANGE", "engine", "1-0", "1-0")
            assert all(t.startswith("OOM ") for p in ps for t in p.refused), ps[0].refused
            assert node.status()["log"]["disk_full"]
            assert node.running() and node.role() == "master"
        else:
            wait_for(lambda: node.node not in c.etcd.insync(), "%s is taken out of the set" % name, 60 * SLOW)
            moving(ps)
            assert not any(p.refused for p in ps), "clients do not notice"
        disk.room()
        says(node, "there is room on disk again", seen)
        moving(ps)
        in_sync(node)
        assert incarnation(node) == before and node.running()
        settle(c, ps, "full_disk of %s%s" % (name, "" if small else " (shim)"))
    finally:
        for p in test.processes:
            if p.running():
                p.kill()
        if small:
            small.end()


def full_disk_of_secondary(test):
    full_disk(test, "S2", False)


def full_disk_of_primary(test):
    full_disk(test, "P1", True)


def no_room_to_overwrite(test):
    """As on a file system that writes elsewhere. Nobody ends, and no client sees an error; a primary may step down."""
    c = cluster(test)
    ps = producing(c)
    moving(ps, 200)
    for node in (secondary(c), c.wait_primary()):
        before = incarnation(node)
        node.disk.fail(errno.ENOSPC, "pwritev", path="*.seg", times=1)
        node.disk.struck()
        moving(ps)
        in_sync(node)
        assert incarnation(node) == before and node.running()
    settle(c, ps, "no_room_to_overwrite")


# --------------------------------------------------------------------------------------------------------- foreign files


def stopped(node):
    node.stop()
    return len(node.output())


def foreign_meta(test):
    c = cluster(test)
    ps = producing(c)
    moving(ps, 300)
    victim, other = secondary(c), c.wait_primary()
    seen = stopped(victim)
    own = os.path.join(victim.dir, "meta")
    os.rename(own, own + ".own")
    shutil.copy(os.path.join(other.dir, "meta"), own)
    before = listing(victim.dir)
    victim.start(wait=False)
    assert victim.wait() == 78, victim.output()[seen:]
    said = victim.output()[seen:]
    assert ": error: " in said and "belongs to another node" in said and victim.dir in said, said
    assert listing(victim.dir) == before, "nothing of it was touched"
    moving(ps)
    os.rename(own + ".own", own)
    victim.start()
    in_sync(victim)
    settle(c, ps, "foreign_meta")


def listing(directory):
    found = {}
    for path, _, names in os.walk(directory):
        for name in names:
            with open(os.path.join(path, name), "rb") as f:
                found[os.path.join(path, name)] = hash(f.read())
    return found


def foreign_segment(test):
    """A finished one, found by the scrub, and the one in use."""
    c = cluster(test)
    ps = producing(c)
    moving(ps, 500)
    for which in (1, -1):
        victim, other = secondary(c), c.wait_primary()
        before, seen = incarnation(victim), stopped(victim)
        source = segments(other)[which]
        target = segments(victim)[which]
        shutil.copy(source, target)
        victim.start()
        says(victim, "the log is damaged", seen)
        wait_for(lambda: not victim.status()["scrub"]["damaged"] and victim.status()["in_sync"], "it is well", 60 * SLOW)
        if which == 1:
            assert incarnation(victim) == before, "a finished segment can be proven"
        assert "the log is repaired" in victim.output()[seen:] or incarnation(victim) != before
        assert os.listdir(os.path.join(victim.dir, "damaged")), "the evidence is kept"
        moving(ps)
    settle(c, ps, "foreign_segment")


def marked(node):
    """The mark on disk (log/rlog_meta.h): the newer of two slots."""
    with open(os.path.join(node.dir, "mark"), "rb") as f:
        slots = [f.read(512), (f.seek(4096), f.read(512))[1]]
    return max(struct.unpack_from("<QQ", s, 8) for s in slots)[1]


def foreign_mark(test):
    """An older one of one's own could do no more harm; a newer one looks as if records were missing."""
    c = cluster(test)
    ps = producing(c)
    moving(ps, 300)
    victim, other = secondary(c), c.wait_primary()
    stopped(victim)
    had = marked(victim)
    wait_for(lambda: marked(other) > had + 100, "the primary's mark is newer", 30 * SLOW)
    shutil.copy(os.path.join(other.dir, "mark"), os.path.join(victim.dir, "mark"))
    seen = len(victim.output())
    victim.start()
    in_sync(victim)
    assert ": error: the log is damaged" in victim.output()[seen:], "that something is wrong is told"
    settle(c, ps, "foreign_mark")


SCENARIOS = [failed_sync, failed_write, failed_read, hanging, hanging_primary, full_disk_of_secondary, full_disk_of_primary,
             no_room_to_overwrite, foreign_meta, foreign_segment, foreign_mark]


def main(test):
    run_scenarios(test, SCENARIOS)


if __name__ == "__main__":
    run(main)
