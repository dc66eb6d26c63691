"""A small IMAP client (RFC 9051 syntax) whose answers are parsed, and which can IDLE.

imaplib hands out unparsed fragments and has no IDLE before Python 3.14.
"""

import hashlib
import re
import select
import socket

from . import util


class ImapError(util.Fail):
    """NO, BAD, or a connection that ended; .status says which."""

    def __init__(self, text, status="BYE"):
        super().__init__(text)
        self.status = status


def quote(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Imap:
    """One session.  Mailbox names are ASCII here.

    watch: if set, called with each untagged response ([text, literal, text, ...]).
    """

    watch = None

    def __init__(self, sock, user, password="x"):
        self.sock, self.user = sock, user
        self.file = sock.makefile("rb", 65536)
        self.count, self.exists, self.idling, self.said = 0, None, None, ""
        greeting = self._line()
        if not greeting.startswith(b"* OK"):
            raise ImapError("greeting: %r" % greeting)
        self.command("LOGIN %s %s" % (quote(user), quote(password)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.sock.close()
            self.file.close()
        except OSError:
            pass

    def logout(self):
        try:
            self.command("LOGOUT")
        except (ImapError, OSError):
            pass
        self.close()

    # --- the protocol ---------------------------------------------------------------------

    def _line(self):
        try:
            line = self.file.readline()
        except socket.timeout:
            raise ImapError("%s: no answer within %s s" % (self.user, self.sock.gettimeout()),
                            "TIMEOUT") from None
        if not line.endswith(b"\n"):
            raise ImapError("%s: connection closed" % self.user)
        return line.rstrip(b"\r\n")

    def _response(self):
        """One response: its lines joined, literals kept apart: [text, literal, text, ...]"""
        parts = [self._line()]
        while True:
            match = re.search(rb"\{(\d+)\}$", parts[-1])
            if not match:
                return parts
            parts += [self.file.read(int(match.group(1))), self._line()]

    def send(self, line, literal=None):
        self.count += 1
        name = "t%d" % self.count
        data = ("%s %s" % (name, line)).encode()
        if literal is not None:
            data += b" {%d+}\r\n" % len(literal) + literal
        self.sock.sendall(data + b"\r\n")
        return name

    def finish(self, name, line):
        """Read up to the tagged answer; the untagged ones, each [text, literal, ...]."""
        found = []
        while True:
            parts = self._response()
            if parts[0].startswith(name.encode() + b" "):
                text = parts[0].decode("utf-8", "replace").split(" ", 1)[1]
                if not text.startswith("OK"):
                    raise ImapError("%s: %s: %s" % (self.user, line[:80], text), text.split(" ")[0])
                self.said = text
                return found
            if parts[0].startswith(b"* BYE") and not line.startswith("LOGOUT"):
                raise ImapError("%s: %s" % (self.user, parts[0].decode("utf-8", "replace")))
            self._note(parts)
            found.append(parts)

    def command(self, line, literal=None):
        return self.finish(self.send(line, literal), line)

    def _note(self, parts):
        if self.watch:
            self.watch(parts)
        match = re.match(rb"\* (\d+) EXISTS", parts[0])
        if match:
            self.exists = int(match.group(1))

    def _code(self, responses, name):
        """The value in a response code such as [UIDVALIDITY 17]."""
        for text in [p[0] for p in responses] + [self.said.encode()]:
            match = re.search(rb"\[" + name.encode() + rb" ([^\]]*)\]", text)
            if match:
                return match.group(1).decode()
        return None

    # --- commands -------------------------------------------------------------------------

    def select(self, mailbox="INBOX", readonly=False):
        """Open a mailbox: dict of exists, uidvalidity, uidnext."""
        got = self.command(("EXAMINE " if readonly else "SELECT ") + quote(mailbox))
        return {"exists": self.exists, "uidvalidity": int(self._code(got, "UIDVALIDITY")),
                "uidnext": int(self._code(got, "UIDNEXT"))}

    def noop(self):
        return self.command("NOOP")

    def list(self, which="LIST"):
        """Mailbox names, or with LSUB the subscribed ones."""
        names = []
        for parts in self.command(which + ' "" "*"'):
            tokens = parse(parts)
            if tokens[1] == which and (which == "LSUB" or not {"\\noselect", "\\nonexistent"} &
                                       {t.lower() for t in tokens[2]}):
                names.append(text_of(tokens[4]))
        return sorted(names)

    def fetch(self, what, items="(UID FLAGS)"):
        """UID FETCH: {uid: {item: value}}, flags as a frozenset without \\Recent."""
        found = {}
        for parts in self.command("UID FETCH %s %s" % (what, items)):
            tokens = parse(parts)
            if len(tokens) < 4 or tokens[2] != "FETCH":
                continue
            pairs = dict(zip(tokens[3][0::2], tokens[3][1::2]))
            if "UID" not in pairs:
                continue
            if "FLAGS" in pairs:
                pairs["FLAGS"] = frozenset(f for f in pairs["FLAGS"] if f.lower() != "\\recent")
            found.setdefault(int(pairs["UID"]), {}).update(pairs)
        return found

    def uids(self, search="ALL"):
        for parts in self.command("UID SEARCH " + search):
            words = parts[0].split()
            if words[:2] == [b"*", b"SEARCH"]:
                return [int(w) for w in words[2:]]
        return []

    def flags(self, uid):
        return self.fetch(str(uid), "(UID FLAGS)").get(uid, {}).get("FLAGS")

    def ids(self):
        """{uid: Message-ID} of the selected mailbox."""
        item = "BODY[HEADER.FIELDS (MESSAGE-ID)]"
        return {uid: header_id(v.get(item)) for uid, v in
                self.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])").items()}

    def store(self, what, how, flags):
        return self.command("UID STORE %s %s (%s)" % (what, how, flags))

    def append(self, mailbox, message, flags="", date=None):
        """APPEND; the new UID."""
        line = "APPEND %s (%s)" % (quote(mailbox), flags)
        if date:
            line += ' "%s"' % date
        got = self.command(line, message)
        code = self._code(got, "APPENDUID")
        return int(code.split()[1]) if code else None

    def copy(self, what, mailbox):
        return self.command("UID COPY %s %s" % (what, quote(mailbox)))

    def move(self, what, mailbox):
        return self.command("UID MOVE %s %s" % (what, quote(mailbox)))

    def expunge(self, what=None):
        return self.command("UID EXPUNGE %s" % what if what else "EXPUNGE")

    def create(self, mailbox):
        self.command("CREATE " + quote(mailbox))

    def rename(self, old, new):
        self.command("RENAME %s %s" % (quote(old), quote(new)))

    def delete(self, mailbox):
        self.command("DELETE " + quote(mailbox))

    def subscribe(self, mailbox, on=True):
        self.command(("SUBSCRIBE " if on else "UNSUBSCRIBE ") + quote(mailbox))

    # --- IDLE -----------------------------------------------------------------------------

    def idle(self):
        """Start to IDLE; returns once the server listens."""
        self.idling = self.send("IDLE")
        while True:
            parts = self._response()
            if parts[0].startswith(b"+"):
                return self
            self._note(parts)

    def idle_wait(self, pattern=rb"EXISTS", timeout=20):
        """Wait for an untagged response that matches; (its text, seconds waited)."""
        start = util.now()
        while True:
            left = start + timeout - util.now()
            if not self._ready(max(left, 0)):
                raise util.Fail("%s: IDLE not woken within %g s (%s)" % (self.user, timeout, pattern))
            parts = self._response()
            self._note(parts)
            if re.search(pattern, parts[0]):
                return parts[0].decode("utf-8", "replace"), util.now() - start

    def _ready(self, seconds):
        # what is in the file object's buffer is not seen by select()
        self.sock.setblocking(False)
        try:
            if self.file.peek(1):
                return True
        except (BlockingIOError, ValueError):
            pass
        finally:
            self.sock.settimeout(30)
        return bool(select.select([self.sock], [], [], seconds)[0])

    def done(self):
        name, self.idling = self.idling, None
        self.sock.sendall(b"DONE\r\n")
        return self.finish(name, "IDLE")


# --- parsing ------------------------------------------------------------------------------

_TOKEN = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|((?:[^\s()"\[]|\[[^\]]*\])+))')


def _text(part, stack):
    """Add the tokens of a piece of text to the innermost open list."""
    at = 0
    while True:
        match = _TOKEN.match(part, at)
        if not match:
            return
        at = match.end()
        if match.group(1):
            stack.append([])
        elif match.group(2):
            if len(stack) > 1:
                done = stack.pop()
                stack[-1].append(done)
        elif match.group(3) is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", match.group(3)).decode("utf-8", "replace"))
        else:
            stack[-1].append(match.group(4).decode("utf-8", "replace"))


def parse(parts):
    """The tokens of one response: nested lists, str, and bytes for literals."""
    stack = [[]]
    for index, part in enumerate(parts):
        if index % 2:
            stack[-1].append(part)
        elif index + 1 < len(parts):
            _text(re.sub(rb"\{\d+\}$", b"", part), stack)
        else:
            _text(part, stack)
    return stack[0]


def text_of(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def header_id(value):
    """The Message-ID in a fetched header part."""
    match = re.search(r"message-id:\s*(\S+)", text_of(value or b""), re.I)
    return match.group(1) if match else None


def digest(value):
    return hashlib.sha256(value if isinstance(value, bytes) else (value or "").encode()).hexdigest()[:16]
