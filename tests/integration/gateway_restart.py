#!/usr/bin/env python3
"""Client connections live on while the gateway is restarted, by way of the service manager (src/gateway/keep.h).

1. under_load: over many restarts, some of them while primaries are killed, no connection ends, none is refused, no client
   sees an error: those that pipeline messages with and without ids, that block, have sent half a command, do not read their
   replies, are idle. Records are in the log exactly once, in order; the history of all clients holds, with the gateway as one endpoint.
2. no_primary: what is in flight when the gateway stops waits for a primary as it would have without a restart.
3. damaged_notes: what the former process wrote is cut, changed, missing or of another version, the sockets are mixed up: the
   connections are closed, and nothing else.
4. known_epoch: the next life believes no primary of an epoch below what the former knew, and needs no etcd to go on.
5. not_kept: without a store the gateway answers what is in flight and closes, and new connections wait for the next start.
"""

import array
import json
import os
import socket
import threading
import time

from cluster import SLOW, Cluster, Producer, check_promises, run_scenarios, seq_of
from history import Reader
from leashtest import ConnectionLost, Etcd, RespError, run, wait_for
from manager import ManagedGateway
from test_gateway import Fakes

RESTARTS = int(os.environ.get("LEASH_RESTARTS", "4"))
IDLE = 300


class Talker(threading.Thread):
    """One connection that must never end. work() is repeated until halt; what it raises is the trouble."""

    def __init__(self, gateway, name):
        super().__init__(daemon=True)
        self.gateway, self.name_ = gateway, name
        self.client = gateway.client()
        self.rounds, self.trouble = 0, None
        self.halt = threading.Event()

    def run(self):
        try:
            self.begin()
            while not self.halt.is_set():
                self.work()
                self.rounds += 1
            self.end()
        except Exception as e:  # whatever it is, the test must hear of it
            self.trouble = "%s: %r after %d rounds" % (self.name_, e, self.rounds)

    def begin(self):
        pass

    def end(self):
        pass

    def finish(self):
        self.halt.set()
        self.join(120 * SLOW)
        assert not self.trouble, self.trouble
        assert not self.is_alive(), "%s waits for ever" % self.name_


class Writer(Talker):
    """Messages without ids of their own, `window` in flight."""

    def __init__(self, gateway, name, history, window=32):
        super().__init__(gateway, name)
        self.history, self.window = history, window
        self.sent, self.acks, self.tags = 0, [], []

    def begin(self):
        self.conn = self.history.conn(self.client)

    def work(self):
        while not self.halt.is_set() and self.sent - len(self.acks) < self.window:
            value = b"%s:%d" % (self.name_.encode(), self.sent)
            self.tags.append(self.history.append(self.conn, "", value))
            self.client.send("XADD", "engine", "*", "v", value)
            self.sent += 1
        reply = self.client.read()
        self.history.answered(self.tags.pop(0), reply)
        if isinstance(reply, RespError):
            raise reply
        self.acks.append(seq_of(reply))

    def end(self):
        while len(self.acks) < self.sent:
            self.work()


class Follower(Talker):
    """Everything, in order, without a gap, by blocking reads; RESP 3."""

    def __init__(self, gateway, name, block_ms):
        super().__init__(gateway, name)
        self.block_ms, self.last, self.nothing = block_ms, 0, 0

    def begin(self):
        assert self.client.call("HELLO", "3")["proto"] == 3

    def work(self):
        found = self.client.call("XREAD", "COUNT", 500, "BLOCK", self.block_ms, "STREAMS", "engine", "%d-0" % self.last)
        if found is None:
            self.nothing += 1
            return
        assert isinstance(found, dict), "RESP 3 answers with a map"
        for entry_id, _ in found["engine"]:
            assert seq_of(entry_id) == self.last + 1, "%r after %d" % (entry_id, self.last)
            self.last += 1


class Dribbler(Talker):
    """Commands that are sent in two parts; a gateway's life may lie between them."""

    def __init__(self, gateway, name, history):
        super().__init__(gateway, name)
        self.acks, self.history = [], history

    def begin(self):
        self.conn = self.history.conn(self.client)

    def work(self):
        value = b"%s:%d" % (self.name_.encode(), len(self.acks))
        command = b"*5\r\n$4\r\nXADD\r\n$6\r\nengine\r\n$1\r\n*\r\n$1\r\nv\r\n$%d\r\n%s\r\n" % (len(value), value)
        at = 1 + self.rounds * 7 % (len(command) - 1)
        pid = self.gateway.popen.pid
        tag = self.history.append(self.conn, "", value)
        self.client.send_raw(command[:at])
        wait_for(lambda: self.gateway.popen.pid != pid or self.halt.wait(0.02), "another life of the gateway", 120 * SLOW)
        self.client.send_raw(command[at:])
        reply = self.client.read()
        self.history.answered(tag, reply)
        if isinstance(reply, RespError):
            raise reply
        self.acks.append(seq_of(reply))


class LazyReader(Talker):
    """Asks for much and reads it late, piece by piece: most of the replies are in the gateway meanwhile, or not yet made."""

    def begin(self):
        self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    def work(self):
        questions = 4
        for _ in range(questions):
            self.client.send("XRANGE", "engine", "-", "+")
            self.client.send("XLEN", "engine")
        before = 0
        for _ in range(questions):
            self.halt.wait(0.2)
            found = self.client.read()
            assert not isinstance(found, RespError), found
            assert [seq_of(e[0]) for e in found] == list(range(1, len(found) + 1)), "entries are missing"
            length = self.client.read()
            assert before <= len(found), (before, len(found))
            before = length  # of a moment between: reads of one connection may overlap


class Newcomer(Talker):
    """A new connection each time: none may be refused or end without an answer."""

    def work(self):
        with self.gateway.client() as c:
            assert c.call("ECHO", "hello") == b"hello"


def kept_history(cluster, gateway, name):
    h = cluster.history(name, in_order=not name.startswith("reader"))
    h.one_endpoint = "%d:kept" % gateway.port
    return h


def idle_clients(gateway):
    clients = [gateway.client() for _ in range(IDLE)]
    for i, c in enumerate(clients):
        assert c.call("CLIENT", "SETNAME", "idle%d" % i) == "OK"
    return clients, [c.call("CLIENT", "ID") for c in clients]


def check_idle(clients, ids):
    for i, c in enumerate(clients):
        assert c.call("CLIENT", "GETNAME") == b"idle%d" % i
        assert c.call("CLIENT", "ID") == ids[i]


def moving(everybody, writers, more=60):
    goals = [len(w.acks) + more for w in writers]
    wait_for(lambda: any(t.trouble for t in everybody) or all(len(w.acks) >= g for w, g in zip(writers, goals)),
             "answers go on", 90 * SLOW)
    for t in everybody:
        assert not t.trouble, t.trouble


def under_load(test):
    c = Cluster(test, gateway=False)
    gw = c.gateway = ManagedGateway(test, c.etcd)
    writers = [Writer(gw, "w%d" % i, kept_history(c, gw, "w%d" % i)) for i in range(4)]
    producers = [Producer(gw.port, "p%d" % i, 8, kept_history(c, gw, "p%d" % i)) for i in range(4)]
    followers = [Follower(gw, "f%d" % i, ms) for i, ms in enumerate((0, 50, 1000))]
    dribblers = [Dribbler(gw, "d%d" % i, kept_history(c, gw, "d%d" % i)) for i in range(4)]
    others = [LazyReader(gw, "lazy"), Newcomer(gw, "new0"), Newcomer(gw, "new1")]
    readers = [Reader(gw.port, kept_history(c, gw, "reader%d" % i)) for i in range(2)]
    c.readers += readers
    idle, ids = idle_clients(gw)
    waiting = gw.client()
    waiting.send("XREAD", "BLOCK", "0", "STREAMS", "engine", "999999999-0")  # never answered
    talkers = writers + followers + dribblers + others
    for t in talkers + producers + readers:
        t.start()
    for p in producers:
        p.trouble = None
    moving(talkers, writers + producers)
    away = []
    for i in range(RESTARTS):
        victim = c.wait_primary() if i % 3 == 1 else None
        if victim:
            victim.kill()
        away.append(gw.restart())
        moving(talkers, writers + producers)
        if victim:
            victim.start()
            c.wait_in_sync()
    check_idle(idle, ids)
    for t in followers + others + producers + writers + dribblers:  # readers first: they wait for records
        t.finish()
    for p in producers:
        assert p.reconnects == 0 and not p.errors, (p.name_, p.reconnects, p.errors)
    log = c.wait_equal()
    check_promises(log, producers)
    where = {fields[1].decode(): seq for seq, fields in log}
    for w in writers + dribblers:
        assert [where.get("%s:%d" % (w.name_, i)) for i in range(len(w.acks))] == w.acks, "%s is not where it was told" % w.name_
        assert w.acks == sorted(w.acks)
    assert len(log) == sum(len(t.acks) for t in writers + producers + dribblers), "the log has what nobody was told of"
    waiting.sock.setblocking(False)
    try:
        raise AssertionError("who waits for what never comes got %r" % waiting.sock.recv(100))
    except BlockingIOError:
        pass
    c.check_histories()
    assert all(r.history.conns == 1 for r in readers), "a reader lost its connection, or saw an error"
    for word in ("damaged", "had to be closed", "cannot be kept", "cannot go on"):
        assert word not in gw.output(), word
    print("%d records, %d restarts, away for up to %.2f s; %d looks of the lazy reader, %d new connections" % (
        len(log), len(away), max(away), others[0].rounds, others[1].rounds + others[2].rounds), flush=True)


def no_primary(test):
    c = Cluster(test, gateway=False)
    gw = c.gateway = ManagedGateway(test, c.etcd)
    with gw.client() as r, gw.client() as other:
        assert seq_of(r.call("XADD", "engine", "*", "v", "a")) == 1
        for n in c.nodes:
            n.pause()
        for i in range(5):  # to who does not answer
            r.send("XADD", "engine", "*", "v", "b%d" % i)
            other.send("XADD", "engine", "IDMP", "o", str(i), "*", "v", "o%d" % i)
        with gw.client() as third:
            wait_for(lambda: "in_flight=10" in third.call("INFO", "engines").decode(), "they are under way", 20 * SLOW)
        stopped = time.monotonic()
        gw.signal(15)
        wait_for(lambda: gw.manager.times("STOPPING", "1"), "it stops")
        time.sleep(1)  # not for something to happen: nothing may
        assert gw.running(), "it did not wait for answers"
        for n in c.nodes:
            n.resume()
        assert gw.wait(40 * SLOW) == 0
        assert time.monotonic() - stopped < 15 * SLOW
        gw.start()
        places = [seq_of(x.read()) for x in (r, other) for _ in range(5)]
        assert sorted(places) == list(range(2, 12)) and places[:5] == sorted(places[:5])
        # nobody comes back in time: it ends at a second signal, and they are told what the protocol says
        for n in c.nodes:
            n.pause()
        r.send("XADD", "engine", "*", "v", "c")
        r.send("XLEN", "engine")
        wait_for(lambda: "in_flight=1" in other.call("INFO", "engines").decode(), "it is under way", 20 * SLOW)
        gw.signal(15)
        wait_for(lambda: len(gw.manager.times("STOPPING", "1")) == 2, "it stops")
        gw.signal(15)
        assert gw.wait(5 * SLOW) == 0
        gw.start()
        reply = r.read()
        assert isinstance(reply, RespError) and reply.code in ("INDOUBT", "TRYAGAIN"), reply
        for n in c.nodes:
            n.resume()
        n = r.read()
        assert n in (11, 12), n


def open_bag(bag):
    """Its messages: [(label, [descriptors])]."""
    s = socket.socket(fileno=os.dup(bag))
    s.setblocking(False)
    found = []
    while True:
        fds = array.array("i")
        data, control, _, _ = s.recvmsg(8, socket.CMSG_SPACE(253 * 4))
        if not data:
            return found
        for _, _, body in control:
            fds.frombytes(body)
        found.append((data, list(fds)))


def make_bag(messages):
    a, b = socket.socketpair()
    for data, fds in messages:
        a.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        for fd in fds:
            os.close(fd)
    a.close()
    return b.detach()


def memfd(data):
    fd = os.memfd_create("note")
    os.write(fd, data)
    return fd


def note_with(change):
    def damage(messages):
        label, (note,) = messages[0]
        data = bytearray(os.pread(note, os.fstat(note).st_size, 0))
        os.close(note)
        return [(label, [memfd(bytes(change(data)))])] + messages[1:]
    return damage


def flip(at):
    def change(data):
        data[at] ^= 0x10
        return data
    return change


def drop_note(messages):
    os.close(messages[0][1][0])
    return messages[1:]


def mixed_up(messages):
    return [messages[0]] + [(data, fds[1:] + fds[:1]) for data, fds in messages[1:]]  # none stays in its place


DAMAGES = {
    "flipped": note_with(flip(200)), "other version": note_with(flip(8)), "other magic": note_with(flip(0)),
    "cut": note_with(lambda d: d[:-1]), "cut short": note_with(lambda d: d[:20]), "empty": note_with(lambda d: b""),
    "longer": note_with(lambda d: d + b"x"), "nothing": drop_note, "mixed up": mixed_up,
    "no memfd": lambda m: [(m[0][0], [os.open("/dev/null", os.O_RDONLY)])] + m[1:],
    "empty bag": lambda m: [os.close(fd) for _, fds in m for fd in fds] and [],
    "strange label": lambda m: [(b"12345678", fds) for _, fds in m],
}


def damaged_notes(test):
    c = Cluster(test, gateway=False)
    gw = c.gateway = ManagedGateway(test, c.etcd)
    for name, damage in DAMAGES.items():
        clients = [gw.client() for _ in range(20)]
        for i, r in enumerate(clients):
            r.send_raw(b"*5\r\n$4\r\nXADD\r\n$6\r\nengine\r\n$1\r\n*\r\n$1\r\nv\r\n$3\r\n1%d" % (i % 10))
            assert r.sock.getpeername()
        with gw.client() as r:
            assert r.call("PING") == "PONG"
        gw.signal(15)
        assert gw.wait(40 * SLOW) == 0
        with gw.manager.lock:
            gw.manager.store = [(n, make_bag(damage(open_bag(bag)))) for n, bag in gw.manager.store if [os.fstat(bag)]]
        gw.start()
        for r in clients:
            try:
                r.send_raw(b"1\r\n")
                raise AssertionError("%s: %r" % (name, r.read()))
            except (ConnectionLost, OSError):
                pass
            r.close()
        with gw.client() as r:
            assert r.call("XLEN", "engine") == 0, name
        assert not gw.manager.store, "%s: taken, and still there" % name
    with gw.client() as r:
        gw.restart()
        assert r.call("PING") == "PONG"


def not_kept(test):
    c = Cluster(test, gateway=False)
    gw = c.gateway = ManagedGateway(test, c.etcd, keeps=False)
    with gw.client() as r:
        for i in range(100):
            r.send("XADD", "engine", "*", "v", str(i))
        assert seq_of(r.read()) == 1
        pid = gw.popen.pid
        fresh = []
        stop = threading.Event()

        def connect():
            while not stop.is_set():
                with gw.client() as x:
                    try:
                        fresh.append(x.call("PING"))
                    except (ConnectionLost, OSError):
                        assert gw.popen.pid == pid or not stop.is_set()  # it was accepted by the one that ended
        t = threading.Thread(target=connect, daemon=True)
        t.start()
        gw.restart()
        stop.set()
        t.join(60)
        last = 1
        try:
            while True:
                reply = r.read()
                assert seq_of(reply) == last + 1
                last += 1
        except (ConnectionLost, OSError):
            pass
    with gw.client() as r:
        assert r.call("XLEN", "engine") >= last


def known_epoch(test):
    etcd = Etcd(test)
    fakes = Fakes("engine", ("P1", "S1"))
    for name in ("P1", "S1"):
        etcd.put("engine/nodes/" + name, json.dumps({
            "node": name, "address": fakes.address[name], "incarnation": "%016x" % 1, "run": "%016x" % 2,
            "cluster": "%016x" % 0xc1, "priority": 0, "log_epoch": 0, "log_end": 0, "release": "0"}))

    def put_leader(name, epoch):
        etcd.put("engine/leader", json.dumps({"node": name, "address": fakes.address[name], "epoch": epoch,
                                              "incarnation": "%016x" % 1, "run": "%016x" % 2}))
    fakes("lead", "P1", 5)
    put_leader("P1", 5)
    gw = ManagedGateway(test, etcd)
    with gw.client() as r, gw.client() as other:
        assert seq_of(r.call("XADD", "engine", "*", "v", "a")) == 1
        etcd.pause()
        gw.restart()
        assert seq_of(r.call("XADD", "engine", "*", "v", "b")) == 2, "it goes on while etcd is silent"
        etcd.resume()
        wait_for(lambda: "etcd connected" in "".join(gw.manager.values("STATUS")[-1:]), "etcd answers")
        gw.signal(15)
        assert gw.wait(40 * SLOW) == 0
        fakes("lead", "S1", 4)  # of the past, and etcd shows it
        put_leader("S1", 4)
        gw.start()
        wait_for(lambda: "etcd connected" in "".join(gw.manager.values("STATUS")[-1:]), "etcd answers")
        r.send("XADD", "engine", "*", "v", "c")
        wait_for(lambda: "held=1" in other.call("INFO", "engines").decode(), "it is held")
        assert "epoch=5" in other.call("INFO", "engines").decode()
        fakes("lead", "S1", 6)
        assert seq_of(r.read()) == 3
        assert fakes.log() == ["a", "b", "c"]
    fakes.close()


def main(test):
    run_scenarios(test, [under_load, no_primary, damaged_notes, not_kept, known_epoch])


if __name__ == "__main__":
    run(main)
