#!/usr/bin/env python3
"""leash-check as a program, and the files that tests/integration/history.py writes for it.

1. exit status 0, 1, 2, and what it prints: the rule, the pair, the counts
2. a History of appends and reads with odd bytes is understood, and agrees with how `leash log cat` writes records
3. what was shown wrongly, answered twice as refused or left out is found
4. a client that is gone before it tells whom it talked to leaves a history that still makes sense
"""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "integration"))

from history import History, ident, payload, text  # noqa: E402
from leashtest import BUILD, ConnectionLost, RespError  # noqa: E402

PROGRAM = os.path.join(BUILD, "tests", "check", "leash-check")


class Peer:
    """As much of a leashtest.Client as a History asks."""

    sock = property(lambda self: self)

    def getpeername(self):
        return ("127.0.0.1", 8080)

    def call(self, *_):
        return b"# Server\r\nprocess_id:4711\r\n"


class LostPeer(Peer):
    def call(self, *_):
        raise ConnectionLost("reset")


def leash_check(*args):
    done = subprocess.run([PROGRAM, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60)
    return done.returncode, done.stdout, done.stderr


def put(path, content):
    with open(path, "w", encoding="ascii") as f:
        f.write(content)
    return path


def statuses(d):
    log = put(os.path.join(d, "log"), "[a/1] 1 one\n")
    good = put(os.path.join(d, "good"), "client a\nconn 1 gw\nappend 1 10 1 [a/1] one\nok 1 20 1\n")
    stale = put(os.path.join(d, "stale"), "client b\nconn 1 gw\nlength 1 30 1\nis 1 40 0\n")
    assert leash_check("--log", log, good) == (0, "holds: 1 operations in 1 attempts (1 acknowledged, 0 refused, 0 unknown), "
                                               "0 reads of 0 records, 1 logs, 1 records\n", "")
    status, out, err = leash_check("--log=" + log, good, stale)
    assert (status, err) == (1, ""), (status, out, err)
    assert out.startswith("stale: a read of b at 30 ns saw the end of the log at 0, but a/1 had been answered with 1 at 20 ns (a) "
                          "by the same endpoint gw\nbroken: 1 operations"), out
    assert leash_check("--log", log, put(os.path.join(d, "foreign"), "client c\n"))[0] == 1
    assert leash_check("--foreign", "--log", log, os.path.join(d, "foreign"))[0] == 0
    for args in ((), ("--log", log), ("--what", good), (os.path.join(d, "nowhere"),), ("--log", good, good),
                 (put(os.path.join(d, "nonsense"), "client a\nwhat\n"),)):
        status, out, err = leash_check(*args)
        assert status == 2 and err and not out, (args, status, out, err)
    assert leash_check(os.path.join(d, "nonsense"))[2].endswith("nonsense: line 2 makes no sense here\n")


VALUES = [b"", b"two words", b"\\ [x] \x00\xff\r\n", b"plain"]


def written(d, name, lie=None):
    """The history of a client that appends VALUES and reads them."""
    h = History(os.path.join(d, name), "c", in_order=True)
    conn = h.conn(Peer())
    tags = [h.append(conn, ident(b"p/o", b"%d]" % i), v) for i, v in enumerate(VALUES)]
    for i, tag in enumerate(tags):
        h.answered(tag, RespError("TRYAGAIN no") if (lie, i) == ("refused", 1) else b"%d-0" % (i + 1))
    shown = [[b"%d-0" % (i + 1), [b"v", b"other" if (lie, i) == ("shown", 2) else v]] for i, v in enumerate(VALUES)]
    h.shown(h.read(conn, 1), shown[:-1] if lie == "left out" else shown)
    h.counted(h.length(conn), len(VALUES))
    for code in ("INDOUBT", "TRYAGAIN", "IDMPCONFLICT"):
        name = ident(b"p/o", b"0]") if code == "IDMPCONFLICT" else ident(b"p", code.encode())
        h.answered(h.append(conn, name, b"other" if code == "IDMPCONFLICT" else b"x"), RespError(code + " ..."))
    h.close()
    return h.path


def recorded(d):
    log = put(os.path.join(d, "log"), "".join("[p\\x2fo/%d\\x5d] %d %s\n" % (i, i + 1, text(v)) for i, v in enumerate(VALUES)))
    status, out, err = leash_check("--log", log, written(d, "true"))
    assert status == 0 and "6 operations in 7 attempts (5 acknowledged, 1 refused, 1 unknown), 2 reads of 4" in out, (out, err)
    for lie, rule in (("shown", "logs-differ"), ("refused", "refused"), ("left out", "stale")):
        status, out, err = leash_check("--log", log, written(d, "lie", lie))
        assert status == 1 and out.startswith(rule + ": "), (lie, out, err)
    assert payload([b"v", b"a b"]) == "a b" and payload([b"v", b"1", b"w", b"\n"]) == "v=1 w=\\x0a"


def lost(d):
    h = History(os.path.join(d, "lost"), "c")
    h.conn(Peer())
    try:
        h.conn(LostPeer())
    except ConnectionLost:
        pass
    h.counted(h.length(h.conn(Peer())), 0)
    h.close()
    assert leash_check("--log", put(os.path.join(d, "empty"), ""), h.path)[0] == 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="leash-") as directory:
        statuses(directory)
        recorded(directory)
        lost(directory)
