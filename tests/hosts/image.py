"""The base system that hosts share, and the packages that are installed on them.

Image is a minimal Debian 12 with systemd, made by mmdebstrap from this machine's package sources. It has nothing of what leash
depends on, but all of it lies in its package cache, so that `apt install` works in hosts without a way out. It is kept in
$LEASH_HOSTS_CACHE, if that is set, until what it is made of changes.

Packages are leash's own, built from this source tree as a Debian developer would.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess

from hosts import Failed, call

SOURCE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
# What any server has.
BASE = ("systemd", "systemd-sysv", "dbus", "udev", "iproute2", "procps", "netbase", "ca-certificates", "less", "debian-archive-keyring")
# What leash's package depends on; should it depend on more, apt-get in a host says what is not there.
DEPENDS = ("libcurl4", "libevent-core-2.1-7", "libevent-extra-2.1-7", "libevent-pthreads-2.1-7", "libinih1", "libjson-c5",
           "libssl3", "libsystemd0", "liburcu8", "libxxhash0")
# What administrators install beside leash in the tests.
BESIDE = ("etcd-server", "etcd-client", "redis-tools", "netcat-openbsd", "man-db")
EDITION = "3"               # raise it when what is done here changes
MAKE_S = 600
BUILD_S = 900


class NoSources(Exception):
    """Debian's packages cannot be reached from this machine."""


class Image:
    """`path` is the base system's tree, read only by agreement."""

    def __init__(self, directory):
        cache = os.environ.get("LEASH_HOSTS_CACHE") or directory
        os.makedirs(cache, exist_ok=True)
        made_of = "\n".join((EDITION, *BASE, *DEPENDS, *BESIDE, open("/etc/os-release", encoding="utf-8").read()))
        self.path = os.path.join(cache, "base-" + hashlib.sha256(made_of.encode()).hexdigest()[:16])
        with open(self.path + ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.isdir(self.path):
                self.make()

    def make(self):
        fresh = self.path + ".new"
        shutil.rmtree(fresh, ignore_errors=True)
        apt = "APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes "
        later = apt + "clean && " + apt + "--download-only -o APT::Install-Recommends=1 install " + " ".join(DEPENDS + BESIDE)
        try:
            self.bootstrap(later, fresh)
        except Failed as e:
            why = re.search(r"^.*(Could not resolve|Could not connect|Unable to connect|Temporary failure|timed out).*$", str(e), re.M)
            if why:
                raise NoSources(why.group(0).strip())
            raise
        os.rename(fresh, self.path)

    @staticmethod
    def bootstrap(later, fresh):
        # Nobody needs these files after a loss of power; without the option dpkg waits for the disk most of the time.
        call("mmdebstrap", "--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--include=" + ",".join(BASE), "--skip=cleanup/apt",
             "--customize-hook=" + later, "--customize-hook=mkdir -p $1/var/log/journal",
             "--customize-hook=rm -f $1/etc/machine-id $1/etc/hostname $1/etc/resolv.conf", "bookworm", fresh, *sources(),
             timeout=MAKE_S)


def sources():
    """This machine's own places for Debian's packages; mmdebstrap's default if they cannot be told."""
    found = []
    for directory in ("/etc/apt", "/etc/apt/sources.list.d"):
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            if name.endswith((".list", ".sources")):
                path = os.path.join(directory, name)
                with open(path, encoding="utf-8") as f:
                    if re.search(r"^[^#]*\bbookworm\b", f.read(), re.M):
                        found.append(path)
    return found


class Packages:
    """leash_*.deb of this tree, and of the same tree with a higher version. $LEASH_DEB and $LEASH_DEB_NEWER name files that
    are to be taken instead."""

    def __init__(self, directory):
        self.dir = os.path.join(directory, "packages")
        self.made = {}

    def current(self):
        return os.environ.get("LEASH_DEB") or self.build("current")

    def newer(self):
        return os.environ.get("LEASH_DEB_NEWER") or self.build("newer")

    def build(self, which):
        if which in self.made:
            return self.made[which]
        top = os.path.join(self.dir, which)
        tree = os.path.join(top, "leash")
        os.makedirs(top)
        copy_source(tree)
        if which == "newer":
            raise_version(tree)
        env = dict(os.environ, DEB_BUILD_OPTIONS="nocheck parallel=%d" % (os.cpu_count() or 1), LC_ALL="C.UTF-8")
        for key in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
            env.pop(key, None)
        with open(os.path.join(top, "build.log"), "w", encoding="utf-8") as log:
            r = subprocess.run(["dpkg-buildpackage", "-us", "-uc", "-b"], cwd=tree, env=env, stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log, timeout=BUILD_S).returncode
        debs = [f for f in os.listdir(top) if re.fullmatch(r"leash_.*\.deb", f)]
        if r or len(debs) != 1:
            with open(os.path.join(top, "build.log"), encoding="utf-8", errors="replace") as log:
                raise Failed("dpkg-buildpackage: %d\n%s" % (r, log.read()[-4000:]))
        shutil.rmtree(tree)
        self.made[which] = os.path.join(top, debs[0])
        return self.made[which]


def copy_source(tree):
    """As scripts/test copies it: nothing that a build left behind."""
    script = '. "$leash_src/scripts/lib-setup.sh" && setup_copy_source "$0"'
    call("bash", "-c", script, tree, env=dict(os.environ, leash_src=SOURCE))


def raise_version(tree):
    """The next release of the same source."""
    path = os.path.join(tree, "debian", "changelog")
    with open(path, encoding="utf-8") as f:
        old = f.read()
    head = re.match(r"(\S+) \(([^)]*)\) (.*)\n", old)
    entry = "%s (%s+next1) %s\n\n  * The same again.\n\n%s\n\n" % (
        head.group(1), head.group(2), head.group(3), re.search(r"^ -- .*$", old, re.M).group(0))
    with open(path, "w", encoding="utf-8") as f:
        f.write(entry + old)
