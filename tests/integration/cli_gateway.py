#!/usr/bin/env python3
"""leash produce and leash consume, and examples/producer.py, with a gateway that does not behave.

1. All lines arrive once and in order, although connections break with commands unanswered, and answers are TRYAGAIN,
   NOREPLICAS and INDOUBT (appended and not).
2. --acks says for each line where it is; it is there.
3. A second run with the same producer and input appends nothing; without --producer each run is its own.
4. The summary counts; a final error ends it with status 1 and names the line; so does silence after --timeout.
5. consume prints what is there, in each format, goes on where it was after losses, follows, and notices a gap.
6. examples/producer.py gets its orders in once each.
"""
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("LEASH_BUILDDIR", os.getcwd())
LEASH = os.path.join(BUILD, "leash")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENV = {k: v for k, v in os.environ.items() if not k.startswith("LEASH_")}


class Store:
    """One stream, and what is to go wrong."""

    def __init__(self, trouble=0.0, seed=1):
        self.lock = threading.Condition()
        self.entries = []  # (producer, id, fields)
        self.places = {}
        self.trouble = trouble
        self.random = random.Random(seed)
        self.silent = False
        self.skip = None  # XRANGE leaves this sequence number out
        self.retries = 0


class Lost(Exception):
    pass


class Gateway:
    def __init__(self, store):
        self.store = store
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        f = conn.makefile("rwb")
        try:
            while True:
                head = f.readline()
                if not head:
                    return
                argv = []
                for _ in range(int(head[1:])):
                    n = int(f.readline()[1:])
                    argv.append(f.read(n + 2)[:-2])
                f.write(self.command(argv))
                f.flush()
        except (Lost, OSError, ValueError):
            pass
        finally:
            try:
                conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            conn.close()

    def command(self, argv):
        s = self.store
        if s.silent:
            time.sleep(600)
        name = argv[0].upper()
        with s.lock:
            if name == b"XADD":
                return self.xadd(argv)
            if s.random.random() < s.trouble * 10:
                raise Lost
            if name == b"XRANGE":
                first = int(argv[2].split(b"-")[0])
                return entries(s, first, int(argv[5]))
            if name == b"XREAD":
                count, block = int(argv[2]), int(argv[4]) / 1000
                last = int(argv[7].split(b"-")[0])
                if not s.lock.wait_for(lambda: len(s.entries) > last, block):
                    return b"*-1\r\n"
                return b"*1\r\n*2\r\n" + bulk(argv[6]) + entries(s, last + 1, count)
        return b"-ERR unknown command\r\n"

    def xadd(self, argv):
        s = self.store
        assert argv[1] == b"engine" and argv[2] == b"IDMP" and argv[5] == b"*", argv
        producer, ident, fields = argv[3], argv[4], argv[6:]
        luck = s.random.random()
        if luck < s.trouble:
            raise Lost  # before it is appended
        if luck < 2 * s.trouble:
            return s.random.choice([b"-TRYAGAIN no primary\r\n", b"-NOREPLICAS too few\r\n", b"-INDOUBT may be\r\n"])
        if b"refuse me" in fields:
            return b"-ERR no such luck\r\n"
        if (producer, ident) in s.places:
            s.retries += 1
        else:
            s.entries.append((producer, ident, fields))
            s.places[producer, ident] = len(s.entries)
            s.lock.notify_all()
        if luck < 3 * s.trouble:
            raise Lost  # after it
        if luck < 4 * s.trouble:
            return b"-INDOUBT it may be in the log\r\n"
        return bulk(b"%d-0" % s.places[producer, ident])


def bulk(b):
    return b"$%d\r\n%s\r\n" % (len(b), b)


def entries(s, first, count):
    out, n = b"", 0
    for seq in range(max(first, 1), min(len(s.entries), first + count - 1) + 1):
        if seq == s.skip:
            continue
        fields = s.entries[seq - 1][2]
        out += b"*2\r\n" + bulk(b"%d-0" % seq) + b"*%d\r\n" % len(fields) + b"".join(map(bulk, fields))
        n += 1
    return b"*%d\r\n" % n + out


def run(*args, stdin=b"", timeout=120):
    return subprocess.run([LEASH, *args], input=stdin, capture_output=True, timeout=timeout, env=ENV)


def produce_through_trouble(tmp):
    lines = [f"order {i} size={i % 97}" for i in range(1, 3001)] + ["", "tab\there", "last without an end"]
    path, acks = os.path.join(tmp, "orders"), os.path.join(tmp, "acks")
    with open(path, "w") as f:
        f.write("\n".join(lines))
    store = Store(trouble=0.003)
    gw = Gateway(store)
    args = ["produce", "--gateway", gw.address, "--producer", "shop", "--window", "64", "--acks", acks, "--json", path]
    r = run(*args)
    assert r.returncode == 0, r.stderr
    said = json.loads(r.stdout)
    got = [e[2] for e in store.entries]
    assert sorted(got) == sorted([b"data", l.encode()] for l in lines), "every line once"
    assert said["lines"] == said["acknowledged"] == len(lines) == len(store.entries)
    assert said["connections"] > 1 and said["sent_again"] > 0 and store.retries > 0, "there was no trouble"
    with open(acks) as f:
        places = dict(map(int, l.split()) for l in f)
    assert len(places) == len(lines)
    for number, seq in places.items():
        assert store.entries[seq - 1][2] == [b"data", lines[number - 1].encode()], (number, seq)
    # again: nothing new
    r = run(*args)
    assert r.returncode == 0 and len(store.entries) == len(lines), r.stderr
    # and from standard input with a name of its own each time
    for _ in range(2):
        r = run("produce", "--gateway", gw.address, "--field", "f", "-", stdin=b"one\n")
        assert r.returncode == 0 and b"1 lines acknowledged" in r.stdout, (r.stdout, r.stderr)
    assert [e[2] for e in store.entries[len(lines):]] == [[b"f", b"one"]] * 2
    return lines


def order_is_kept_without_trouble():
    store = Store()
    r = run("produce", "--gateway", Gateway(store).address, stdin=b"".join(b"%d\n" % i for i in range(5000)))
    assert r.returncode == 0, r.stderr
    assert [e[2][1] for e in store.entries] == [b"%d" % i for i in range(5000)]


def final_errors():
    store = Store()
    gw = Gateway(store)
    r = run("produce", "--gateway", gw.address, "--json", stdin=b"good\nrefuse me\n")
    assert r.returncode == 1 and b"line 2: ERR no such luck" in r.stderr, r
    assert json.loads(r.stdout)["acknowledged"] == 1
    store.silent = True
    r = run("produce", "--gateway", gw.address, "--timeout", "300ms", stdin=b"x\n")
    assert r.returncode == 1 and b"nothing was acknowledged" in r.stderr, r
    gw.listener.shutdown(socket.SHUT_RDWR)  # also ends the accept() under way
    gw.listener.close()
    r = run("produce", "--gateway", gw.address, "--timeout", "300ms", stdin=b"x\n")
    assert r.returncode == 1 and r.stderr.count(b"Connection refused") == 1, r


def consume():
    store = Store()
    gw = Gateway(store)
    for i in range(1, 2501):
        store.entries.append((b"p", b"%d" % i, [b"data", b"value %d" % i]))
    store.entries.append((b"p", b"x", [b"a", b"1\\", b"b", b"\xff\n"]))
    r = run("consume", "--gateway", gw.address)
    out = r.stdout.decode().splitlines()
    assert r.returncode == 0 and len(out) == 2501, r.stderr
    assert out[:2] == ["1 value 1", "2 value 2"] and out[-1] == "2501 a=1\\x5c b=\\xff\\x0a", out[-1]
    r = run("consume", "--gateway", gw.address, "--from", "2500", "--format", "json")
    out = [json.loads(l) for l in r.stdout.splitlines()]
    assert out == [{"seq": 2500, "fields": [["data", "value 2500"]]},
                   {"seq": 2501, "fields": [["a", "1\\"], ["b", {"hex": "ff0a"}]]}], out
    r = run("consume", "--gateway", gw.address, "--from", "2499", "--count", "2", "--format", "raw")
    assert r.stdout == b"value 2499\nvalue 2500\n", r.stdout
    # losses on the way
    store.trouble = 0.03
    r = run("consume", "--gateway", gw.address, "--format", "text")
    assert r.returncode == 0 and len(r.stdout.splitlines()) == 2501, r.stderr
    # a gap is no order
    store.trouble, store.skip = 0, 1500
    r = run("consume", "--gateway", gw.address)
    assert r.returncode == 1 and b"a gap: record 1501 comes after 1499" in r.stderr, r.stderr


def follow():
    store = Store(trouble=0.01)
    gw = Gateway(store)
    p = subprocess.Popen([LEASH, "consume", "--gateway", gw.address, "--follow", "--count", "300", "--format", "raw"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV)
    for i in range(300):
        with store.lock:
            store.entries.append((b"p", b"%d" % i, [b"data", b"%d" % i]))
            store.lock.notify_all()
    out, _ = p.communicate(timeout=60)
    assert p.returncode == 0 and out.split() == [b"%d" % i for i in range(300)], out


def example():
    store = Store(trouble=0.02, seed=3)
    gw = Gateway(store)
    r = subprocess.run([sys.executable, os.path.join(SOURCE, "examples", "producer.py"), "--gateway", gw.address, "--count", "60"],
                       capture_output=True, timeout=120)
    assert r.returncode == 0, r.stderr
    assert r.stdout.decode().splitlines() == [f"order {i} is record {i}" for i in range(1, 61)], r.stdout
    assert [e[1] for e in store.entries] == [b"%d" % i for i in range(1, 61)]


def main():
    with tempfile.TemporaryDirectory(prefix="leash-cli.") as tmp:
        produce_through_trouble(tmp)
    order_is_kept_without_trouble()
    final_errors()
    consume()
    follow()
    example()
    print("passed")


if __name__ == "__main__":
    main()
