#!/usr/bin/env python3
"""Garbage, a port scan, and strangers with TLS on the listener do not disturb the pair."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, net, util  # noqa: E402


import socket  # noqa: E402
import ssl  # noqa: E402

COUNT = 30


def connect(t):
    """From a's address: the worst place for a stranger to come from is the peer's own."""
    with net.entered(t.a.space.name):
        return socket.create_connection((t.b.address, 7400), 5)


def stranger(t):
    """A certificate of nobody's."""
    path = os.path.join(t.pair.run_dir, "stranger-%d" % os.getpid())
    util.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
              "-nodes", "-days", "2", "-subj", "/CN=mx-a", "-keyout", path + ".key", "-out", path + ".crt"])
    return path


def tls(version=None, cert=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.maximum_version = version
    if cert:
        context.load_cert_chain(cert + ".crt", cert + ".key")
    return context


def refused(t, context, what):
    """The handshake fails, or the connection is closed without a byte for us."""
    try:
        with context.wrap_socket(connect(t)) as sock:
            sock.settimeout(15)
            sock.sendall(b"\0\0\0\4hello" * 10)
            got = sock.recv(100)
    except (ssl.SSLError, ConnectionError):
        return
    except socket.timeout:
        raise util.Fail("%s: left connected" % what) from None
    t.check(not got, "%s: was answered %r", what, got)


def noise(t):
    """A port scan, and bytes that are no TLS."""
    for _ in range(COUNT):
        connect(t).close()
    rubbish = os.urandom(70000)
    for i in range(COUNT):
        sock = connect(t)
        try:
            sock.sendall((b"GET / HTTP/1.0\r\n\r\n", rubbish, b"\x16\x03\x01" + rubbish)[i % 3])
        except OSError:
            pass
        sock.close()


def test(t):
    t.needs_mailfs()
    user = t.pair.user("hostile")
    pids = [n.daemon("syncd").running() for n in t.pair.nodes]
    silent = [connect(t) for _ in range(COUNT)]         # say nothing, stay
    noise(t)
    cert = stranger(t)
    refused(t, tls(), "TLS without a certificate")
    refused(t, tls(cert=cert), "TLS with a stranger's certificate")
    refused(t, tls(ssl.TLSVersion.TLSv1_2, cert), "TLS 1.2")
    start = util.now()
    for node in t.pair.nodes:
        t.equal(node.state(), "in-sync", node.host)
        node.deliver(user, mail.message())
    t.check(util.now() - start < 2, "deliveries took %.1f s", util.now() - start)
    t.wait_equal(user)
    # and a real peer that comes anew is let in beside them
    t.a.kill("syncd")
    t.a.start("syncd")
    t.pair.wait_in_sync()
    t.equal(t.b.daemon("syncd").running(), pids[1], "pid of b's syncd")
    t.wait_equal(user)
    for sock in silent:
        sock.close()


case.main(test)
