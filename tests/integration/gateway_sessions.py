#!/usr/bin/env python3
"""Messages without ids of their own, through the gateway to real nodes: its sessions keep each from being lost or doubled
while primaries are killed, paused and hand over. Each gets one answer, no error, in order, and is in the
log once; and the history of all clients, readers among them, is checked (tests/check/hist.h)."""

import sys
import threading

from cluster import Cluster, seq_of
from leashtest import ConnectionLost, RespError, run, wait_for

WINDOW = 32


class Writer(threading.Thread):
    def __init__(self, cluster, name):
        super().__init__(daemon=True)
        self.cluster, self.name_ = cluster, name
        self.sent, self.acks, self.trouble = 0, [], None
        self.history = cluster.history(name, in_order=True)
        self.halt = threading.Event()
        self.start()

    def run(self):
        try:
            with self.cluster.gateway.client() as r:
                conn, tags = self.history.conn(r), []
                while not self.halt.is_set() or len(self.acks) < self.sent:
                    while not self.halt.is_set() and self.sent - len(self.acks) < WINDOW:
                        value = b"%s:%d" % (self.name_.encode(), self.sent)
                        tags.append(self.history.append(conn, "", value))
                        r.send("XADD", "engine", "*", "v", value)
                        self.sent += 1
                    reply = r.read()
                    self.history.answered(tags.pop(0), reply)
                    if isinstance(reply, RespError):
                        raise reply
                    self.acks.append(seq_of(reply))
        except (OSError, ConnectionLost, RespError) as e:
            self.trouble = repr(e)


def moving(writers, more=100):
    goals = [len(w.acks) + more for w in writers]
    wait_for(lambda: all(w.trouble or len(w.acks) >= g for w, g in zip(writers, goals)), "answers go on", 60)
    for w in writers:
        assert not w.trouble, "%s: %s" % (w.name_, w.trouble)


def main(test):
    c = Cluster(test)
    writers = [Writer(c, "w%d" % i) for i in range(6)]
    c.start_readers()
    moving(writers)
    for _ in range(4):
        victim = c.wait_primary()
        victim.kill()
        moving(writers)
        victim.start()
        c.wait_in_sync()
    victim = c.wait_primary()
    victim.pause()
    moving(writers)
    victim.resume()
    c.wait_in_sync()
    victim = c.wait_primary()
    assert victim.stop() == 0
    moving(writers)
    victim.start()
    c.wait_in_sync()
    for w in writers:
        w.halt.set()
    for w in writers:
        w.join(60)
        assert not w.is_alive() and not w.trouble, "%s: %s" % (w.name_, w.trouble)
    where = {}
    for seq, fields in c.wait_equal():
        value = fields[1].decode()
        assert value not in where, "%s is in the log twice" % value
        where[value] = seq
    for w in writers:
        assert [where.get("%s:%d" % (w.name_, i)) for i in range(w.sent)] == w.acks, "%s is not where it was told" % w.name_
        assert w.acks == sorted(w.acks), "%s is out of order" % w.name_
    assert len(where) == sum(w.sent for w in writers)
    c.check_histories()
    with c.gateway.client() as r:
        sys.stdout.write(r.call("INFO", "engines").decode())
    print("%d messages" % len(where))


if __name__ == "__main__":
    run(main)
