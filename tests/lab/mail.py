"""Messages, and clients for LMTP (a reply per recipient), SMTP and POP3."""

import hashlib
import itertools
import os
import re
import smtplib

from . import util

_COUNT = itertools.count(1)
DOMAIN = "lab.test"


def message(subject="hello", size=0, ident=None, body="", headers=""):
    """A message with a Message-ID never used before; size: at least so many bytes of body."""
    ident = ident or "%d.%d@%s" % (os.getpid(), next(_COUNT), "test")
    if size:
        line = "0123456789abcdef" * 4 + "\r\n"
        body += line * (size // len(line) + 1)
    return ("From: <from@%s>\r\nTo: <to@%s>\r\nSubject: %s\r\nMessage-ID: <%s>\r\n"
            "Date: Mon, 01 Jan 2024 12:00:00 +0000\r\n%s\r\n%s\r\n" %
            (DOMAIN, DOMAIN, subject, ident, headers, body or "text of " + ident)).encode()


def message_id(text):
    return re.search(rb"^message-id:\s*(\S+)", text, re.I | re.M).group(1).decode()


def text_digest(message):
    """Of what follows the header, however lines end: servers add header fields on the way."""
    text = message.replace(b"\r\n", b"\n").partition(b"\n\n")[2].strip()
    return hashlib.sha256(text).hexdigest()[:16]


def address(user):
    return user if "@" in user else "%s@%s" % (user, DOMAIN)


class Lmtp:
    """One LMTP session (RFC 2033)."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")
        self._expect("220")
        self.command("LHLO lab", "250")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def _reply(self):
        while True:
            line = self.file.readline().decode("utf-8", "replace")
            if not line:
                raise util.Fail("LMTP connection closed")
            if line[3:4] != "-":
                return line.rstrip()

    def _expect(self, code):
        reply = self._reply()
        if not reply.startswith(code):
            raise util.Fail("LMTP: " + reply)
        return reply

    def command(self, line, code=None):
        self.sock.sendall(line.encode() + b"\r\n")
        return self._expect(code) if code else self._reply()

    def send(self, recipients, text):
        """Hand over one message; the final reply for each recipient, in their order."""
        self.command("MAIL FROM:<from@%s>" % DOMAIN, "250")
        replies = [self.command("RCPT TO:<%s>" % address(r)) for r in recipients]
        taken = [i for i, r in enumerate(replies) if r.startswith("250")]
        if not taken:
            self.command("RSET")
            return replies
        self.command("DATA", "354")
        self.sock.sendall(re.sub(rb"(?m)^\.", b"..", text).rstrip(b"\r\n") + b"\r\n.\r\n")
        for i in taken:
            replies[i] = self._reply()
        return replies


class _Smtp(smtplib.SMTP):
    """smtplib on a socket that is connected already."""

    def __init__(self, sock):
        self._given = sock
        super().__init__("node", 25, local_hostname="lab")

    def _get_socket(self, host, port, timeout):
        return self._given


def smtp_send(sock, recipients, text):
    if isinstance(recipients, str):
        recipients = [recipients]
    with _Smtp(sock) as client:
        client.sendmail("from@" + DOMAIN, [address(r) for r in recipients], text)


class Pop3:
    """One POP3 session, logged in."""

    def __init__(self, sock, user):
        self.sock = sock
        self.file = sock.makefile("rb")
        self._ok()
        self.command("USER " + user)
        self.command("PASS x")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def _ok(self):
        line = self.file.readline().decode("utf-8", "replace").rstrip()
        if not line.startswith("+OK"):
            raise util.Fail("POP3: " + (line or "connection closed"))
        return line[4:]

    def command(self, line):
        self.sock.sendall(line.encode() + b"\r\n")
        return self._ok()

    def many(self, line):
        """A command with an answer of several lines, as bytes without the final dot."""
        self.command(line)
        rows = []
        while True:
            row = self.file.readline()
            if row in (b".\r\n", b""):
                return b"".join(rows)
            rows.append(row[1:] if row.startswith(b".") else row)

    def uidl(self):
        rows = self.many("UIDL").decode().splitlines()
        return dict((int(n), u) for n, u in (r.split() for r in rows))

    def quit(self):
        self.command("QUIT")
