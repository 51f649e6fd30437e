"""Histories of clients as files for tests/check/leash-check (tests/check/hist_text.h has the format, hist.h what is checked).

    h = History(path, "p0", in_order=True)
    conn = h.conn(client)                       # a leashtest.Client, just made
    tag = h.append(conn, ident(b"p0", b"7"), b"value")  # right before it is sent; "": it has no id of its own
    h.answered(tag, client.read())              # right after

Each History belongs to one thread. Reader is a client that only reads, and writes down what it was shown.
"""

import os
import random
import re
import subprocess
import threading
import time

from leashtest import BUILD, Client, ConnectionLost, RespError

SURELY_NOTHING = ("TRYAGAIN", "NOREPLICAS", "READONLY", "OOM")  # leash's errors after which the record is not in the log
_escaped = re.compile(rb"[^\x20-\x7e]|\\")


def text(value):
    """As `leash log cat` prints a value."""
    return _escaped.sub(lambda m: b"\\x%02x" % m.group()[0], value).decode()


def payload(fields):
    """As `leash log cat` prints a record: [field, value, ...]."""
    if len(fields) == 2:
        return text(fields[1])
    return " ".join(text(f) + "=" + text(v) for f, v in zip(fields[::2], fields[1::2]))


def ident(producer, name):
    """As `leash log cat` prints producer and id."""
    def safe(value, also):
        return "".join("\\x%02x" % ord(c) if c in also else c for c in text(value))
    return safe(producer, "[]/") + "/" + safe(name, "[]")


def process_id(client):
    return re.search(rb"process_id:(\d+)", client.call("INFO", "server")).group(1).decode()


class History:
    def __init__(self, path, name, in_order=False):
        self.path, self.name = path, name
        self.file = open(path, "w", encoding="ascii")
        self.conns = self.tags = 0
        self.one_endpoint = None  # what is at the other end of every connection, over restarts; None: whichever process it is
        self._line("client %s%s" % (name, " in-order" if in_order else ""))

    def close(self):
        self.file.close()

    def _line(self, line):
        self.file.write(line + "\n")

    def _question(self, kind, conn, rest=""):
        self.tags += 1
        self._line("%s %d %d %d%s" % (kind, self.tags, time.monotonic_ns(), conn, rest))
        return self.tags

    def conn(self, client):
        """A client that is gone before it answers raises as always, and is no connection of this history."""
        endpoint = self.endpoint(client)
        self.conns += 1
        self._line("conn %d %s" % (self.conns, endpoint))
        return self.conns

    def endpoint(self, client):
        """The process at the other end: asked for, since the port outlives the process."""
        return self.one_endpoint or "%d:%s" % (client.sock.getpeername()[1], process_id(client))

    def append(self, conn, name, value):
        """`name`: ident(), or "": none, then the value must be the only one of its kind."""
        return self._question("append", conn, " [%s] %s" % (name, text(value)))

    def answered(self, tag, reply):
        now = time.monotonic_ns()
        if not isinstance(reply, RespError):
            self._line("ok %d %d %d" % (tag, now, int(reply.split(b"-")[0])))
        elif reply.code == "IDMPCONFLICT":
            self._line("conflict %d %d 0" % (tag, now))
        else:
            self._line("%s %d %d" % ("refused" if reply.code in SURELY_NOTHING else "unknown", tag, now))

    def read(self, conn, first, last=0, count=0):
        return self._question("read", conn, " %d %d %d" % (first, last, count))

    def shown(self, tag, found):
        """`found`: entries as XRANGE answers them."""
        now = time.monotonic_ns()
        for entry_id, fields in found:
            self._line("shows %d %d %s" % (tag, int(entry_id.split(b"-")[0]), payload(fields)))
        self._line("end %d %d" % (tag, now))

    def length(self, conn):
        return self._question("length", conn)

    def counted(self, tag, n):
        self._line("is %d %d %d" % (tag, time.monotonic_ns(), n))


class Reader(threading.Thread):
    """Reads at one address (of a gateway or a node) all the time: new records as they come (XREAD, blocking or not,
    XRANGE), older ones, and lengths. Comes back after a lost connection; an error is no answer."""

    def __init__(self, port, history, engine="engine"):
        super().__init__(daemon=True)
        self.port, self.history, self.engine = port, history, engine
        self.rng = random.Random(port)
        self.last = 0       # the highest position that it was shown
        self.answers = 0
        self.trouble = None
        self.halt = threading.Event()

    def run(self):
        while not self.halt.is_set() and not self.trouble:
            try:
                with self.connect() as r:
                    conn = self.history.conn(r)
                    while not self.halt.wait(0.01):  # so that producers get their share of the machine
                        self.ask(r, conn)
            except (OSError, ConnectionLost):
                self.halt.wait(0.05)
            except RespError:
                self.halt.wait(0.05)  # not now
            except Exception as e:  # an answer that is none: the test must hear of it
                self.trouble = repr(e)

    def connect(self):
        return Client("127.0.0.1", self.port, timeout_s=120)

    def ask(self, r, conn):
        self.rng.choice((self.follow, self.follow, self.follow_blocking, self.scan, self.look_back, self.count))(r, conn)
        self.answers += 1

    def _found(self, tag, found):
        self.history.shown(tag, found)
        if found:
            self.last = max(self.last, int(found[-1][0].split(b"-")[0]))

    def follow(self, r, conn):
        tag = self.history.read(conn, self.last + 1, 0, 200)
        reply = r.call("XREAD", "COUNT", 200, "STREAMS", self.engine, "%d-0" % self.last)
        self._found(tag, reply[0][1] if reply else [])

    def follow_blocking(self, r, conn):
        tag = self.history.read(conn, self.last + 1, 0, 200)
        reply = r.call("XREAD", "COUNT", 200, "BLOCK", 200, "STREAMS", self.engine, "%d-0" % self.last)
        if reply:
            self._found(tag, reply[0][1])

    def scan(self, r, conn):
        tag = self.history.read(conn, self.last + 1)
        self._found(tag, r.call("XRANGE", self.engine, "%d-0" % (self.last + 1), "+"))

    def look_back(self, r, conn):
        first = self.rng.randint(1, self.last + 1)
        tag = self.history.read(conn, first, first + 20, 10)
        self._found(tag, r.call("XRANGE", self.engine, "%d-0" % first, "%d-0" % (first + 20), "COUNT", 10))

    def count(self, r, conn):
        tag = self.history.length(conn)
        self.history.counted(tag, r.call("XLEN", self.engine))

    def finish(self, seconds=130):
        self.halt.set()
        self.join(seconds)
        assert not self.is_alive(), "the reader %s still waits" % self.history.name
        assert not self.trouble, "the reader %s: %s" % (self.history.name, self.trouble)


def check(histories, logs, *options):
    """Runs leash-check over them; prints its counts. `logs`: files of what `leash log cat` printed."""
    for h in histories:
        h.close()
    program = os.path.join(BUILD, "tests", "check", "leash-check")
    argv = [program, *options, *("--log=" + log for log in logs), *(h.path for h in histories)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print("history " + done.stdout.strip(), flush=True)
    assert done.returncode == 0, "leash-check ended with %d: %s" % (done.returncode, done.stdout)
