"""Which directories are read: by inotify, so that it does not matter by whom, and what he says of it."""

import ctypes
import os
import struct

IN_ACCESS, IN_NONBLOCK, IN_CLOEXEC = 0x1, 0o4000, 0o2000000
OVERFLOW = 0x4000
HEAD = struct.Struct("iIII")    # struct inotify_event without its name
_LIBC = ctypes.CDLL(None, use_errno=True)


class Reads:
    """with Reads(directories) as reads: ...; reads.seen() are those that were listed, or a file in them read."""

    def __init__(self, directories):
        self.fd = _LIBC.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
        self.paths, self.found = {}, set()
        for path in directories:
            number = _LIBC.inotify_add_watch(self.fd, os.fsencode(path), IN_ACCESS)
            if number < 0:
                error = ctypes.get_errno()
                os.close(self.fd)
                raise OSError(error, "inotify of %s: %s" % (path, os.strerror(error)))
            self.paths[number] = path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def seen(self):
        while True:
            try:
                data = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return self.found
            at = 0
            while at < len(data):
                number, mask, _cookie, more = HEAD.unpack_from(data, at)
                if mask & OVERFLOW:
                    raise OSError("inotify: more events than the queue holds")
                if mask & IN_ACCESS:
                    self.found.add(self.paths[number])
                at += HEAD.size + more
