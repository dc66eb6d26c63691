"""A process-less man in the middle: the link of the pair through a thread that slows or swallows it.

Put in front of b's listener, in a's network namespace; a dials it instead.
"""

import contextlib
import select
import socket
import threading

from . import net, util

PORT = 7401
CHUNK = 32768


class Relay:
    """rate: bytes a second from a to b (None: as they come). swallow: what comes goes nowhere.

    forwarded, returned: bytes that went from a to b, and back. cut(): ends the connections there are.
    """

    def __init__(self, pair):
        self.a, self.b = pair.a, pair.b
        self.rate, self.swallow = None, False
        self.halt, self.forwarded, self.returned = threading.Event(), 0, 0
        with net.entered(self.a.space.name):
            self.listener = socket.create_server((self.a.address, PORT))
        # little in the kernel, or it would be the kernel's buffers that are filled
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
        self.listener.settimeout(0.1)
        self.ends, self.socks = [], []
        self.thread = util.Thread(self.accept)

    def accept(self):
        while not self.halt.is_set():
            try:
                near = self.listener.accept()[0]
            except socket.timeout:
                continue
            with net.entered(self.a.space.name):
                try:
                    far = socket.create_connection((self.b.address, 7400), timeout=2)
                except OSError:
                    near.close()
                    continue
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
            self.socks += [near, far]
            self.ends += [util.Thread(self.forward, near, far, True),
                          util.Thread(self.forward, far, near, False)]

    def forward(self, source, to, limited):
        try:
            while not self.halt.is_set():
                if not select.select([source], [], [], 0.1)[0]:
                    continue
                data = source.recv(CHUNK)
                if not data:
                    break
                if self.swallow:
                    continue
                to.sendall(data)
                if not limited:
                    self.returned += len(data)
                if limited:
                    self.forwarded += len(data)
                    if self.rate:
                        self.halt.wait(len(data) / self.rate)
        except OSError:
            pass
        for sock in (source, to):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for sock in self.socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.socks = []

    def end(self):
        self.halt.set()
        self.thread.join()
        for thread in self.ends:
            thread.join()
        self.listener.close()


@contextlib.contextmanager
def between(pair):
    """A pair in sync through it. Nothing is compressed: what it lets through is what there is to send."""
    link = Relay(pair)
    pair.a.mailfs.dial = "%s:%d" % (pair.a.address, PORT)
    pair.a.mailfs.compress = "off"
    pair.a.mailfs.write(peer=pair.b)
    pair.a.stop("syncd")
    pair.a.start("syncd")
    try:
        pair.wait_in_sync()
        yield link
    finally:
        link.end()
