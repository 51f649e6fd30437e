"""Hosts for tests: whole Debian systems that run systemd, each with a network of its own, on one machine (as root).

    with Net(dir) as net:
        a = net.host(Image(...), "a")       # 10.99.0.1
        net.boot(a)                         # up when this returns
        a.run("systemctl", "start", "x")    # like a shell of root in it
        net.cut(a, b)                       # no packet between them any more
        a.die()                             # the power goes

A host is an overlay over a common base system (image.py), booted by systemd-nspawn in a network namespace; a switch (a bridge
in a namespace of its own) connects them, and a further port of it is the client's: Net.enter() takes this process there. Names
of namespaces begin with "leash-" and the process id. All ends with the process that made it, and Net.close() removes everything.
"""

import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from leashtest import Failed, wait_for  # noqa: E402

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
BOOT_S = 90         # until a host is up; 5 are seen
STOP_S = 60         # until one that was asked to end has ended
COMMAND_S = 120     # for a command in a host, if nothing else is said
PROGRAMS = ("systemd-nspawn", "ip", "nft", "nsenter", "mmdebstrap")
PACKAGES = "mmdebstrap systemd-container iproute2 nftables util-linux"


def libc():
    return ctypes.CDLL(None, use_errno=True)


def call(*argv, check=True, timeout=60, env=None, cwd=None):
    """Runs a program of this machine; its output is text. An exit status that is not 0 is a failure of the test."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                          text=True, errors="replace", env=env, cwd=cwd)
    if check and done.returncode:
        raise Failed("%s: exit status %d\n%s" % (shlex.join(argv), done.returncode, done.stdout[-3000:]))
    return done.stdout


def why_not(directory):
    """Why this machine cannot boot hosts whose files are below `directory`, or None."""
    if os.geteuid() != 0:
        return "only root can boot hosts"
    missing = [p for p in PROGRAMS if not shutil.which(p)]
    if missing:
        return "%s not found: apt-get install --no-install-recommends %s" % (", ".join(missing), PACKAGES)
    if not cgroup_roots():
        return "there is no writable cgroup2 hierarchy"
    return why_no_mount(directory) or why_no_network()


def why_no_mount(directory):
    with tempfile.TemporaryDirectory(dir=directory) as top:
        lower, upper, work, root = (os.path.join(top, d) for d in ("lower", "upper", "work", "root"))
        for d in (lower, upper, work, root):
            os.mkdir(d)
        try:
            call("mount", "-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s" % (lower, upper, work), root)
            call("umount", root)
        except Failed as e:
            return "no overlay file system in %s: %s" % (directory, str(e).splitlines()[-1])
    return None


def why_no_network():
    name = "leash-%d-try" % os.getpid()
    try:
        call("ip", "netns", "add", name)
        call("ip", "-n", name, "link", "add", "switch", "type", "bridge")
        call("ip", "-n", name, "link", "add", "port", "type", "veth", "peer", "name", "other")
        call("ip", "netns", "exec", name, "nft", "add table inet leash")
    except Failed as e:
        return "no network namespace with a bridge and a packet filter: %s" % str(e).splitlines()[-1]
    finally:
        call("ip", "netns", "delete", name, check=False)
    return None


def cgroup_roots():
    """Where each booted host must have a group of its own: cgroup2, and what older systemds use beside it."""
    found = []
    with open("/proc/self/mounts", encoding="utf-8") as f:
        for line in f:
            _, path, kind, options = line.split()[:4]
            if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
                if os.access(path, os.W_OK):
                    found.append((kind, path))
    return [path for _, path in found] if any(kind == "cgroup2" for kind, _ in found) else []


class Net:
    """The switch, the client's port, and all hosts. A context manager: in the end nothing is left."""

    def __init__(self, directory, prefix="10.99.0."):
        self.dir, self.prefix = directory, prefix
        self.hosts = []
        self.names = "leash-%d-%x-" % (os.getpid(), id(self) >> 4 & 0xffff)
        self.home = None            # this process's own network, while it is in the client's
        self.groups = []
        self.switch = self.names + "switch"
        self.client = self.names + "client"
        self.closing = threading.Lock()

    def __enter__(self):
        try:
            call("ip", "netns", "add", self.switch)
            call("ip", "-n", self.switch, "link", "add", "switch", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
            call("ip", "-n", self.switch, "link", "set", "switch", "up")
            call("ip", "netns", "add", self.client)
            self.plug("client", self.client, 250)
            for root in cgroup_roots():
                self.groups.append(os.path.join(root, self.names + "hosts"))
                os.mkdir(self.groups[-1])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def plug(self, port, namespace, number):
        """Connects a namespace. The hardware address is the same after a reboot, as that of a machine is."""
        call("ip", "-n", self.switch, "link", "add", "port-" + port, "type", "veth", "peer", "name", "host0",
             "address", "02:00:00:00:99:%02x" % number, "netns", namespace)
        call("ip", "-n", self.switch, "link", "set", "port-" + port, "master", "switch", "up")
        call("ip", "-n", namespace, "address", "add", "%s%d/24" % (self.prefix, number), "dev", "host0")
        call("ip", "-n", namespace, "link", "set", "lo", "up")
        call("ip", "-n", namespace, "link", "set", "host0", "up")

    def enter(self):
        """This thread, and those that it starts, are the client from now on."""
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        fd = os.open("/run/netns/" + self.client, os.O_RDONLY | os.O_CLOEXEC)
        try:
            set_network(fd)
        finally:
            os.close(fd)

    def leave(self):
        if self.home is not None:
            set_network(self.home)
            os.close(self.home)
            self.home = None

    def host(self, image, name):
        h = Host(self, image, name, len(self.hosts) + 1)
        self.hosts.append(h)
        return h

    def boot(self, *hosts):
        """Boots them side by side; all are up when this returns."""
        for h in hosts:
            h.start()
        for h in hosts:
            h.wait_up()

    def cut(self, a, b, ports=None, one_way=False):
        """What `a` sends does not reach `b` any more and, unless one_way, the other way round. `ports`: only TCP
        connections to one of these. `a`, `b`: hosts, or lists of hosts."""
        for x in listed(a):
            for y in listed(b):
                if x is not y:
                    y.refuse(x, ports)
                    if not one_way:
                        x.refuse(y, ports)

    def heal(self):
        """All cuts end, and all links are up."""
        for h in self.hosts:
            if h.running():
                h.filter("flush chain inet leash in")
                h.link(True)

    def close(self):
        """Everything ends: first asked to, all at once."""
        with self.closing:
            self.leave()
            for h in self.hosts:
                h.ask_to_end()
            for h in self.hosts:
                with contextlib.suppress(Exception):
                    h.remove()
            for namespace in (self.client, self.switch):
                if os.path.exists("/run/netns/" + namespace):
                    call("ip", "netns", "delete", namespace, check=False)
            for group in self.groups:
                remove_groups(group)
            self.groups = []


def listed(x):
    return x if isinstance(x, (list, tuple)) else [x]


def set_network(fd):
    c = libc()
    if c.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def remove_groups(path):
    """A tree of control groups, once no process is in it."""
    end = time.monotonic() + 10
    while os.path.isdir(path):
        for directory, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        if time.monotonic() > end:
            return
        time.sleep(0.05)


class Host:
    """One system. It keeps its files over die() and reboot()."""

    def __init__(self, net, image, name, number):
        self.net, self.image, self.name, self.number = net, image, name, number
        self.address = net.prefix + str(number)
        self.namespace = net.names + name
        self.dir = os.path.join(net.dir, "host-" + name)
        self.root = os.path.join(self.dir, "root")
        self.console = os.path.join(self.dir, "console.log")
        self.nspawn = None
        self.init = None            # its systemd, as this machine numbers it
        self.mounted = False
        self.boots = 0

    # -------------------------------------------------------------------------------------------------- life

    def prepare(self):
        """What an installer would have written; once. The files are there before the first boot: write()."""
        if self.mounted:
            return self
        for d in ("upper", "work", "root"):
            os.makedirs(os.path.join(self.dir, d), exist_ok=True)
        call("mount", "-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (
            self.image.path, self.dir, self.dir), self.root)
        self.mounted = True
        self.write("/etc/hostname", self.name + "\n")
        self.write("/etc/machine-id", "")
        return self

    def start(self):
        """Turns the power on."""
        assert not self.running()
        self.prepare()
        self.write("/etc/hosts", "127.0.0.1 localhost\n" + "".join("%s %s\n" % (h.address, h.name) for h in self.net.hosts))
        call("ip", "netns", "add", self.namespace)
        self.net.plug(self.name, self.namespace, self.number)
        self.filter("add table inet leash", "add chain inet leash in { type filter hook input priority 0; }")
        groups = [os.path.join(g, self.name) for g in self.net.groups]
        for g in groups:
            os.makedirs(g, exist_ok=True)
        argv = ["systemd-nspawn", "--quiet", "--directory=" + self.root, "--boot", "--keep-unit", "--register=no",
                "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--hostname=" + self.name,
                "--machine=" + (self.net.names + self.name).lower(),
                "--network-namespace-path=/run/netns/" + self.namespace]
        env = dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1")
        for key in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"):
            env.pop(key, None)
        self.boots += 1
        with open(self.console, "ab") as console:
            self.nspawn = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=env,
                                           start_new_session=True, preexec_fn=lambda: self.at_home(groups))
        self.init = None

    @staticmethod
    def at_home(groups):
        """In the new process: a control group of its own, and an end when the test's process ends."""
        libc().prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        for g in groups:
            with open(os.path.join(g, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0")

    def running(self):
        return self.nspawn is not None and self.nspawn.poll() is None

    def find_init(self):
        """The child of nspawn that is process 1 of its own world."""
        if not self.running():
            raise Failed("%s does not boot:\n%s" % (self.name, self.console_tail()))
        with open("/proc/%d/task/%d/children" % (self.nspawn.pid, self.nspawn.pid), encoding="ascii") as f:
            for pid in f.read().split():
                with contextlib.suppress(OSError), open("/proc/%s/status" % pid, encoding="utf-8") as s:
                    for line in s:
                        if line.startswith("NSpid:") and line.split()[-1] == "1" and len(line.split()) > 2:
                            return int(pid)
        return None

    def wait_up(self):
        """Until its systemd says that all is started (or failed: what failed is the test's to look for)."""
        def up():
            self.init = self.find_init()
            if self.init is None:
                return False
            return self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")
        wait_for(up, "%s is up" % self.name, BOOT_S, 0.1)
        return self

    def ended(self):
        """After nspawn has ended: its network is gone as that of a machine without power."""
        self.nspawn = None
        self.init = None
        if os.path.exists("/run/netns/" + self.namespace):
            call("ip", "netns", "delete", self.namespace, check=False)
        call("ip", "-n", self.net.switch, "link", "delete", "port-" + self.name, check=False)

    def die(self):
        """The power goes: nobody hears a word of it."""
        self.link(False)
        self.kill()
        self.ended()

    def kill(self):
        """With its process 1 all others of it are gone; nspawn alone would leave them."""
        if self.init is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.nspawn.wait(5)
        if self.running():
            self.nspawn.kill()
            self.nspawn.wait()

    def reboot(self):
        """`systemctl reboot`, as somebody types it; it is off when this returns. start() and wait_up() follow."""
        self.run("systemctl", "--no-block", "reboot")
        self.nspawn.wait(STOP_S + 60)
        self.ended()

    def ask_to_end(self):
        if self.running():
            self.nspawn.terminate()

    def remove(self):
        """Ends it, by force in the end; its files stay under .dir/upper."""
        if self.nspawn is not None:
            try:
                self.nspawn.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self.ended()
        if self.mounted:
            wait_for(lambda: subprocess.call(["umount", self.root], stderr=subprocess.DEVNULL) == 0, "umount", 20)
            self.mounted = False
            shutil.rmtree(os.path.join(self.dir, "work"), ignore_errors=True)

    # ---------------------------------------------------------------------------------------------- commands

    def argv(self, *command):
        return ["nsenter", "--target=%d" % self.init, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
                "/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive", *command]

    def run(self, *command, check=True, timeout=COMMAND_S):
        """A command of root's in it; returns what it printed, both streams."""
        if self.init is None:
            raise Failed("%s is not up" % self.name)
        return call(*self.argv(*command), check=check, timeout=timeout)

    def sh(self, script, check=True, timeout=COMMAND_S):
        return self.run("sh", "-c", script, check=check, timeout=timeout)

    def succeeds(self, *command, timeout=COMMAND_S):
        return subprocess.run(self.argv(*command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=timeout).returncode == 0

    def popen(self, *command, **kwargs):
        return subprocess.Popen(self.argv(*command), stdin=subprocess.DEVNULL, **kwargs)

    def write(self, path, text, mode=0o644):
        """A file as an administrator would leave it, also while the host is off."""
        full = os.path.join(self.root, path.lstrip("/"))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(full, mode)

    def read(self, path):
        with open(os.path.join(self.root, path.lstrip("/")), encoding="utf-8") as f:
            return f.read()

    def put(self, source, path):
        full = os.path.join(self.root, path.lstrip("/"))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        shutil.copyfile(source, full)

    def show(self, unit, name):
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property=" + name, unit).strip()

    def main_pid(self, unit):
        """0: it does not run."""
        return int(self.show(unit, "MainPID"))

    def signal(self, unit, sig):
        self.run("systemctl", "kill", "--kill-whom=main", "--signal=" + sig, unit)

    def journal(self, unit=None, *options):
        return self.run("journalctl", "--no-pager", *(["--unit=" + unit] if unit else []), *options)

    def events(self, unit, *options):
        """The journal's entries of a unit, as dicts."""
        lines = self.run("journalctl", "--no-pager", "--output=json", "--unit=" + unit, *options).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def console_tail(self):
        with open(self.console, encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    # ----------------------------------------------------------------------------------------------- network

    def link(self, up):
        """The cable."""
        call("ip", "-n", self.net.switch, "link", "set", "port-" + self.name, "up" if up else "down")

    def filter(self, *statements):
        call("ip", "netns", "exec", self.namespace, "nft", "; ".join(statements))

    def refuse(self, other, ports=None):
        """Nothing from `other` arrives here; with `ports`, nothing of TCP connections to these."""
        rule = "add rule inet leash in ip saddr " + other.address
        if ports is None:
            self.filter(rule + " drop")
        else:
            which = "{ %s }" % ", ".join(str(p) for p in ports)
            self.filter(rule + " tcp dport %s drop" % which, rule + " tcp sport %s drop" % which)
