#!/usr/bin/env python3
"""The gateway against a real redis-server: the same commands at random, the same replies, apart from DIFFERENCES below.

1. Commands of the shared surface, with good and bad arguments, pipelined, in RESP2 and RESP3: reply by reply.
2. Inline commands with quotes of all kinds, and malformed protocol: byte by byte, and whether the connection is closed.
3. Every row of DIFFERENCES is met at least once by a fixed command, so that the table stays true.

    differential.py [--seed N] [--commands N]

The seed is printed; it determines everything that is sent. Ids: Redis is given the number that leash is about to assign.
What Redis does by itself is not asked of leash: other keys are no streams, and `engine` is there from the beginning.
"""

import argparse
import os
import random
import shutil
import socket
import sys

from cluster import Cluster
from leashtest import Process, Skip, run, wait_for

COMMANDS = 6000
RAW_ROUNDS = 400
FOUND_MAX = 20  # then it ends


class Reply:
    """One reply with its type, so that $3 OK and +OK differ. Maps: pairs in order."""

    def __init__(self, kind, value):
        self.kind, self.value = kind, value

    def __eq__(self, other):
        return isinstance(other, Reply) and self.kind == other.kind and self.value == other.value

    def __repr__(self):
        return "%s%r" % (self.kind, self.value)

    def error(self):
        return self.value if self.kind == "-" else b""

    def map(self):
        """A map, also as RESP2 sends it."""
        if self.kind == "%":
            return {k.value: v for k, v in self.value}
        return {self.value[i].value: self.value[i + 1] for i in range(0, len(self.value), 2)}


class Connection:
    def __init__(self, address):
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(address)
        self.file = self.sock.makefile("rb")

    def close(self):
        self.file.close()
        self.sock.close()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(line)
        kind, rest = chr(line[0]), line[1:-2]
        if kind in "$=!":
            if rest == b"-1":
                return Reply("null", "$")
            data = self.file.read(int(rest) + 2)
            return Reply(kind, data[:-2])
        if kind in "*~>":
            return Reply("null", "*") if rest == b"-1" else Reply(kind, [self.read() for _ in range(int(rest))])
        if kind == "%":
            return Reply(kind, [(self.read(), self.read()) for _ in range(int(rest))])
        if kind == "_":
            return Reply("null", "_")
        return Reply(kind, rest)


def encode(args):
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


# ----------------------------------------------------------------------------------------------------------- differences


def word(args, i):
    return args[i].lower() if i < len(args) else b""


def says(text):
    return lambda args, redis, leash: text in leash.error()


def is_command(*names):
    return lambda args, redis, leash: (word(args, 0), word(args, 1))[: len(names)] == tuple(n.encode() for n in names)


def xinfo(args, redis, leash):
    """The same fields but for those that tell of Redis's memory, and more of them."""
    if word(args, 0) != b"xinfo" or redis.kind not in "*%" or leash.kind != redis.kind:
        return False
    want, have = redis.map(), leash.map()
    for key in (b"radix-tree-keys", b"radix-tree-nodes"):
        want.pop(key, None)
    return all(have.get(k) == v for k, v in want.items())


def hello(args, redis, leash):
    if word(args, 0) != b"hello" or redis.kind not in "*%" or leash.kind != redis.kind:
        return False
    want, have = redis.map(), leash.map()
    return all(have.get(k) == want[k] for k in (b"server", b"proto", b"mode", b"role", b"modules"))


def later_than_7_0(args, redis, leash):
    """Options that Debian's Redis does not have yet."""
    return b"unknown subcommand" in redis.error() and word(args, 1) in (b"setinfo", b"no-touch")


def unbalanced(args, redis, leash):
    return b"Unbalanced XREAD list" in redis.error() and b"Unbalanced 'xread' list" in leash.error()


def last_entry(args, redis, leash):
    return word(args, 0) == b"xread" and b"+" in args and b"Invalid stream ID" in redis.error()


def loose_ids(args, redis, leash):
    """Redis reads ids with strtoull(3) when its own parser does not take them."""
    parts = [p for a in args[2:] for p in a.lstrip(b"(").split(b"-", 1)]
    return b"Invalid stream ID" in leash.error() and any(p[:1] in (b" ", b"+") for p in parts)


# (what it is, how it is recognised, a command that shows it, why it is so)
DIFFERENCES = [
    ("XINFO STREAM", xinfo, b"XINFO STREAM engine", "there is no radix tree; last-hash and IDMP's counters are there"),
    ("HELLO", hello, b"HELLO 2", "version and id are leash's own"),
    ("COMMAND", is_command("command"), b"COMMAND COUNT", "it tells of the commands there are"),
    ("HELP", lambda a, r, l: word(a, 1) == b"help", b"XINFO HELP", "likewise"),
    ("WAIT", lambda a, r, l: word(a, 0) == b"wait" and r.kind == l.kind == ":", b"WAIT 0 1",
     "it tells of the in-sync secondaries, whatever the client has written"),
    ("XREAD, unbalanced", unbalanced, b"XREAD COUNT 1 STREAMS engine", "the words of Redis 8"),
    ("XREAD +", last_entry, b"XREAD STREAMS engine +", "the last entry, as of Redis 7.4"),
    ("loose ids", loose_ids, b"XRANGE engine - +5", "blanks and signs are no part of a number"),
    ("newer options", later_than_7_0, b"CLIENT SETINFO LIB-NAME x", "those of Redis 7.2"),
    # Of these Redis does what it is asked for: they come last.
    ("explicit ids", says(b"explicit entry IDs are not supported"), b"XADD engine 5-5 f v",
     "ids are positions of a log without gaps; the primary assigns them"),
    ("trimming by clients", says(b"MAXLEN and MINID are not supported"), b"XADD engine MAXLEN 5 * f v",
     "retention is the operator's: retention_bytes, retention_time"),
    ("other keys", says(b"no engine '"), b"XADD nosuch * f v", "a stream is an engine, which an operator makes"),
]


def difference(args, redis, leash):
    for name, match, _, _ in DIFFERENCES:
        if match(args, redis, leash):
            return name
    return None


def strict_line_ends(data, redis, leash):
    return leash.endswith(b"expected CRLF at the end of a bulk string\r\n") or (
        b"bulk length\r\n" in leash and b"\r" in data.replace(b"\r\n", b""))


# The same for bytes that are no good protocol: (what, how it is recognised, bytes that show it, why)
RAW_DIFFERENCES = [
    ("line ends", strict_line_ends, b"*1\r\n$4\r\nPINGxx",
     "Redis skips two bytes without a look; whoever has others there has lost count, and the rest would be misread"),
    ("number of arguments", lambda d, r, l: l.endswith(b"invalid multibulk length\r\n") and b"*1048577" in d,
     b"*1048577\r\n*1\r\n", "one command has at most 1,048,576 arguments, as in Redis before 7"),
    ("unprintable bytes", lambda d, r, l: b"expected '$', got '\\x" in l, b"*1\r\n\xff\r\n", "an error's text is printable"),
    ("NUL in a line", lambda d, r, l: b"\x00" in d, b"\x00\r\n", "Redis reads lines as C strings, leash as bytes"),
]


# -------------------------------------------------------------------------------------------------------------- commands

NEW_ID = object()  # in a command: leash gets *, redis the number that this entry will have


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.length = 0  # of the stream, about

    def pick(self, *choices):
        return self.rng.choice(choices)

    def text(self):
        return bytes(self.rng.choice(b"abcXYZ019 _-\x00\xff\r\n\"'\\") for _ in range(self.rng.choice((0, 1, 2, 3, 8, 60))))

    def number(self):
        return self.pick(b"0", b"1", b"2", b"3", b"10", b"-1", b"-5", b"x", b"", b"1.5", b"9223372036854775807",
                         b"9223372036854775808", b"18446744073709551615", b"18446744073709551616", b"007", b"+1", b" 1",
                         str(self.rng.randint(0, 30)).encode())

    def entry_id(self):
        n = self.rng.randint(0, self.length + 3)
        good = (b"%d" % n, b"%d-0" % n, b"%d-%d" % (n, self.rng.randint(0, 2)))
        odd = (b"-", b"+", b"0", b"0-0", b"0-1", b"$", b"x", b"", b"1-", b"-1", b"1-x", b"1-1-1", b"(-", b"(+", b"((1",
               b"18446744073709551615", b"18446744073709551615-18446744073709551615", b"18446744073709551616",
               b"5-18446744073709551615", b"(18446744073709551615-18446744073709551615", b"(0-0", b"1-*", b"*", b" 1")
        i = self.pick(*good) if self.rng.random() < 0.7 else self.pick(*odd)
        return b"(" + i if self.rng.random() < 0.15 and not i.startswith(b"(") else i

    def key(self):
        return b"engine" if self.rng.random() < 0.93 else self.pick(b"nosuch", b"", b"ENGINE", b"other key")

    def case(self, name):
        return self.pick(name, name.lower(), name.title())

    def xadd(self):
        fields = [self.text() for _ in range(self.pick(2, 2, 2, 4, 6, 1, 3, 0))]
        args = [b"XADD", b"engine"]
        if self.rng.random() < 0.15:
            args.append(self.pick(b"NOMKSTREAM", b"nomkstream", b"NOMK"))
        return args + [NEW_ID] + fields

    def xadd_odd(self):
        """Only what Redis refuses, so that both logs stay the same."""
        return [b"XADD", b"engine"] + self.pick(
            [b"x", b"f", b"v"], [b"MAXLEN", b"~", b"x", b"*", b"f", b"v"], [b"MAXLEN", b"-1", b"*", b"f", b"v"],
            [b"MINID", b"=", b"x", b"*", b"f", b"v"], [b"MAXLEN"], [], [b"*"], [b"LIMIT", b"5", b"*", b"f", b"v"],
            [b"MAXLEN", b"5", b"MINID", b"5", b"*", b"f", b"v"], [b"0-0", b"f", b"v"], [b"0", b"f", b"v"],
            [b"MAXLEN", b"=", b"5", b"LIMIT", b"5", b"*", b"f", b"v"], [b"MAXLEN", b"~", b"5", b"LIMIT", b"x", b"*", b"f", b"v"],
            [b"MAXLEN", b"5", b"*", b"f"], [b"5-5-5", b"f", b"v"], [b"(5", b"f", b"v"], [b"-", b"f", b"v"], [b"5-x", b"f", b"v"])

    def xrange(self):
        args = [self.pick(b"XRANGE", b"XREVRANGE"), self.key(), self.entry_id(), self.entry_id()]
        if self.rng.random() < 0.4:
            args += [self.pick(b"COUNT", b"count", b"CNT"), self.number()]
        return args[: self.rng.randint(2, 6)] if self.rng.random() < 0.1 else args

    def xread(self):
        args = [b"XREAD"]
        if self.rng.random() < 0.5:
            args += [b"COUNT", self.number()]
        if self.rng.random() < 0.3:
            args += [b"BLOCK", self.pick(b"1", b"2", b"5", b"x", b"-1", b"1.5", b"")]
        if self.rng.random() < 0.05:
            args += [self.pick(b"NOACK", b"GROUP", b"x")]
        keys = [self.key() for _ in range(self.pick(1, 1, 1, 2, 3))]
        ids = [self.entry_id() for _ in keys]
        if self.rng.random() < 0.1:
            ids = ids[:-1]
        return args + [self.pick(b"STREAMS", b"streams", b"STREAM")] * (self.rng.random() > 0.03) + keys + ids

    def connection(self):
        t = self.text
        return self.pick(
            [b"PING"], [b"PING", t()], [b"PING", t(), t()], [b"ECHO", t()], [b"ECHO"], [b"ECHO", t(), t()], [b"SELECT", self.number()],
            [b"SELECT"], [b"CLIENT"], [b"CLIENT", b"GETNAME"], [b"CLIENT", b"SETNAME", t()], [b"CLIENT", b"SETNAME"],
            [b"CLIENT", b"SETNAME", b"me"], [b"CLIENT", b"GETNAME", b"x"], [b"CLIENT", t()], [b"CLIENT", b"NO-EVICT", t()],
            [b"CLIENT", b"NO-EVICT", self.pick(b"on", b"OFF")], [b"CLIENT", b"REPLY", b"ON"], [b"CLIENT", b"REPLY", b"x"],
            [b"CLIENT", b"SETINFO", b"LIB-NAME", b"x"], [b"HELLO", self.number()], [b"HELLO", b"2", b"SETNAME", b"you"],
            [b"HELLO", b"3", b"SETNAME", t()], [b"HELLO", b"2", b"AUTH", b"default"], [b"HELLO", b"2", b"AUTH", b"u", b"p"],
            [b"HELLO", b"2", b"x"], [b"HELLO", b"2"], [b"HELLO", b"3"], [b"AUTH"], [b"AUTH", t()], [b"AUTH", b"default", t()],
            [b"AUTH", b"u", b"p"], [b"AUTH", b"a", b"b", b"c"], [b"RESET"], [b"RESET", b"x"], [b"CONFIG", b"GET"], [b"CONFIG"],
            [b"CONFIG", b"GET", b"no-such-thing"], [b"WAIT", b"0", b"1"], [b"WAIT", b"x", b"1"], [b"WAIT", b"0", b"x"],
            [b"WAIT", b"0", b"-1"], [b"WAIT", b"0"], [b"COMMAND", b"COUNT"], [b"COMMAND", b"NIX"], [b"XINFO"], [b"XINFO", b"NIX"],
            [b"XINFO", b"STREAM"], [b"XINFO", b"STREAM", self.key()], [b"XINFO", b"STREAM", b"engine", b"x"],
            [b"XINFO", b"STREAM", b"engine", b"FULL", b"COUNT", self.number()], [b"XLEN"], [b"XLEN", self.key()], [b"XLEN", b"a", b"b"])

    def unknown(self):
        return [self.pick(b"NIX", b"nix\x00", b"a b", b"", b"x" * 200, b"\r\n", b"XADDD")] + [
            self.text() for _ in range(self.rng.randint(0, 4))]

    def command(self):
        r = self.rng.random()
        args = (self.xadd() if r < 0.25 else self.xadd_odd() if r < 0.3 else self.xrange() if r < 0.55 else
                self.xread() if r < 0.72 else self.unknown() if r < 0.76 else self.connection())
        if args[0] is not NEW_ID and args[0].isalpha():
            args[0] = self.case(args[0])
        return args


# ------------------------------------------------------------------------------------------------------------------ pair


class Pair:
    """One connection to each."""

    def __init__(self, servers):
        self.servers = servers
        self.open()

    def open(self):
        self.redis, self.leash = (Connection(a) for a in self.servers.addresses)

    def close(self):
        self.redis.close()
        self.leash.close()

    def talk(self, batch):
        """Sends a pipeline of commands; yields (args, redis's reply, leash's reply)."""
        s = self.servers
        for conn, ours in ((self.leash, False), (self.redis, True)):
            end = s.length
            data = b""
            for args in batch:
                args, end = s.with_id(args, ours, end)
                data += encode(args)
            conn.sock.sendall(data)
        for args in batch:
            redis, leash = self.redis.read(), self.leash.read()
            if NEW_ID in args and leash.kind == "$":
                s.length += 1
            yield [b"*" if a is NEW_ID else a for a in args], redis, leash


class Servers:
    def __init__(self, addresses):
        self.addresses = addresses
        self.length = 0

    @staticmethod
    def with_id(args, ours, end):
        """The command as it is sent, and the end of the stream behind it."""
        if NEW_ID not in args:
            return args, end
        i = args.index(NEW_ID)
        fields = len(args) - i - 1
        good = fields >= 2 and fields % 2 == 0 and (i == 2 or args[2].lower() == b"nomkstream")
        return args[:i] + [b"%d-0" % (end + 1) if ours else b"*"] + args[i + 1:], end + (1 if good else 0)


FOUND = []


def told(sent, redis, leash):
    """A difference that is none of the table's. More than one helps to see what they have in common."""
    print("%.400r\n  redis: %.400r\n  leash: %.400r" % (sent, redis, leash), flush=True)
    FOUND.append(sent)
    assert len(FOUND) < FOUND_MAX, "that many differences"


def compare(seen, args, redis, leash):
    if redis == leash:
        return
    name = difference(args, redis, leash)
    if name is None:
        told(args, redis, leash)
        return
    seen[name] = seen.get(name, 0) + 1


def commands(servers, rng, n):
    g = Generator(rng)
    seen = {}
    pair = Pair(servers)
    sent = 0
    while sent < n:
        if rng.random() < 0.02:
            pair.close()
            pair.open()
        batch = [g.command() for _ in range(rng.choice((1, 1, 1, 2, 5, 20)))]
        for args, redis, leash in pair.talk(batch):
            compare(seen, args, redis, leash)
            sent += 1
        g.length = servers.length
    pair.close()
    return seen


def table_is_true(servers):
    pair = Pair(servers)
    for name, match, command, _ in DIFFERENCES:
        for args, redis, leash in pair.talk([command.split()]):
            assert redis != leash and match(args, redis, leash), "no longer so: %s\n  redis: %r\n  leash: %r" % (
                name, redis, leash)
    pair.close()
    for name, match, data, _ in RAW_DIFFERENCES:
        redis, leash = (raw(a, data) for a in servers.addresses)
        assert redis != leash and match(data, redis, leash), "no longer so: %s" % name


# ------------------------------------------------------------------------------------------------------------- raw bytes


def raw(address, data):
    """Everything that a server says to these bytes and an end of input."""
    s = Connection(address).sock
    got = b""
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        while True:
            part = s.recv(65536)
            if not part:
                break
            got += part
    except ConnectionError:
        pass  # it closed while something was still coming
    s.close()
    return got


def inline(rng):
    lines = []
    for _ in range(rng.randint(1, 4)):
        length = rng.choice((0, 3, 8, 20))
        arg = bytes(rng.choice(b"ab x41nrtg\\\\\"\"''\t,") for _ in range(length))
        lines.append(rng.choice((b"ECHO ", b"echo \"", b"PING ", b"ECHO '", b"", b"  ECHO  ", b"\"ECHO\" ")) + arg +
                     rng.choice((b"\r\n", b"\n", b"\"\r\n", b"'\n")))
    return b"".join(lines)


def malformed(rng):
    good = encode([b"ECHO", b"world"])
    kind = rng.randint(0, 5)
    if kind == 0:
        data = bytearray(good * 2)
        data[rng.randrange(len(data))] = rng.choice(b"*$:+-0159a\r\n \x00\xff")
        return bytes(data)
    if kind == 1:
        return good + good[: rng.randrange(len(good))]
    if kind == 2:
        return rng.choice((b"*0\r\n", b"*-1\r\n", b"*-5\r\n", b"\r\n", b"\n\n", b"*\r\n", b"*x\r\n", b"*1048577\r\n", b"*2147483648\r\n",
                           b"*+1\r\n", b"*01\r\n", b"*9223372036854775808\r\n", b"* 1\r\n")) + good
    if kind == 3:
        return b"*2\r\n$4\r\nECHO\r\n" + rng.choice((b"$-1\r\n", b"$x\r\n", b"$\r\n", b":5\r\n", b"$536870913\r\n", b"$+1\r\na\r\n",
                                                     b"$01\r\na\r\n", b"$1\r\nab\r\n", b"\r\n$1\r\na\r\n", b"$0\r\n\r\n")) + good
    if kind == 4:
        return inline(rng) + good + inline(rng)
    return rng.choice((b"*", b"*1", b"*1\r", b"*1\n$4\nPING\n", b"PING", b"*1\r\n$4\r\nPING", b"*1\r\n$4\r\nPINGxx", b"\x00\r\n",
                       b"x" * 70000, b"*" + b"1" * 70000, b"*1\r\n$" + b"1" * 70000, b"PING\r\n*1\r\n$4\r\nQUIT\r\n" + good,
                       b"QUIT\r\nPING\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"))


def raw_bytes(servers, rng, n):
    for _ in range(n):
        data = inline(rng) if rng.random() < 0.5 else malformed(rng)
        redis, leash = (raw(a, data) for a in servers.addresses)
        if redis != leash and not any(match(data, redis, leash) for _, match, _, _ in RAW_DIFFERENCES):
            told(data, redis, leash)


# ------------------------------------------------------------------------------------------------------------------ main


def start_redis(test):
    program = shutil.which("redis-server")
    if not program:
        raise Skip("no redis-server here")
    path = os.path.join(test.dir, "redis.sock")
    Process(test, "redis", [program, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", test.dir,
                            "--databases", "1"]).start()

    def ready():
        c = Connection(path)
        c.sock.sendall(encode([b"XGROUP", b"CREATE", b"engine", b"g", b"$", b"MKSTREAM"]) +
                       encode([b"XGROUP", b"DESTROY", b"engine", b"g"]))
        said = [c.read(), c.read()]
        c.close()
        return said == [Reply("+", b"OK"), Reply(":", b"1")]

    wait_for(ready, "redis is ready with an empty stream")
    return path


def main(test, seed, n):
    print("seed %d, %d commands" % (seed, n), flush=True)
    redis = start_redis(test)
    cluster = Cluster(test)
    servers = Servers((redis, ("127.0.0.1", cluster.gateway.port)))
    rng = random.Random(seed)
    seen = commands(servers, rng, n)
    raw_bytes(servers, rng, RAW_ROUNDS)
    table_is_true(servers)
    assert not FOUND, "%d differences that stand in no table" % len(FOUND)
    print("%d entries; differences met: %r" % (servers.length, seen))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    p.add_argument("--commands", type=int, default=COMMANDS)
    options = p.parse_args()
    sys.argv[1:] = []
    run(lambda test: main(test, options.seed, options.commands))
