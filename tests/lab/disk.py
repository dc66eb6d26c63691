"""A file system of a node's own, an ext4 in a file: it can be full, and its power can be cut."""

import fcntl
import os
import struct

from . import rundir, util

# linux/fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN; no flush of the journal: what no fsync has made durable is lost
SHUTDOWN, NO_LOG_FLUSH = 0x8004587d, 2


class Disk:
    def __init__(self, node, size):
        self.node, self.size = node, size
        self.image = os.path.join(node.dir, "disk.image")
        self.point = os.path.join(node.dir, "disk")
        self.ballast = os.path.join(self.point, "ballast")

    def create(self):
        with open(self.image, "wb") as f:
            f.truncate(self.size)
        util.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-i", "4096", "-E",
                  "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self.image])
        os.makedirs(self.point, exist_ok=True)
        self.mount()
        os.rmdir(os.path.join(self.point, "lost+found"))

    def mounted(self):
        return self.point in rundir.mounts_below(self.point)

    def mount(self):
        """After cut(): the journal is replayed."""
        if not self.mounted():
            util.run(["mount", "-o", "loop", self.image, self.point])

    def unmount(self):
        util.poll("%s: umount of %s" % (self.node.host, self.point),
                  lambda: util.run(["umount", self.point], check=False).returncode == 0, 20)

    def cut(self):
        """From now on everything fails, and what was not durable never was."""
        fd = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def fill(self):
        """Leave no block free."""
        with open(self.ballast, "wb", buffering=0) as f:
            for piece in (1 << 20, 1 << 12):
                try:
                    while True:
                        f.write(b"x" * piece)
                except OSError:
                    pass

    def is_full(self):
        return os.path.exists(self.ballast)

    def free(self):
        """True if it was full."""
        was = self.is_full()
        if was:
            os.unlink(self.ballast)
        return was
