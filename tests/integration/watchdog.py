#!/usr/bin/env python3
"""Pings that mean something. A thread that stands still (stopped by ptrace, whatever it is at) stops the watchdog's pings of the
whole process: a worker or the main loop of the gateway, the log thread or the loop of a node. They come again when it goes on.
A node that opens its log asks for more time as long as it gets on, and does not while its disk hangs."""

import ctypes
import os
import time

from cluster import SLOW, run_scenarios
from faultfs import Disk, SickNode
from leashtest import Etcd, Node, Skip, run, wait_for
from manager import Manager, ManagedGateway

WATCHDOG_S = 1.0 * SLOW
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000


class Frozen:
    """One thread of another process stands still; the others go on."""

    def __init__(self, tid):
        self.tid = tid
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long

    def ptrace(self, request):
        if self.libc.ptrace(request, self.tid, None, None) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def __enter__(self):
        try:
            self.ptrace(PTRACE_SEIZE)
        except PermissionError:
            raise Skip("ptrace is not allowed here")
        self.ptrace(PTRACE_INTERRUPT)
        os.waitpid(self.tid, WALL)
        return self

    def __exit__(self, *_):
        self.ptrace(PTRACE_DETACH)


def threads(pid, name):
    found = []
    for tid in map(int, os.listdir("/proc/%d/task" % pid)):
        with open("/proc/%d/task/%d/comm" % (pid, tid), encoding="ascii") as f:
            if f.read().strip() == name:
                found.append(tid)
    return found


def pings_go_on(manager, what):
    seen = len(manager.times("WATCHDOG"))
    wait_for(lambda: len(manager.times("WATCHDOG")) >= seen + 3, "pings go on: " + what, 20 * SLOW)


def pings_stop(manager, what):
    """For as long as systemd would need to act."""
    wait_for(lambda: time.monotonic() - manager.times("WATCHDOG")[-1] > 1.5 * WATCHDOG_S, "pings stop: " + what, 30 * SLOW)


def each_thread(manager, pid, which):
    pings_go_on(manager, "at the beginning")
    for name, tid in which:
        with Frozen(tid):
            pings_stop(manager, name)
            os.kill(pid, 0)
        pings_go_on(manager, "%s goes on" % name)


def gateway(test):
    gw = ManagedGateway(test, Etcd(test), watchdog_us=int(WATCHDOG_S * 1e6), workers="3")
    pid = gw.popen.pid
    workers = threads(pid, "worker")
    assert len(workers) == 3, workers
    each_thread(gw.manager, pid, [("worker", workers[1]), ("main loop", pid)])
    assert gw.stop() == 0


def node(test):
    manager = Manager(test, "P1", watchdog_us=int(WATCHDOG_S * 1e6))
    n = Node(test, Etcd(test), "P1", start=False, founders="P1", min_insync="1", disk_timeout="500ms")
    n.env = manager.env()
    n.start()
    wait_for(lambda: manager.times("READY"), "READY")
    pid = n.popen.pid
    (writer,) = threads(pid, "log-write")
    each_thread(manager, pid, [("log thread", writer), ("loop", pid)])
    assert n.stop() == 0


class Notifying(SickNode):
    """Its log cannot be read at its start before disk.well()."""

    def start(self, wait=True):
        self.disk = Disk(self.test.dir)
        self.disk.hang("pread", path="*.seg")
        self.env = dict(self.disk.environment(), NOTIFY_SOCKET=self.manager.path)
        return Node.start(self, wait)


def slow_start(test):
    etcd = Etcd(test)
    options = {"founders": "P1", "min_insync": "1"}
    n = SickNode(test, etcd, "P1", **options)
    wait_for(lambda: n.role() == "master", "it leads")
    with n.client() as c:
        for i in range(50):
            c.call("XADD", "engine", "*", "v", str(i))
    assert n.stop() == 0
    n = Notifying(test, etcd, "P1", start=False, **options)
    n.manager = Manager(test, "P1")
    n.start(wait=False)
    wait_for(n.disk.hanging, "it reads its log")
    asked = n.manager.times("EXTEND_TIMEOUT_USEC")
    assert asked, "it did not ask for time before the log"
    assert any("opening the log" in s for s in n.manager.values("STATUS"))
    wait_for(lambda: time.monotonic() - asked[-1] > 3, "time goes by")
    assert n.manager.times("EXTEND_TIMEOUT_USEC") == asked, "it asked for time without getting on"
    assert not n.manager.times("READY")
    n.disk.well()
    wait_for(lambda: n.manager.times("READY"), "READY")
    assert len(n.manager.times("EXTEND_TIMEOUT_USEC")) > len(asked), "it got on and did not ask for time"
    assert n.stop() == 0


def main(test):
    run_scenarios(test, [gateway, node, slow_start])


if __name__ == "__main__":
    run(main)
