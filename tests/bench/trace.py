"""FUSE requests of one mount, by kind, counted by the kernel (tracepoint fuse:fuse_request_send).

The same for every FUSE filesystem, and including what its daemon never hears of twice (a FLUSH
answered with ENOSYS).  Forgets have no answer and are not counted.
"""

import contextlib
import os
import re

from lab import util

NAMES = {1: "lookup", 3: "getattr", 4: "setattr", 5: "readlink", 6: "symlink", 8: "mknod", 9: "mkdir",
         10: "unlink", 11: "rmdir", 12: "rename", 13: "link", 14: "open", 15: "read", 16: "write",
         17: "statfs", 18: "release", 20: "fsync", 21: "setxattr", 22: "getxattr", 23: "listxattr",
         25: "flush", 27: "opendir", 28: "readdir", 29: "releasedir", 30: "fsyncdir", 34: "access",
         35: "create", 39: "ioctl", 44: "readdirplus", 45: "rename", 46: "lseek", 47: "copy"}
ROW = re.compile(r"fuse_request_send: connection \d+ req \d+ opcode (\d+) ")
BUFFER_KIB = 16384      # for each processor; an event takes some 50 bytes


class Trace:
    """An instance of the kernel's tracer of our own."""

    def __init__(self, where):
        self.fs = os.path.join(where, "tracefs")
        self.dir = None

    def __enter__(self):
        os.makedirs(self.fs, exist_ok=True)
        if util.run(["mount", "-t", "tracefs", "none", self.fs], check=False).returncode != 0:
            return self
        if os.path.isdir(os.path.join(self.fs, "events/fuse/fuse_request_send")):
            self.dir = os.path.join(self.fs, "instances", "mailfs-bench-%d" % os.getpid())
            os.mkdir(self.dir)
            self.write("buffer_size_kb", BUFFER_KIB)
        return self

    def __exit__(self, *_):
        if self.dir:
            os.rmdir(self.dir)
        util.run(["umount", self.fs], check=False)

    @contextlib.contextmanager
    def counting(self, device, counts):
        """Adds {kind: number} of what is sent meanwhile to counts."""
        if self.dir is None or device is None:
            yield
            return
        event = "events/fuse/fuse_request_send/"
        # the kernel's own form of a device number
        self.write(event + "filter", "connection==%d" % (os.major(device) << 20 | os.minor(device)))
        self.write("trace", "")
        self.write(event + "enable", 1)
        try:
            yield
            self.write(event + "enable", 0)
            with open(os.path.join(self.dir, "trace")) as f:
                for line in f:
                    found = ROW.search(line)
                    if found:
                        kind = NAMES.get(int(found.group(1)), "opcode " + found.group(1))
                        counts[kind] = counts.get(kind, 0) + 1
        finally:
            self.write(event + "enable", 0)

    def write(self, name, value):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write("%s\n" % value)
