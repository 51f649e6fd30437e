"""Nodes on a sick disk: faultfs.c preloaded, and steered while they run.

    node.disk.fail(errno.EIO, "fdatasync", path="*.seg")    # each one from now on
    node.disk.hang("fdatasync")
    node.disk.well()
"""

import errno
import mmap
import os
import re
import struct
import subprocess
import tempfile

from leashtest import BUILD, Node, Skip, wait_for

SHIM = os.path.join(BUILD, "tests/integration/faultfs.so")
CALLS = ("open", "pread", "pwritev", "fdatasync", "fsync", "fallocate", "ftruncate", "rename", "unlink", "mkdir")
ALL = 0xffffffff
REST = struct.Struct("=iIIQQQQ256s")  # behind `calls`: struct control in faultfs.c
HITS_AT, HANGING_AT, LOADED_AT = 24, 32, 40


def preload(program):
    """The sanitizer's library must come first."""
    found = re.findall(r"=> (\S*/lib[at]san\S*)", subprocess.run(
        ["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout)
    return ":".join(found + [SHIM])


class Disk:
    def __init__(self, directory):
        if not os.access(SHIM, os.R_OK):
            raise Skip("%s is missing: make check makes it" % SHIM)
        fd, self.path = tempfile.mkstemp(prefix="faults", dir=directory)
        os.ftruncate(fd, mmap.PAGESIZE)
        self.map = mmap.mmap(fd, mmap.PAGESIZE)
        os.close(fd)

    def environment(self):
        program = os.path.join(BUILD, "leash-noded")
        return dict(os.environ, LD_PRELOAD=preload(program), LEASH_FAULTFS=self.path)

    def _number(self, at):
        return struct.unpack_from("=Q", self.map, at)[0]

    def hits(self):
        return self._number(HITS_AT)

    def hanging(self):
        return self._number(HANGING_AT)

    def loaded(self):
        return self._number(LOADED_AT)

    def arm(self, error, calls, path="*.seg", skip=0, times=ALL, inode=0):
        self.well()
        mask = sum(1 << CALLS.index(c) for c in calls)
        REST.pack_into(self.map, 4, error, skip, times, inode, 0, self.hanging(), self.loaded(), path.encode())
        struct.pack_into("=I", self.map, 0, mask)

    def fail(self, error, *calls, **which):
        assert error in (errno.EIO, errno.ENOSPC)
        self.arm(error, calls, **which)

    def hang(self, *calls, **which):
        self.arm(0, calls, **which)

    def well(self):
        struct.pack_into("=I", self.map, 0, 0)

    def struck(self, seconds=30):
        wait_for(self.hits, "the disk is sick", seconds)


class SickNode(Node):
    """With a disk that can be made sick. It is well at each start."""

    def start(self, wait=True):
        if not hasattr(self, "disk"):
            self.disk = Disk(self.test.dir)
        self.disk.well()
        self.env = self.disk.environment()
        super().start(wait)
        if wait:
            assert self.disk.loaded(), "faultfs.so is not loaded"
        return self
