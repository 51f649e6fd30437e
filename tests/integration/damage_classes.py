#!/usr/bin/env python3
"""Damage class by class: what of a node's files x what happened to it x when x on how many nodes, as in the Jepsen report on
NATS 2.12.1 and in "Protocol-Aware Recovery" (Alagappan et al., FAST'18).

    file   seg (a finished one), last (the one in use), dig, meta, mark
    how    bit (flipped), cut, empty, gone, zeroed (to the end), part (zeroes within), foreign (another node's file)
    when   rest; running: found by the scrub; digests, which it does not read, when it is started again
    who    one node; two of three, at different places

In the end the node is in sync and shows exactly what was acknowledged; on the way nothing wrong, ever. Outcomes, counted per
class: went on (nothing lost, or made anew), repaired (in place, from peers), set aside (a new incarnation), exit 65 or 78 (an
operator is told what to do, and does it). Whatever was set aside is kept.

$LEASH_DAMAGES: cases per class (100 in `make check-damage`; without it a few cases of some classes), $LEASH_DAMAGE_CLASSES:
patterns, "seg/*/rest/*,meta/*", $LEASH_SEED as in damage.py, $LEASH_DAMAGE_SECONDS: begin no case after so long.
"""

import collections
import fnmatch
import glob
import itertools
import os
import random
import shutil
import signal
import time

from cluster import SLOW, Cluster, leash, run_scenarios
from damage import RECORDS, SEED, Truth, segments, shows_nothing_wrong, used_bytes
from leashtest import Failed, run, wait_for

FILES = ("seg", "last", "dig", "meta", "mark")
HOW = ("bit", "cut", "empty", "gone", "zeroed", "part", "foreign")
CLASSES = ["/".join(c) for c in itertools.product(FILES, HOW, ("rest", "running"), ("one", "two"))]
CASES = int(os.environ.get("LEASH_DAMAGES", "0"))
PATTERNS = os.environ.get("LEASH_DAMAGE_CLASSES", "*").split(",")
SECONDS = float(os.environ.get("LEASH_DAMAGE_SECONDS", "1e9"))
FEW = 16         # classes of the short run
RECORDS_MAX = 9000  # then a new cluster
OUTCOMES = ("went on", "repaired", "set aside", "exit 65", "exit 78")


def cluster(test):
    return Cluster(test, lease_ttl="3", failure_timeout="1000ms", disk_timeout="2900ms", segment_bytes="64K",
                   max_record_bytes="4K", cache_bytes="1M", scrub_rate="4G")


def files(node, kind):
    if kind in ("seg", "last"):
        found = segments(node.dir)
        return found[-1:] if kind == "last" else found[:-1]
    return sorted(glob.glob(os.path.join(node.dir, "*.dig"))) if kind == "dig" else [os.path.join(node.dir, kind)]


def hurt(rng, path, how, source):
    """True: something is different now."""
    if how == "gone":
        os.unlink(path)
        return
    if how == "foreign":
        shutil.copyfile(source, path + ".foreign")
        os.rename(path + ".foreign", path)
        return
    used = max(1, used_bytes(path))
    at = rng.randrange(used)
    with open(path, "r+b") as f:
        if how in ("cut", "empty"):
            f.truncate(at if how == "cut" else 0)
            return
        f.seek(at)
        old = f.read(1)
        f.seek(at)
        f.write({"bit": bytes([old[0] ^ 1 << rng.randrange(8)]), "part": bytes(min(used - at, 1 + rng.randrange(3000))),
                 "zeroed": bytes(used - at)}[how])


def strike(rng, nodes, kind, how, other):
    """Hurts a file of each, not the same one."""
    done, taken = [], set()
    for node in nodes:
        found = files(node, kind)
        free = [i for i in range(len(found)) if i not in taken or kind not in ("seg", "dig")]
        i = rng.choice(free)
        taken.add(i)
        source = files(other, kind)
        if kind == "meta" and how == "foreign":
            shutil.copyfile(found[i], node.dir + ".meta")
        hurt(rng, found[i], how, source[min(i, len(source) - 1)])
        done.append("%s of %s" % (os.path.basename(found[i]), node.node))
    return ", ".join(done)


class Case:
    def __init__(self, c, truth, name, rng):
        self.c, self.truth, self.name, self.rng = c, truth, name, rng
        self.kind, self.how, self.when, who = name.split("/")
        self.nodes = rng.sample(c.nodes, 1 if who == "one" else 2)
        self.other = next(n for n in c.nodes if n not in self.nodes)
        self.seen = {n: len(n.output()) for n in c.nodes}
        self.ended = {}

    def stop(self):
        for n in self.nodes:
            n.signal(self.rng.choice((signal.SIGTERM, signal.SIGKILL)))
        for n in self.nodes:
            n.wait()

    def operator(self, node):
        """What the message tells to do."""
        status, said = node.popen.returncode, node.output()[self.seen[node]:]
        assert status == (78 if (self.kind, self.how) == ("meta", "foreign") else 65), "%s: %s ended with %d:\n%s" % (
            self.name, node.node, status, said[-3000:])
        assert ": error: " in said and node.dir in said, said
        assert node not in self.ended, "%s: %s ended again:\n%s" % (self.name, node.node, said[-3000:])
        self.ended[node] = "exit %d" % status
        if status == 78:
            os.rename(node.dir + ".meta", os.path.join(node.dir, "meta"))
        else:
            shutil.rmtree(node.dir)  # the peers give a new copy
        node.start(wait=False)

    def well(self, node):
        if not node.running():
            self.operator(node)
            return False
        if node.node not in self.c.etcd.insync():
            shows_nothing_wrong(self.truth, node)
            return False
        s = node.status()
        return s["in_sync"] and not s["scrub"]["damaged"] and shows_nothing_wrong(self.truth, node)

    def passes(self):
        return {n: n.status()["scrub"]["passes"] for n in self.nodes}

    def scrubbed(self):
        """Two whole passes, the last one without damage."""
        before = self.passes()
        for n in self.nodes:
            wait_for(lambda: n.status()["scrub"]["passes"] >= before[n] + 2 and not n.status()["scrub"]["last_damaged"],
                     "%s has read all of it" % n.node, 60 * SLOW)

    def outcome(self, node):
        said = node.output()[self.seen[node]:]
        if node in self.ended:
            return self.ended[node]
        if "the damage was kept aside" in said:
            return "set aside"
        return "repaired" if "the log is repaired" in said else "went on"

    def run(self):
        if self.when == "rest":
            self.stop()
            done = strike(self.rng, self.nodes, self.kind, self.how, self.other)
        else:
            done = strike(self.rng, self.nodes, self.kind, self.how, self.other)
            if self.kind != "dig":
                self.truth.append(20)
                self.scrubbed()
            if self.kind not in ("seg", "last"):
                self.stop()
        for n in self.nodes:
            if not n.running():
                n.start(wait=False)
        try:
            for n in self.nodes:
                wait_for(lambda: self.well(n), "%s heals" % n.node, 60 * SLOW)
            self.truth.append(5)
            self.c.wait_in_sync()
            for n in self.c.nodes:
                wait_for(lambda: shows_nothing_wrong(self.truth, n), "%s shows everything" % n.node, 30 * SLOW)
        except Failed as e:
            raise Failed("%s: after %s: %s; it says\n%s" % (self.name, done, e, "\n".join(
                n.output()[self.seen[n]:][-2000:] for n in self.nodes)))
        for n in self.nodes:
            if self.outcome(n) in ("repaired", "set aside") and self.how != "gone":
                assert os.listdir(os.path.join(n.dir, "damaged")), "%s: the evidence is kept" % self.name
            if self.kind in ("meta", "mark") and self.when == "running":
                assert self.outcome(n) == "went on", "%s: the scrub made it anew: %s" % (self.name, self.outcome(n))
        return [self.outcome(n) for n in self.nodes]


def end_cluster(test, c):
    for n in c.nodes:
        leash("log", "verify", n.dir)
    test.check_alive()
    test.end()
    del test.processes[:]
    for name in os.listdir(test.dir):
        path = os.path.join(test.dir, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def chosen(rng):
    """Class names, each as often as it is to be tried."""
    names = [n for n in CLASSES if any(fnmatch.fnmatchcase(n, p) for p in PATTERNS)]
    if CASES:
        return [n for _ in range(CASES) for n in names]
    return sorted(rng.sample(names, min(FEW, len(names))))


def tell(tally):
    total = collections.Counter()
    for name in CLASSES:
        if name in tally:
            print("%-24s %s" % (name, ", ".join("%s: %d" % (o, tally[name][o]) for o in OUTCOMES if tally[name][o])))
            total += tally[name]
    print("%d cases of %d classes: %s" % (sum(total.values()), len(tally), ", ".join(
        "%s: %d" % (o, total[o]) for o in OUTCOMES)), flush=True)


def classes(test):
    print("LEASH_SEED=%d" % SEED, flush=True)
    rng = random.Random(SEED)
    tally = collections.defaultdict(collections.Counter)
    c, begin = None, time.monotonic()
    for name in chosen(rng):
        if time.monotonic() - begin > SECONDS:
            break
        if c and len(truth.log) > RECORDS_MAX:
            end_cluster(test, c)
            c = None
        if not c:
            c = cluster(test)
            truth = Truth(c, rng)
            truth.append(RECORDS)
            c.wait_in_sync()
        tally[name].update(Case(c, truth, name, rng).run())
    tell(tally)
    for n in c.nodes:
        leash("log", "verify", n.dir)


if __name__ == "__main__":
    run(lambda test: run_scenarios(test, [classes]))
