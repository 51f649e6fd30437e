"""What the kernel says of processes and of this machine, and where processes may run."""

import os
import platform
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
PIN_NO, PIN_ONE, PIN_SPLIT = PINS = ("no", "one", "split")


def cpu_s(pid):
    """User and system time of a process with all its threads, also of those that ended. Ticks: 10 ms."""
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def family(pid):
    """A process and its descendants."""
    found = [pid]
    for p in found:
        try:
            for task in os.listdir("/proc/%d/task" % p):
                with open("/proc/%d/task/%s/children" % (p, task), encoding="ascii") as f:
                    found += [int(c) for c in f.read().split()]
        except OSError:
            pass  # it ended meanwhile
    return found


def memory_bytes(pid):
    """{"rss": ..., "anon": ..., "peak": ...} of a process."""
    names = {"VmRSS": "rss", "RssAnon": "anon", "VmHWM": "peak"}
    found = {}
    with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
        for line in f:
            key, _, value = line.partition(":")
            if key in names:
                found[names[key]] = int(value.split()[0]) * 1024
    return found


class Cpu:
    """CPU time of groups of processes since it was made: {"gateway": [pid, ...], ...}."""

    def __init__(self, groups):
        self.groups = groups
        self.before = self._now()

    def _now(self):
        return {name: sum(cpu_s(p) for p in pids) for name, pids in self.groups.items()}

    def used_s(self):
        return {name: s - self.before[name] for name, s in self._now().items()}


class Pin:
    """Where programs run: anywhere ("no"), all on one CPU ("one"), or servers apart from what loads them ("split")."""

    def __init__(self, how):
        cpus = sorted(os.sched_getaffinity(0))
        self.how = how
        self.servers = self.clients = set(cpus)
        if how == PIN_ONE:
            self.servers = self.clients = {cpus[0]}
        elif how == PIN_SPLIT:
            self.servers, self.clients = set(cpus[:-1]) or set(cpus), {cpus[-1]}

    def server(self, pid):
        """A process that runs, its threads and its children."""
        if self.how == PIN_NO:
            return
        for p in family(pid):
            for task in os.listdir("/proc/%d/task" % p):
                os.sched_setaffinity(int(task), self.servers)

    def client(self):
        """For subprocess's preexec_fn."""
        os.sched_setaffinity(0, self.clients)

    def __str__(self):
        return {PIN_NO: "not pinned", PIN_ONE: "all processes on CPU %s" % sorted(self.servers),
                PIN_SPLIT: "servers on CPU %s, load on CPU %s" % (sorted(self.servers), sorted(self.clients))}[self.how]


def _first_line(path, start):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return next((line.split(":", 1)[-1].strip() for line in f if line.startswith(start)), "?")
    except OSError:
        return "?"


def _output(*argv, cwd=None):
    try:
        return subprocess.run(argv, cwd=cwd, check=True, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "?"


def describe(source_dir, work_dir):
    """Date, machine and commit, for those who read the numbers later."""
    commit = _output("git", "describe", "--always", "--dirty", "--abbrev=10", cwd=source_dir)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": commit if commit != "?" else _first_line(os.path.join(source_dir, "VERSION"), ""),
        "kernel": platform.release(),
        "cpu": _first_line("/proc/cpuinfo", "model name"),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "file_system": _output("stat", "-f", "-c", "%T", work_dir),
        "load_average": os.getloadavg()[0],
    }
