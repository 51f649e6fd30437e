#!/usr/bin/env python3
"""Files of a node cut, flipped or deleted at random places while it is down: segments, digests, metadata, marks.

The node then heals from its peers (a segment finished long ago is not read again at a start, but when somebody asks for
its records), or ends with 65 and says why; it never crashes and never shows a wrong record, also not while
it heals; and what the cluster had committed stays as it was, and grows meanwhile.

$LEASH_DAMAGES is how many random cases are tried (60), $LEASH_SEED chooses them (1; 0: others each time).
"""

import glob
import os
import random
import shutil
import signal

from cluster import SLOW, Cluster, entries, leash, run_scenarios, seq_of
from leashtest import Failed, RespError, run, wait_for

CASES = int(os.environ.get("LEASH_DAMAGES", "60"))
SEED = int(os.environ.get("LEASH_SEED", "1")) or random.randrange(1, 1 << 30)
DAMAGED_HERE = "this stretch of the log is damaged here"
RECORDS = 3000  # some ten segments
KINDS = ("seg", "seg", "last seg", "dig", "meta", "mark")


class Truth:
    """What was acknowledged: the only log there may be."""

    def __init__(self, c, rng):
        self.c, self.rng, self.log = c, rng, []

    def append(self, n):
        with self.c.gateway.client() as r:
            values = [b"%d:%s" % (len(self.log) + i, bytes(self.rng.choices(b"abcdef\0\r\n", k=self.rng.randrange(200))))
                      for i in range(n)]
            for i, v in enumerate(values):
                r.send("XADD", "engine", "IDMP", "p", str(len(self.log) + i), "*", "v", v)
            for v in values:
                self.log.append((seq_of(r.read()), [b"v", v]))

    def check(self, shown):
        """True when all of it is there. Everything that is shown must be right."""
        for seq, fields in shown:
            assert (seq, fields) == self.log[seq - 1], "record %d is wrong: %r" % (seq, fields)
        return len(shown) == len(self.log)

    def check_kept(self, shown):
        """True when it goes to the end. What retention leaves must be right and without a gap."""
        self.check(shown)
        first = shown[0][0] if shown else 1
        assert [seq for seq, _ in shown] == list(range(first, first + len(shown)))
        return bool(shown) and shown[-1][0] == len(self.log)


def segments(directory):
    return sorted(glob.glob(os.path.join(directory, "*.seg")))  # their names have leading zeroes


def oldest(directory):
    return (segments(directory) or [None])[0]


def pick(rng, node):
    kind = rng.choice(KINDS)
    if kind == "last seg" and segments(node.dir):
        return segments(node.dir)[-1]
    names = glob.glob(os.path.join(node.dir, "*." + kind)) or glob.glob(os.path.join(node.dir, kind))
    return rng.choice(sorted(names)) if names else os.path.join(node.dir, "meta")


def used_bytes(path):
    """Up to the zeroes at its end: damage there would hit nothing."""
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def damage(rng, path):
    size = os.path.getsize(path)
    used = max(1, min(size, used_bytes(path) + 64))
    at = rng.randrange(used)
    how = rng.choice(("cut", "bit", "bit", "bytes", "zeroes", "empty", "gone"))
    if how == "gone":
        os.unlink(path)
        return how
    with open(path, "r+b") as f:
        if how in ("cut", "empty"):
            f.truncate(at if how == "cut" else 0)
        else:
            f.seek(at)
            old = f.read(1)
            f.seek(at)
            f.write({"bit": bytes([old[0] ^ 1 << rng.randrange(8)]) if old else b"\x01",
                     "bytes": rng.randbytes(1 + rng.randrange(600)), "zeroes": bytes(1 + rng.randrange(6000))}[how])
    return "%s at %d" % (how, at)


def outcome(c, truth, node):
    """None: not yet. What it shows on the way must be right, too."""
    if not node.running():
        return "exit 65"
    if node.node not in c.etcd.insync() or not node.status()["in_sync"]:
        shows_nothing_wrong(truth, node)
        return None
    return "whole" if shows_nothing_wrong(truth, node) else None


def shows_nothing_wrong(truth, node):
    try:
        return truth.check(entries(node))
    except RespError as e:
        assert DAMAGED_HERE in str(e) or e.code == "TRYAGAIN", e
    return False


def start_and_see(c, truth, node, done):
    seen = len(node.output())
    node.start(wait=False)
    truth.append(5)
    try:
        return wait_for(lambda: outcome(c, truth, node), "it heals", 40 * SLOW), node.output()[seen:]
    except Failed:
        raise Failed("%s does not heal after %s: it says\n%s" % (node.node, done, node.output()[seen:][-3000:]))


def one(c, truth, rng, node, tally):
    node.signal(rng.choice((signal.SIGTERM, signal.SIGKILL)))
    node.wait()
    done = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        path = pick(rng, node)
        if os.path.exists(path):
            done.append("%s: %s" % (os.path.basename(path), damage(rng, path)))
    truth.append(rng.randrange(20))
    how, out = start_and_see(c, truth, node, done)
    if how == "whole":
        how = "repaired" if "the log is repaired" in out else "set aside" if "damage" in out else "went on"
        tally[how] += 1
        return
    tally[how] += 1
    assert node.popen.returncode == 65, "ended with %d after %s:\n%s" % (node.popen.returncode, done, out)
    assert ": error: " in out and node.dir in out, out
    shutil.rmtree(node.dir)  # what an operator does who has looked at the evidence: the peers give a new copy
    assert start_and_see(c, truth, node, "a new directory")[0] == "whole"


def oldest_segment_missing(test):
    missing_oldest(test)


def oldest_segment_missing_after_retention(test):
    missing_oldest(test, retention_bytes="256K", dedup_window="256")


def missing_oldest(test, **options):
    """What retention never removed is missed, told, and comes back from the peers with everything acknowledged meanwhile."""
    c = Cluster(test, lease_ttl="2", failure_timeout="500ms", disk_timeout="1900ms", segment_bytes="64K",
                max_record_bytes="4K", cache_bytes="1M", **options)
    truth = Truth(c, random.Random(1))
    truth.append(RECORDS)
    c.wait_in_sync()
    for node in [n for n in c.nodes if n is not c.wait_primary()] + [c.wait_primary()]:
        if options:
            wait_for(lambda: first_of(oldest(node.dir)) > 1, "retention has run", 40 * SLOW)
        node.stop()
        gone = oldest(node.dir)
        assert (first_of(gone) > 1) == bool(options), gone
        os.unlink(gone)
        problems = leash("log", "verify", node.dir, check=False)
        assert problems.returncode != 0 and "oldest segment is missing" in problems.stdout + problems.stderr, problems
        truth.append(20)
        seen = len(node.output())
        node.start()
        wait_for(lambda: node.status()["in_sync"] and truth.check_kept(entries(node)), "it heals", 40 * SLOW)
        assert os.path.basename(gone) in node.output()[seen:], node.output()[seen:]
        leash("log", "verify", node.dir)
        c.wait_in_sync()


def first_of(path):
    return int(os.path.basename(path).split(".")[0])


def random_damage(test):
    print("LEASH_SEED=%d" % SEED, flush=True)
    rng = random.Random(SEED)
    c = Cluster(test, lease_ttl="2", failure_timeout="500ms", disk_timeout="1900ms", segment_bytes="64K", max_record_bytes="4K",
                cache_bytes="1M")
    truth = Truth(c, rng)
    truth.append(RECORDS)
    c.wait_in_sync()
    tally = {"exit 65": 0, "set aside": 0, "repaired": 0, "went on": 0}
    for _ in range(CASES):
        primary = c.wait_primary()
        node = rng.choice([n for n in c.nodes if n is not primary] * 3 + [primary])
        one(c, truth, rng, node, tally)
    c.wait_in_sync()
    for n in c.nodes:
        wait_for(lambda: truth.check(entries(n)), "%s shows what was acknowledged" % n.node)
        leash("log", "verify", n.dir)
    print(", ".join("%s: %d" % t for t in tally.items()))
    assert CASES < 30 or all(tally.values()), "the cases are not what they are meant to be"


if __name__ == "__main__":
    run(lambda test: run_scenarios(test, [oldest_segment_missing, oldest_segment_missing_after_retention, random_damage]))
