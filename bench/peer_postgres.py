"""PostgreSQL 15: a primary and two synchronous standbys; --depth rows in one INSERT, which is one commit.

It answers when three disks have it. Its load is pgbench, prepared statements, each payload sent as a parameter.
"""

import glob
import math
import os
import pwd
import signal
import subprocess

import leashtest
import load
import machine
import systems
from peer import Peer

BIN = "/usr/lib/postgresql/15/bin"
ROWS_MAX = 200       # parameters of pgbench's statement
ARGUMENT_MAX = 4096  # bytes of a payload that is a parameter


class PostgresServers:
    """Servers do not run as root: then they are user postgres."""

    def __init__(self, ctx):
        self.test, self.ctx = ctx.new_test(), ctx
        self.as_user = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL"]
            os.chmod(self.test.dir, 0o711)
        self.home = os.path.join(self.test.dir, "postgres")
        os.mkdir(self.home, 0o711)
        if self.as_user:
            os.chown(self.home, user.pw_uid, user.pw_gid)
        self.ports = leashtest.free_ports(3)
        self.make_primary()
        for i in (1, 2):
            self.tool("pg_basebackup", "-h", self.home, "-p", str(self.ports[0]), "-U", "postgres", "-D", self.data(i), "-R", "-X",
                      "stream", "-d", "application_name=s%d" % i)
            self.start(i)
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '2 (s1, s2)'")
        self.sql("SELECT pg_reload_conf()")
        leashtest.wait_for(lambda: self.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "2",
                           "both standbys are synchronous", 60)
        self.sql("CREATE TABLE log (id bigserial PRIMARY KEY, v text)")

    def data(self, i):
        return os.path.join(self.home, "pg%d" % i)

    def tool(self, name, *args):
        done = subprocess.run([*self.as_user, os.path.join(BIN, name), *args], cwd="/", stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise OSError("%s: %s" % (name, done.stderr.strip()[-500:]))
        return done.stdout.strip()

    def make_primary(self):
        self.tool("initdb", "-D", self.data(0), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C")
        self.servers = []
        self.start(0)

    def start(self, i):
        settings = {"port": self.ports[i], "unix_socket_directories": self.home, "listen_addresses": "", "fsync": "on",
                    "synchronous_commit": "on", "max_wal_size": "8GB", "shared_buffers": "256MB", "max_connections": "300",
                    "wal_keep_size": "1GB", "cluster_name": "s%d" % i}
        argv = self.as_user + [os.path.join(BIN, "postgres"), "-D", self.data(i)]
        for key, value in settings.items():
            argv += ["-c", "%s=%s" % (key, value)]
        p = leashtest.Process(self.test, "postgres%d" % i, argv).start()
        self.servers.append(p)
        leashtest.wait_for(lambda: self.sql("SELECT 1", i) == "1", "postgres%d answers" % i, 60)
        self.ctx.pin.server(p.popen.pid)

    def sql(self, text, i=0):
        return self.tool("psql", "-h", self.home, "-p", str(self.ports[i]), "-U", "postgres", "-Atqc", text)

    def groups(self):
        """Each connection has a process; the CPU time of those that end goes to nobody that can be read, so see Postgres."""
        return {"primary": [self.servers[0].popen.pid], "secondaries": [p.popen.pid for p in self.servers[1:]]}

    def close(self):
        """In order: a killed server leaves shared memory behind."""
        for p in reversed(self.servers):
            if p.running():
                p.signal(signal.SIGINT)
        for p in self.servers:
            p.wait(60)


class Postgres(Peer):
    name = "postgres"
    program, package = os.path.join(BIN, "postgres"), "postgresql-15"

    def make(self):
        return PostgresServers(self.ctx)

    def measure(self, shape, seconds):
        if shape.depth > ROWS_MAX or shape.payload > ARGUMENT_MAX:
            raise load.LoadFailed("more than pgbench takes")
        cpu = FamilyCpu(self.groups())
        said = self.pgbench(shape, seconds, cpu)
        return self.result(said, cpu.used_s(), said["records"])

    def pgbench(self, shape, seconds, cpu):
        s = self.servers
        script = os.path.join(s.test.dir, "insert.sql")
        with open(script, "w", encoding="ascii") as f:
            f.write("INSERT INTO log (v) VALUES %s;\n" % ",".join(["(:payload)"] * shape.depth))
        prefix = os.path.join(s.test.dir, "pgbench")
        before = load.generator_cpu_s()
        p = load.start([os.path.join(BIN, "pgbench"), "-n", "-M", "prepared", "-h", s.home, "-p", str(s.ports[0]), "-U", "postgres",
                        "-c", str(shape.connections), "-j", "1", "-T", str(math.ceil(seconds + systems.WARMUP_S)), "-f", script,
                        "-D", "payload=" + "a" * shape.payload, "-l", "--log-prefix", prefix, "postgres"], self.ctx.pin)
        try:
            while p.poll() is None:
                cpu.look()
                try:
                    p.wait(0.1)
                except subprocess.TimeoutExpired:
                    pass
            if p.returncode != 0:
                raise load.LoadFailed("pgbench: %s" % p.stderr.read().strip()[-300:])
        finally:
            p.kill()
            p.communicate()
        return dict(self.latencies(glob.glob(prefix + ".*"), shape.depth), generator_cpu_s=load.generator_cpu_s() - before)

    @staticmethod
    def latencies(paths, depth):
        """From pgbench's log: client, number, us, script, seconds, microseconds of the end. The warm-up is left out."""
        found = []
        for path in paths:
            with open(path, encoding="ascii") as f:
                for line in f:
                    words = line.split()
                    found.append((int(words[4]) + int(words[5]) / 1e6, int(words[2]) * 1000))
            os.unlink(path)
        found.sort()
        begin = found[0][0] + systems.WARMUP_S if found else 0
        measured = sorted(ns for when, ns in found if when >= begin)
        seconds = found[-1][0] - begin if measured else 0
        if seconds <= 0:
            raise load.LoadFailed("pgbench: nothing was committed after the warm-up")
        at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999, "max": 1}
        return {"per_second": depth * len(measured) / seconds, "records": depth * len(found), "append_ns": {
            name: measured[min(len(measured) - 1, int(part * len(measured)))] for name, part in at.items()}}


class FamilyCpu:
    """CPU time of groups of processes with all their descendants, looked at often: the last look before one ends counts."""

    def __init__(self, groups):
        self.groups = groups
        self.first, self.last = {}, {}
        self.look()
        self.first = dict(self.last)

    def look(self):
        for kind, pids in self.groups.items():
            for pid in (p for first in pids for p in machine.family(first)):
                try:
                    self.last[kind, pid] = machine.cpu_s(pid)
                except OSError:
                    pass  # it ended: what was seen last counts

    def used_s(self):
        self.look()
        used = dict.fromkeys(self.groups, 0)
        for (kind, pid), s in self.last.items():
            used[kind] += s - self.first.get((kind, pid), 0)
        return used
