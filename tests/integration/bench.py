#!/usr/bin/env python3
"""leash bench on a live cluster.

1. what it says was acknowledged is in the log, once; latencies are whole; the histogram's total is the count
2. with ids, a rate, readers, payloads larger than what is sent at once
3. a primary that is killed in the middle is a pause: no error, nothing missing
4. it asks before it writes; nobody there, a refused request: status 1 and why
"""

import json
import os
import subprocess

from cluster import Cluster, leash, run_scenarios
from leashtest import BUILD, run, wait_for

LEASH = os.path.join(BUILD, "leash")


def address(c):
    return "127.0.0.1:%d" % c.gateway.port


def bench(c, *options, gateway=None):
    done = leash("bench", "--yes", "--json", "--gateway", gateway or address(c), "--warmup", "0", *options)
    return json.loads(done.stdout)


def length(c):
    with c.gateway.client() as r:
        return r.call("XLEN", "engine")


def whole(result, n):
    h = result["append_ns"]
    assert result["acknowledged"] == h["count"] == n and result["errors"] == 0 and not result["failed"], result
    assert 0 < h["p50"] <= h["p90"] <= h["p99"] <= h["p99.9"] <= h["max"], h


def plain(test):
    c = Cluster(test)
    c.wait_primary()
    hgrm = os.path.join(test.dir, "latency.hgrm")
    before = length(c)
    whole(bench(c, "--connections", "5", "--depth", "3", "--count", "1000", "--histogram", hgrm), 1000)
    assert length(c) == before + 1000
    with open(hgrm, encoding="ascii") as f:
        assert "#[Total   =         1000]" in f.read()
    whole(bench(c, "--count", "300", "--ids", "--payload", "3000"), 300)
    assert length(c) == before + 1300
    r = bench(c, "--connections", "2", "--rate", "500", "--seconds", "1s", "--readers", "2")
    assert 0 < r["append_ns"]["count"] <= 500 * r["seconds"] + 3 and not r["errors"] and not r["failed"], r
    assert 0 < r["read_ns"]["count"] <= r["read_records"] <= 2 * r["append_ns"]["count"], r
    whole(bench(c, "--count", "20", "--payload", "900K", "--connections", "2"), 20)
    whole(bench(c, "--count", "50", gateway=c.wait_primary().address), 50)


def failover(test):
    c = Cluster(test)
    victim = c.wait_primary()
    p = subprocess.Popen([LEASH, "bench", "--yes", "--json", "--gateway", address(c), "--count", "30000", "--ids"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: length(c) > 1000, "it runs", 30)
        victim.kill()
        out, err = p.communicate(timeout=120)
    finally:
        p.kill()
    assert p.returncode == 0 and not err, (p.returncode, err)
    r = json.loads(out)
    assert r["errors"] == 0 and not r["failed"] and r["acknowledged"] == 30000, r
    victim.start()
    c.wait_in_sync()
    logs = [leash("log", "cat", n.dir).stdout.splitlines() for n in c.nodes]
    assert logs[0] == logs[1] == logs[2]
    ids = [line.split("]")[0] for line in logs[0]]
    assert len(set(ids)) == len(ids) >= 30000


def refusals(test):
    c = Cluster(test)
    c.wait_primary()
    before = length(c)
    asked = subprocess.run([LEASH, "bench", "--gateway", address(c)], input="no\n", capture_output=True, text=True)
    assert asked.returncode == 1 and "stay there" in asked.stdout and "nothing was done" in asked.stderr, asked
    done = leash("bench", "--yes", "--gateway", "127.0.0.1:1", check=False)
    assert done.returncode == 1 and "refused" in done.stderr, done
    done = leash("bench", "--yes", "--engine", "nosuch", "--count", "10", "--gateway", address(c), check=False)
    assert done.returncode == 1 and "errors, the first one:" in done.stdout, done
    assert leash("bench", "--yes", "--payload", "1", check=False).returncode == 2
    assert length(c) == before


if __name__ == "__main__":
    run(lambda test: run_scenarios(test, [plain, failover, refusals]))
