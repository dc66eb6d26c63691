#!/usr/bin/env python3
"""A peer that speaks no version of the protocol that we do is refused, and status says so."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, net, util, wire  # noqa: E402


import socket  # noqa: E402
import ssl  # noqa: E402


def dial(t):
    """As node a, with its key, to b's listener."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(os.path.join(t.a.mailfs.state, "cert.pem"),
                            os.path.join(t.a.mailfs.state, "key.pem"))
    with net.entered(t.a.space.name):
        sock = socket.create_connection((t.b.address, 7400), 5)
    sock = context.wrap_socket(sock)
    sock.settimeout(10)
    return sock


def wait_closed(sock):
    try:
        while sock.recv(4096):
            pass
    except socket.timeout:
        raise util.Fail("left connected after a Hello of version 99") from None
    except OSError:
        pass


def test(t):
    t.needs_mailfs()
    user = t.pair.user("version")
    t.a.stop("syncd")
    t.b.wait_state("alone")
    with dial(t) as sock:
        sock.sendall(wire.hello("mx-a", 99))
        wait_closed(sock)
    util.poll(lambda: "last_error about the version: %s" % t.b.status(),
              lambda: "version" in ((t.b.status() or {}).get("last_error") or "").lower())
    t.equal(t.b.state(), "alone", "state of b")
    t.b.deliver(user, mail.message())
    t.a.start("syncd")
    t.pair.wait_in_sync()
    t.wait_equal(user)


case.main(test)
