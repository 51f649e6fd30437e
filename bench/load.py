"""Load generators and what they say: `leash bench`, bench/redis-load and bench/floor all print the same JSON object."""

import collections
import json
import resource
import subprocess

PERCENTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "max")


class Shape(collections.namedtuple("Shape", "connections depth payload")):
    """How much work at a time: connections x depth, bytes of a payload."""

    @classmethod
    def parse(cls, text, payload):
        connections, _, depth = text.partition("x")
        return cls(int(connections), int(depth), payload)

    def __str__(self):
        return "%d x %d, %s" % (self.connections, self.depth, size_text(self.payload))


def size_text(n):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if n >= unit and n % unit == 0:
            return "%d %s" % (n // unit, name)
    return "%d B" % n


def size_parse(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1].upper()] if text[-1].upper() in units else int(text)


class LoadFailed(Exception):
    """A generator could not measure; its words."""


def generator_cpu_s():
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return u.ru_utime + u.ru_stime


def start(argv, pin):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=pin.client)


def finish(p, deadline_s):
    """The JSON object that it prints."""
    try:
        out, err = p.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        p.kill()
        p.communicate()
        raise LoadFailed("%s does not end" % p.args[0])
    if p.returncode != 0 and not out.strip():
        raise LoadFailed("%s: %s" % (p.args[0], err.strip()))
    said = json.loads(out)
    if said.get("failed") or said["errors"]:
        raise LoadFailed("%s: %s" % (p.args[0], said.get("failed") or said.get("first_error")))
    return said


def together(said):
    """Of generators that ran side by side: rates add up, of latencies the worst counts."""
    whole = dict(said[0])
    for other in said[1:]:
        for key in ("acknowledged", "per_second", "connections", "records"):
            if key in whole:
                whole[key] += other[key]
        for kind in ("append_ns", "read_ns"):
            if kind in whole:
                whole[kind] = {k: max(v, other[kind][k]) for k, v in whole[kind].items()}
    return whole


def run(argvs, pin, seconds):
    """Runs generators side by side; what they said together, and their own CPU time."""
    before = generator_cpu_s()
    running = [start(argv, pin) for argv in argvs]
    try:
        said = together([finish(p, seconds + 120) for p in running])
    finally:
        for p in running:
            if p.poll() is None:
                p.kill()
                p.communicate()
    said["generator_cpu_s"] = generator_cpu_s() - before
    return said
