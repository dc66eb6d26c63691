"""The load: mail by SMTP and LMTP, IMAP clients at both nodes, all writing into the ledger.

A message is moved, copied and removed by one client only, told by its Message-ID, and each client
has a flag and a keyword of its own: so the ledger knows what must come of it.  All read everything.
"""

import random
import re
import smtplib
import socket
import threading
import zlib

from lab import imap, mail, util

FLAGS = ("\\Flagged", "\\Answered", "\\Draft", "\\Seen")
HEAD = "BODY[HEADER.FIELDS (MESSAGE-ID)]"
CROWD = 24          # messages in a folder from which on its clients remove some
PATIENCE = 30       # seconds until a client gives up; longer than any outage
ERRORS = (util.Fail, OSError, ValueError, smtplib.SMTPException)


class Gate:
    """Lets the clients work, or holds them between two operations."""

    def __init__(self):
        self.change = threading.Condition()
        self.open, self.ended, self.busy = False, False, set()

    def enter(self, who):
        """Wait until it is open; False: the run is over."""
        with self.change:
            self.busy.discard(who)
            self.change.notify_all()
            self.change.wait_for(lambda: self.open or self.ended)
            if not self.ended:
                self.busy.add(who)
            return not self.ended

    def left(self, who):
        with self.change:
            self.busy.discard(who)
            self.change.notify_all()

    def set(self, is_open):
        with self.change:
            self.open = is_open
            self.change.notify_all()

    def wait_idle(self, seconds):
        with self.change:
            if not self.change.wait_for(lambda: not self.busy, seconds):
                raise util.Fail("clients that do not come back: %s" % sorted(map(str, self.busy)))

    def end(self):
        with self.change:
            self.ended = True
            self.change.notify_all()


class Client(util.Thread):
    """A thread that does work() again and again while the gate is open."""

    PACE = 0.05

    def __init__(self, load, node, name, seed):
        self.load, self.ledger, self.node, self.name_ = load, load.ledger, node, name
        self.random = random.Random("%s %s" % (seed, name))
        self.longest, self.errors = 0.0, 0
        super().__init__(self.life)

    def __str__(self):
        return self.name_

    def life(self):
        while self.load.gate.enter(self):
            start = util.now()
            try:
                self.work()
            except ERRORS as error:
                self.failed(error)
            self.longest = max(self.longest, util.now() - start)
            threading.Event().wait(self.random.uniform(0, 2 * self.PACE))
        self.load.gate.left(self)

    def failed(self, error):
        self.errors += 1
        self.load.say("%s: %s" % (self, error))
        threading.Event().wait(0.1)

    def message(self, what):
        return mail.message("%s by %s" % (what, self), ident=self.load.ident(),
                            size=self.random.choice((0, 0, 500, 3000, 20000)))


class Sender(Client):
    """Delivers at one node: by SMTP to Postfix, or by LMTP to Dovecot, there also to several at once."""

    def __init__(self, load, node, name, seed, way):
        self.way = way
        super().__init__(load, node, name, seed)

    def work(self):
        ledger, text = self.ledger, self.message(self.way)
        ident, digest = mail.message_id(text), mail.text_digest(text)
        users = self.random.sample(self.load.users, self.random.choice((1, 1, 1, 2)))
        inboxes = {u: ledger.books[u].folder("INBOX") for u in users}
        for user in users:
            ledger.adding(user, inboxes[user], ident, self.node, digest, self.way)
        if self.way == "smtp":
            self.node.smtp(users, text, PATIENCE)
            good = users
        else:
            replies = self.node.lmtp(users, text, PATIENCE)
            good = [u for u, r in zip(users, replies) if r.startswith("250")]
            self.load.refused([r for r in replies if not r.startswith("250")])
        for user in good:
            ledger.added(user, inboxes[user], ident)


class Reader(Client):
    """An IMAP session at one node: looks at a folder, and does a few things in it."""

    def __init__(self, load, node, name, seed, user, number):
        self.user, self.number = user, number
        self.book = load.ledger.books[user]
        self.own = (FLAGS[number % len(FLAGS)], "kw%d" % number)
        self.session = None
        super().__init__(load, node, name, seed)

    def failed(self, error):
        if self.session:
            self.session.close()
        self.session = None
        super().failed(error)

    def work(self):
        if self.session is None:
            self.session = self.node.imap(self.user, PATIENCE)
        often = self.load.folders_often
        if self.random.random() < (0.35 if often else 0.06):
            acts = (self.create, self.rename, self.delete, self.subscribe) + (self.rename,) * (3 * often)
            self.random.choice(acts)()
        name, folder = self.some_folder()
        if folder is None:
            return
        self.validity = self.session.select(name)["uidvalidity"]
        ids = self.session.ids() if self.session.exists else {}
        self.load.witness.look(str(self), self.user, folder, self.validity, ids)
        ids = {uid: ident for uid, ident in ids.items() if ident in self.book.messages}
        if len(ids) > CROWD:
            self.thin_out(folder, ids)
        for _ in range(self.random.randrange(1, 4)):
            self.random.choices((self.flag, self.append, self.copy, self.move, self.expunge, self.body),
                                (6, 1, 1, 2, 1, 1))[0](folder, ids)

    # --- what there is ----------------------------------------------------------------------------

    def some_folder(self, but=None):
        """(name, folder): one that is there for certain, INBOX more often than others."""
        with self.ledger.lock:
            sure = [f for f in self.book.folders if f.must and len(f.names) == 1 and f is not but]
            inbox = [f for f in sure if "INBOX" in f.names]
        if not sure:
            return None, None
        folder = self.random.choice(inbox * 3 + sure)
        return next(iter(folder.names)), folder

    def mine(self, ids):
        return [u for u, ident in ids.items()
                if zlib.crc32(ident.encode()) % self.load.readers == self.number]

    def pick(self, ids, mine=True):
        """(UID, Message-ID) of a message, or (None, None)."""
        uids = self.mine(ids) if mine else list(ids)
        uid = self.random.choice(uids) if uids else None
        return uid, ids.get(uid)

    def own_folders(self):
        with self.ledger.lock:
            return [f for f in self.book.folders
                    if f.must and len(f.names) == 1 and next(iter(f.names)).startswith(self.prefix())]

    def prefix(self):
        return "f%d-" % self.number

    # --- messages ---------------------------------------------------------------------------------

    def flag(self, folder, ids):
        uid, ident = self.pick(ids, mine=False)
        if uid is None:
            return
        flag, value = self.random.choice(self.own), self.random.random() < 0.7
        self.store(folder, uid, ident, flag, value)

    def store(self, folder, uid, ident, flag, value):
        """True if the server has shown the flag as it was asked for."""
        self.ledger.storing(self.user, folder, ident, flag, value)
        for parts in self.session.store(uid, "+FLAGS" if value else "-FLAGS", flag):
            shown = shown_flags(parts)
            if shown and shown[0] == uid and (flag.lower() in shown[1]) == value:
                self.ledger.stored(self.user, folder, ident, flag, value, self.node)
                return True
        return False

    def append(self, _folder, _ids):
        name, folder = self.some_folder()
        text = self.message("append")
        ident = mail.message_id(text)
        flags = [f for f in self.own if self.random.random() < 0.4]
        self.ledger.adding(self.user, folder, ident, self.node, mail.text_digest(text), "append")
        self.session.append(name, text, " ".join(flags))
        self.ledger.added(self.user, folder, ident, flags)
        code = re.search(r"APPENDUID (\d+) (\d+)", self.session.said)
        if code:
            self.load.witness.look(str(self), self.user, folder, int(code.group(1)),
                                   {int(code.group(2)): ident})

    def copy(self, folder, ids, verb="copy"):
        uid, ident = self.pick(ids)
        name, target = self.some_folder(but=folder)
        if uid is None or target is None or (target, ident) in self.book.copies:
            return
        self.ledger.adding(self.user, target, ident, self.node)
        if verb == "move":
            self.ledger.removing(self.user, folder, ident, moved=True)
        answers = getattr(self.session, verb)(uid, name)
        code = re.search(r"COPYUID (\d+) (\d+) (\d+)", " ".join(
            [p[0].decode() for p in answers] + [self.session.said]))
        if code and int(code.group(2)) == uid:
            self.ledger.added(self.user, target, ident)
            if verb == "move" and gone(answers) and not self.renumbered(uid, ident):
                self.ledger.removed(self.user, folder, ident, self.node)
            self.load.witness.look(str(self), self.user, target, int(code.group(1)),
                                   {int(code.group(3)): ident})
        if verb == "move":
            ids.pop(uid)

    def move(self, folder, ids):
        self.copy(folder, ids, "move")

    def expunge(self, folder, ids):
        uid, ident = self.pick(ids)
        if uid is None:
            return
        self.ledger.removing(self.user, folder, ident)
        if (self.store(folder, uid, ident, "\\Deleted", True) and gone(self.session.expunge(uid)) and
                not self.renumbered(uid, ident)):
            self.ledger.removed(self.user, folder, ident, self.node)
        ids.pop(uid)

    def renumbered(self, uid, ident):
        """Was it only its UID that went?  A merge that numbers a message anew shows it as expunged, and as one that
        is new, still marked as deleted (OPERATIONS): no UID EXPUNGE has removed it then."""
        return self.ledger.apart() and any(i == ident and u > uid for u, i in self.session.ids().items())

    def thin_out(self, folder, ids):
        for _ in range(6):
            self.expunge(folder, ids)

    def body(self, _folder, ids):
        uid, ident = self.pick(ids, mine=False)
        if uid is None:
            return
        got = self.session.fetch(uid, "(UID BODY.PEEK[])").get(uid, {}).get("BODY[]")
        if got:
            self.load.witness.read(str(self), self.user, "", uid, ident, imap.header_id(got))

    # --- folders ----------------------------------------------------------------------------------

    def create(self):
        if len(self.own_folders()) >= 2:
            return
        name = self.prefix() + str(self.load.number())
        folder = self.ledger.folder_making(self.user, name)
        self.session.create(name)
        self.ledger.folder_made(folder, self.node)

    def rename(self):
        for folder in self.own_folders()[:1]:
            old, new = next(iter(folder.names)), self.prefix() + str(self.load.number())
            self.ledger.folder_renaming(folder, new)
            self.session.rename(old, new)
            self.ledger.folder_renamed(folder, old, self.node)

    def delete(self):
        for folder in self.own_folders()[:1]:
            name = next(iter(folder.names))
            self.ledger.folder_deleting(self.user, folder)
            self.session.delete(name)
            self.ledger.folder_deleted(self.user, folder, self.node)

    def subscribe(self):
        name, on = self.prefix() + str(self.random.randrange(3)), self.random.random() < 0.6
        self.ledger.subscribing(self.user, name, on)
        self.session.subscribe(name, on)
        self.ledger.subscribed(self.user, name, on, self.node)


def shown_flags(parts):
    """(UID, {flags in lower case}) of an untagged FETCH, or None."""
    tokens = imap.parse(parts)
    if len(tokens) < 4 or tokens[2] != "FETCH":
        return None
    pairs = dict(zip(tokens[3][0::2], tokens[3][1::2]))
    if "UID" not in pairs or "FLAGS" not in pairs:
        return None
    return int(pairs["UID"]), {f.lower() for f in pairs["FLAGS"]}


def gone(answers):
    """Has the server said that a message was removed?"""
    return any(re.match(rb"\* \d+ EXPUNGE", p[0]) for p in answers)


class Load:
    """All clients of a run."""

    def __init__(self, pair, ledger, look, seed, sessions=1, folders_often=False):
        self.folders_often = folders_often
        self.ledger, self.witness, self.gate = ledger, look, Gate()
        self.users = list(ledger.books)
        self.readers = 2 * sessions         # of each user: that many at each node
        self.lock, self.count = threading.Lock(), 0
        self.run = "%s.%d" % (socket.gethostname(), zlib.crc32(pair.run_dir.encode()))
        self.said, self.refusals = [], []
        self.clients = []
        for node in pair.nodes:
            for way in ("smtp", "lmtp"):
                self.clients.append(Sender(self, node, "%s-%s" % (way, node.letter), seed, way))
            for user in self.users:
                for k in range(sessions):
                    number = k * 2 + (node is pair.b)
                    self.clients.append(Reader(self, node, "imap-%s-%s-%d" % (node.letter, user, number),
                                               seed, user, number))

    def number(self):
        with self.lock:
            self.count += 1
            return self.count

    def ident(self):
        return "%d.%s@torture" % (self.number(), self.run)

    def say(self, text):
        with self.lock:
            self.said.append((util.now(), text))

    def refused(self, replies):
        with self.lock:
            self.refusals += replies

    def go(self):
        self.said, self.refusals = [], []
        for client in self.clients:
            client.longest, client.errors = 0.0, 0
        self.gate.set(True)

    def pause(self):
        """Stop all of them; returns when each has its answer or has given up waiting for it."""
        self.gate.set(False)
        self.gate.wait_idle(PATIENCE + 10)

    def end(self):
        self.gate.end()
        for client in self.clients:
            client.join(PATIENCE + 10)

    def longest(self):
        return max(c.longest for c in self.clients)
