"""A file system of a node's own, an ext4 in a file: it can be full, and its power can be cut."""

import fcntl
import os
import struct

from . import rundir, util

# linux/fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN; no flush of the journal: what no fsync has made durable is lost
SHUTDOWN, NO_LOG_FLUSH = 0x8004587d, 2

# mkfs.ext4: messages are small; nothing is left to be written in the background
FOR_MAIL = ["-i", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]


def mount_image(image, where, check=True):
    """Read and written as a disk is: without a second page cache below it, where the kernel can do that."""
    done = util.run(["mount", "-o", "loop", image, where], check=check)
    if done.returncode == 0:
        device = util.run(["findmnt", "-no", "SOURCE", where]).stdout.strip()
        util.run(["losetup", "--direct-io=on", device], check=False)
    return done


def ext4_at(where, image, size, *options, check=True):
    """Mount there an empty ext4 of this size, in the file `image`; check: as for util.run(), of the mount."""
    with open(image, "wb") as f:
        f.truncate(size)
    util.run(["mkfs.ext4", "-q", "-F", "-m", "0", *options, image])
    done = mount_image(image, where, check)
    if done.returncode == 0:
        os.rmdir(os.path.join(where, "lost+found"))
    return done


def fill(where):
    """Leave no block free; the file that takes them."""
    ballast = os.path.join(where, "ballast")
    with open(ballast, "wb", buffering=0) as f:
        for piece in (1 << 16, 1 << 10):
            try:
                while True:
                    f.write(b"x" * piece)
            except OSError:
                pass
    return ballast


class Disk:
    def __init__(self, node, size):
        self.node, self.size = node, size
        self.image = os.path.join(node.dir, "disk.image")
        self.point = os.path.join(node.dir, "disk")
        self.ballast = os.path.join(self.point, "ballast")

    def create(self):
        os.makedirs(self.point, exist_ok=True)
        ext4_at(self.point, self.image, self.size, *FOR_MAIL)

    def mounted(self):
        return self.point in rundir.mounts_below(self.point)

    def mount(self):
        """After cut(): the journal is replayed."""
        if not self.mounted():
            mount_image(self.image, self.point)

    def unmount(self):
        """Until nobody has it: a mount namespace made meanwhile, anywhere on this machine, has a copy of the mount, and
        whoever mounts the image then gets that very file system, which cut() has shut down, instead of what is on disk."""
        util.poll("%s: umount of %s" % (self.node.host, self.point),
                  lambda: util.run(["umount", self.point], check=False).returncode == 0, 20)
        util.poll("%s: others' mounts of %s" % (self.node.host, self.image),
                  lambda: not util.run(["losetup", "-j", self.image]).stdout, 20)

    def cut(self):
        """From now on everything fails, and what was not durable never was."""
        fd = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def fill(self):
        fill(self.point)

    def is_full(self):
        return os.path.exists(self.ballast)

    def free(self):
        """True if it was full."""
        was = self.is_full()
        if was:
            os.unlink(self.ballast)
        return was
