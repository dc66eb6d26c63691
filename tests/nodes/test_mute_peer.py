#!/usr/bin/env python3
"""A peer with the right key that accepts and never answers, at each step of the beginning of a connection."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, net, util, wire  # noqa: E402


import socket  # noqa: E402
import ssl  # noqa: E402
import struct  # noqa: E402
import threading  # noqa: E402

TIMEOUT = 3


class Mute:
    """In b's place: goes so far, then reads and says nothing more."""

    def __init__(self, t, steps):
        self.steps, self.halt, self.met, self.kept = steps, threading.Event(), 0, []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(t.b.mailfs.state, "cert.pem"),
                                     os.path.join(t.b.mailfs.state, "key.pem"))
        # the client's certificate is wanted, whoever signed it: a is what we test, not this
        self.context.verify_mode = ssl.CERT_NONE
        self.context.set_alpn_protocols(["mailfs/1"])
        with net.entered(t.b.space.name):
            self.sock = socket.create_server((t.b.address, 7400))
        self.sock.settimeout(0.1)
        self.thread = util.Thread(self.work)

    def work(self):
        while not self.halt.is_set():
            try:
                sock = self.sock.accept()[0]
            except socket.timeout:
                continue
            self.met += 1
            self.kept.append(sock)
            sock.settimeout(5)
            try:
                if self.steps != "tcp":
                    sock = self.context.wrap_socket(sock, server_side=True)
                    self.kept.append(sock)
                if self.steps == "hello":
                    sock.sendall(struct.pack(">I", 0) + wire.hello("mx-b"))
            except OSError:
                pass

    def end(self):
        self.halt.set()
        self.thread.join()
        for sock in self.kept + [self.sock]:
            sock.close()


def met(t, user, steps):
    """Mail at a while that peer is there: the Message-IDs."""
    ids, slow = [], []
    mute = Mute(t, steps)
    try:
        util.poll("a to dial", lambda: mute.met > 0, 15)
        for _ in range(5):
            start = util.now()
            ids.append(t.a.deliver(user, mail.message("nobody answers")))
            with t.a.imap(user, mailbox="INBOX") as client:
                client.store("1", "+FLAGS", "\\Flagged")
            slow.append(util.now() - start)
        t.check(max(slow) < TIMEOUT + 2, "%s: a delivery and a flag took %.1f s", steps, max(slow))
        # a connection that comes as far as the Hello may cost the timeout, once each
        waits = len([s for s in slow if s > 1.5])
        t.check(waits <= (mute.met if steps == "hello" else 0), "%s: a waited %d times over %d connections: %s",
                steps, waits, mute.met, slow)
        t.check(t.a.state() in ("alone", "catching-up"), "%s: a is %s", steps, t.a.state())
        t.figure("%s: longest %.1f s", steps, max(slow))
    finally:
        mute.end()
    return ids


def test(t):
    t.needs_mailfs()
    user = t.pair.user("mute")
    ids = [t.a.deliver(user, mail.message("before"))]
    t.wait_equal(user)
    t.b.stop("syncd")
    t.a.wait_state("alone")
    for steps in ("tcp", "tls", "hello"):
        ids += met(t, user, steps)
    t.b.start("syncd")
    t.pair.wait_in_sync(timeout=30)
    view = t.wait_equal(user)
    compare.assert_has(view, ids, exactly=True)
    compare.assert_no_duplicates(view)


case.main(test)
