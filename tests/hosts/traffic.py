"""Clients of a site's gateways: producers with ids of their own, writers without, readers everywhere.

    t = Traffic(site)           # they are at work
    t.moving()                  # every one of them has had further answers
    t.finish()                  # what is unanswered is answered

All of them write down what they send and are told; Site.settle() compares it with the logs of all nodes.
"""

import itertools
import socket
import threading
import time

import history
from cluster import Producer, seq_of
from leashtest import Client, ConnectionLost, Failed, RespError, wait_for

PACE_S = 0.01       # between two messages of a client: the logs are read often, and must not grow without need
ANSWER_S = 90       # longer than any hold_timeout
WRITER_WINDOW = 8
MOVING_S = 60

_numbers = itertools.count()


def connect(address, port, timeout_s=ANSWER_S):
    """A client that notices within some seconds when the other host has lost its power."""
    c = Client(address, port, timeout_s=timeout_s)
    for option, value in ((socket.TCP_KEEPIDLE, 2), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 4),
                          (socket.TCP_USER_TIMEOUT, 6000)):
        c.sock.setsockopt(socket.IPPROTO_TCP, option, value)
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return c


class HostHistory(history.History):
    """Process ids begin anew when a host boots, so the boot belongs to the endpoint."""

    def __init__(self, site, path, name, in_order):
        super().__init__(path, name, in_order)
        self.site = site

    def endpoint(self, client):
        address, port = client.sock.getpeername()[:2]
        boots = next(h.boots for h in self.site.hosts if h.address == address)
        return "%s:%d:%d:%s" % (address, port, boots, history.process_id(client))


class IdProducer(Producer):
    """Goes on at the next gateway when its own is lost."""

    def __init__(self, site, name, hist, window=4):
        super().__init__(None, name, window, hist)
        self.gateways = itertools.cycle([(g.address, site.gateway_port) for g in site.gateways])

    def connect(self):
        return connect(*next(self.gateways))

    def send(self, r, conn, i):
        self.halt.wait(PACE_S)
        return super().send(r, conn, i)


class Writer(threading.Thread):
    """Messages without ids: each gets one answer, and the connection lives as long as the gateway."""

    def __init__(self, site, name, hist):
        super().__init__(daemon=True)
        self.address = (site.gateways[0].address, site.gateway_port)
        self.name_, self.history = name, hist
        self.acks, self.errors = {}, []
        self.sent = self.reconnects = 0
        self.longest_pause = 0.0
        self.halt = threading.Event()

    def run(self):
        try:
            with connect(*self.address) as r:
                self.write(r, self.history.conn(r))
        except (OSError, ConnectionLost, RespError) as e:
            self.errors.append((len(self.acks), repr(e)))

    def write(self, r, conn):
        tags, last = [], time.monotonic()
        while not self.halt.is_set() or len(self.acks) < self.sent:
            while not self.halt.wait(PACE_S) and self.sent - len(self.acks) < WRITER_WINDOW:
                value = b"%s:%d" % (self.name_.encode(), self.sent)
                tags.append(self.history.append(conn, "", value))
                r.send("XADD", "engine", "*", "v", value)
                self.sent += 1
            if len(self.acks) == self.sent:
                continue
            reply = r.read()
            self.history.answered(tags.pop(0), reply)
            now = time.monotonic()
            self.longest_pause, last = max(self.longest_pause, now - last), now
            if isinstance(reply, RespError):
                raise reply
            self.acks[len(self.acks)] = seq_of(reply)

    def finish(self, seconds=MOVING_S):
        self.halt.set()
        self.join(seconds)
        if self.is_alive():
            raise Failed("%s still waits for %d answers" % (self.name_, self.sent - len(self.acks)))


class HostReader(history.Reader):
    def __init__(self, address, port, hist):
        super().__init__(port, hist)
        self.address = address

    def connect(self):
        return connect(self.address, self.port)


class Traffic:
    """`writers`: clients without ids; there are none where the gateway itself is to go, for nobody could say then what became
    of their messages."""

    def __init__(self, site, producers=3, writers=2, readers=True):
        self.site = site
        self.clients, self.readers = [], []
        for _ in range(producers):
            self.clients.append(self.named("p", lambda name, h: IdProducer(site, name, h)))
        for _ in range(writers):
            self.clients.append(self.named("w", lambda name, h: Writer(site, name, h)))
        for host, port in site.readable() if readers else []:
            self.readers.append(self.named("r-%s-" % host.name, lambda name, h: HostReader(host.address, port, h), False))
        site.clients += self.clients
        for c in self.clients + self.readers:
            c.start()
        self.moving()

    def named(self, kind, make, in_order=True):
        name = "%s%d" % (kind, next(_numbers))
        return make(name, self.site.history(name, in_order))

    def trouble(self):
        for c in self.clients:
            if c.errors:
                raise Failed("%s saw an error: %r" % (c.name_, c.errors))

    def moving(self, more=10, seconds=MOVING_S):
        """Waits until each client that writes has `more` further answers. Returns the seconds this took."""
        began = time.monotonic()
        goals = [len(c.acks) + more for c in self.clients]
        wait_for(lambda: all(len(c.acks) >= g or c.errors for c, g in zip(self.clients, goals)), "answers go on", seconds)
        self.trouble()
        return time.monotonic() - began

    def unbroken(self):
        """No client lost its connection: for faults that a living gateway hides."""
        for c in self.clients:
            if c.reconnects:
                raise Failed("%s lost its connection %d times" % (c.name_, c.reconnects))

    def reset_pause(self):
        for c in self.clients:
            c.longest_pause = 0.0

    def pause_ms(self):
        """The longest time without an answer that any client has seen since reset_pause()."""
        return round(1000 * max(c.longest_pause for c in self.clients))

    def finish(self):
        for c in self.clients:
            c.finish()
        for r in self.readers:
            r.finish()
        self.trouble()
