"""What mail clients and MDAs do, done again when it failed, and what must come of it.

An Acts object is one user on a pair.  Each act is tried until it succeeds, as its kind of
client would; `want` is then what both nodes must show in the end.  A message whose delivery,
APPEND, COPY or MOVE failed at first may be there twice, and no more often: who is refused tries
again, and what was refused may have happened.  Dovecot answers OK to a STORE or EXPUNGE that it could do in its
index only, its files being out of reach: what was done while a mount was away is unsure.
"""

import collections
import os
import time

from . import compare, imap, mail, storm, util
from .dovecot import GID, UID

TICK = 0.02         # the newer of two files wins: their times must differ by what a disk's clock shows
PATIENCE = 25       # seconds: longer than any restart
ANSWER = 15         # for one answer
STALE = 45          # both where a dotlock could not be taken away: Dovecot watches it for 30 s


class Acts:
    """was_away(since): a Watch's; without one the mounts are always there."""

    def __init__(self, pair, prefix, folders=(), was_away=lambda since: False):
        self.pair, self.nodes, self.was_away = pair, pair.nodes, was_away
        self.user = pair.user(prefix, folders)
        self.want = {f: {} for f in ("INBOX",) + tuple(folders)}     # folder: {Message-ID: flags}
        self.subscribed, self.files = set(), {}
        self.twice, self.failures = set(), []       # twice: (folder, Message-ID) that may be
        self.unsure, self.kills = set(), False      # kills: of a daemon, meanwhile
        self.doubled = set()                        # Message-IDs that are there twice
        self.patience, self.answer = PATIENCE, ANSWER
        self.witness = storm.Witness()
        self.sessions = {}

    # --- trying again -----------------------------------------------------------------------

    def again(self, what, attempt):
        """attempt() until it succeeds; returns what it does."""
        deadline = util.now() + self.patience
        while True:
            try:
                return attempt()
            except (util.Fail, OSError) as error:
                self.drop_sessions()
                self.failures.append("%s: %s" % (what, error))
                if util.now() > deadline:
                    raise util.Fail("%s, tried for %d s: %s" % (what, self.patience, error)) from None
                time.sleep(0.05)

    def session(self, node, folder):
        client = self.sessions.get(node)
        if client is None:
            client = self.sessions[node] = node.imap(self.user, timeout=self.answer)
            client.folder = None
        if folder and client.folder != folder:
            client.select(folder)
            client.folder = folder
        return client

    def drop_sessions(self):
        for client in self.sessions.values():
            client.close()
        self.sessions = {}

    def on(self, node, folder, what, function):
        """function(client), with the folder selected, until it succeeds."""
        def attempt():
            client = self.session(node, folder)
            if folder:
                client.noop()
            return function(client)
        return self.again("%s: %s" % (node.host, what), attempt)

    @staticmethod
    def uids_of(client, ident):
        return [str(uid) for uid, i in sorted(client.ids().items()) if i == ident]

    # --- mail in ------------------------------------------------------------------------------

    def came(self, folder, ident, flags, failed, start):
        """It is in the folder now.  Failed at first, or a daemon dies near it: perhaps twice, then True."""
        self.want[folder][ident] = frozenset(flags)
        if failed or self.kills or self.was_away(start):
            self.twice.add((folder, ident))
            return True
        return False

    def lmtp(self, node, others=(), size=600):
        """One message by LMTP, to other users as well; refused: the same again, to all."""
        text, everybody = mail.message("lmtp", size=size), [self] + list(others)
        ident, left, tried = mail.message_id(text), list(everybody), []
        start = util.now()

        def attempt():
            tried.append(list(left))
            replies = node.lmtp([acts.user for acts in left], text, timeout=15)
            for acts, reply in list(zip(left, replies)):
                if reply.startswith("250"):
                    left.remove(acts)
                elif not reply.startswith("4"):
                    raise RuntimeError("LMTP, which must defer: " + reply)
            if left:
                raise util.Fail("LMTP: %s" % replies)
        self.again("%s: LMTP" % node.host, attempt)
        for acts in everybody:
            acts.came("INBOX", ident, (), sum(acts in t for t in tried) > 1, start)
        return ident

    def virtual(self, node):
        """As Postfix' virtual(8): no lock, no fsync of the directory."""
        text, before, start = mail.message("virtual"), len(self.failures), util.now()
        ident = mail.message_id(text)

        def attempt():
            here = node.home(self.user, "Maildir")
            name = "%d.P%d.%s" % (time.time(), time.monotonic_ns() % 10**9, node.host)
            tmp = os.path.join(here, "tmp", name)
            fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.fchown(fd, UID, GID)
                info = os.fstat(fd)
                os.write(fd, text.replace(b"\r\n", b"\n"))
                os.fsync(fd)
            finally:
                os.close(fd)
            os.link(tmp, os.path.join(here, "new", "%d.V%xI%xM%d.%s" % (
                time.time(), info.st_dev, info.st_ino, time.monotonic_ns() // 1000 % 10**6, node.host)))
            os.unlink(tmp)
        self.again("%s: virtual" % node.host, attempt)
        self.came("INBOX", ident, (), len(self.failures) > before, start)
        return ident

    def append(self, node, folder="INBOX", flags=()):
        text, before, start = mail.message("append"), len(self.failures), util.now()
        self.on(node, None, "APPEND", lambda c: c.append(folder, text, " ".join(flags)))
        self.came(folder, mail.message_id(text), flags, len(self.failures) > before, start)
        return mail.message_id(text)

    # --- IMAP ---------------------------------------------------------------------------------

    def flag(self, node, ident, flags, folder="INBOX", how="+FLAGS"):
        start = util.now()

        def attempt(client):
            uids = self.uids_of(client, ident)
            if not uids:
                raise util.Fail("%s is not there" % ident)
            client.store(",".join(uids), how, " ".join(flags))
            # a merge may have given it another UID meanwhile: Dovecot's OK is of nothing then
            if not set(uids) & set(self.uids_of(client, ident)):
                raise util.Fail("%s has another UID now" % ident)
        self.on(node, folder, "STORE", attempt)
        self.doubt(ident, start)
        had = self.want[folder][ident]
        self.want[folder][ident] = had | set(flags) if how == "+FLAGS" else had - set(flags)

    def copy(self, node, ident, to, folder="INBOX"):
        before, start = len(self.failures), util.now()

        def attempt(client):
            client.copy(self.uids_of(client, ident)[0], to)
        self.on(node, folder, "COPY", attempt)
        self.came(to, ident, self.want[folder][ident], len(self.failures) > before, start)

    def move(self, node, ident, to, folder="INBOX"):
        before, start = len(self.failures), util.now()

        def attempt(client):
            uids = self.uids_of(client, ident)
            if uids:    # else the attempt before has done it
                client.move(",".join(uids), to)
        self.on(node, folder, "MOVE", attempt)
        self.doubt(ident, start)
        if self.came(to, ident, self.want[folder].pop(ident), len(self.failures) > before, start):
            self.twice.add((folder, ident))

    def doubt(self, ident, start):
        if self.was_away(start):
            self.unsure.add(ident)

    def expunge(self, node, ident, folder="INBOX"):
        start = util.now()

        def attempt(client):
            uids = self.uids_of(client, ident)
            if uids:
                client.store(",".join(uids), "+FLAGS.SILENT", "\\Deleted")
                client.expunge()
        self.on(node, folder, "EXPUNGE", attempt)
        self.doubt(ident, start)
        self.want[folder].pop(ident)

    def create(self, node, folder):
        def attempt(client):
            if folder not in client.list():
                client.create(folder)
        self.on(node, None, "CREATE", attempt)
        self.want.setdefault(folder, {})

    def rename(self, node, old, new):
        def attempt(client):
            if old in client.list():
                client.rename(old, new)
        self.on(node, None, "RENAME", attempt)
        self.drop_sessions()
        self.want[new] = self.want.pop(old)
        self.twice = {(new if folder == old else folder, ident) for folder, ident in self.twice}

    def delete(self, node, folder):
        def attempt(client):
            if folder in client.list():
                client.delete(folder)
        self.on(node, None, "DELETE", attempt)
        self.drop_sessions()
        self.want.pop(folder)

    def subscribe(self, node, folder, on=True):
        self.on(node, None, "SUBSCRIBE", lambda c: c.subscribe(folder, on))
        (self.subscribed.add if on else self.subscribed.discard)(folder)

    # --- files --------------------------------------------------------------------------------

    def script(self, node, name, content):
        """As ManageSieve: a file in a tmp of its own, then renamed."""
        def attempt():
            for part in ("sieve", "sieve/tmp"):
                path = node.home(self.user, part)
                if not os.path.isdir(path):
                    os.mkdir(path, 0o700)
                    os.chown(path, UID, GID)
            tmp = node.home(self.user, "sieve", "tmp", "%d.new" % time.monotonic_ns())
            time.sleep(TICK)
            with open(tmp, "w") as f:
                f.write(content)
                os.fchown(f.fileno(), UID, GID)
                os.fsync(f.fileno())
            os.rename(tmp, node.home(self.user, "sieve", name))
        self.again("%s: script" % node.host, attempt)
        self.files[os.path.join("sieve", name)] = content

    # --- what came of it ------------------------------------------------------------------------

    def look(self):
        """Both nodes' clients look at all folders: a UID must never name another message."""
        for node in self.nodes:
            def attempt(where=node):
                view = compare.user_view(where, self.user, bodies=False)
                for folder, (validity, rows) in view["folders"].items():
                    self.witness.look(where.host, self.user, folder, validity,
                                      {u: r[1] for u, r in rows.items()})
            attempt()

    def verify(self, timeout=15):
        """Both nodes are equal, and show what is wanted."""
        self.drop_sessions()
        view = compare.wait_equal(self.pair, self.user, timeout=timeout)
        self.look()
        wrong = []
        if set(view["folders"]) != set(self.want):
            wrong.append("folders %s, not %s" % (sorted(view["folders"]), sorted(self.want)))
        for folder in set(self.want) & set(view["folders"]):
            wrong += self.verify_folder(folder, view["folders"][folder][1])
        wrong += self.verify_copies({folder: rows for folder, (_validity, rows) in view["folders"].items()})
        if set(view["subscribed"]) != self.subscribed:
            wrong.append("subscribed %s, not %s" % (view["subscribed"], sorted(self.subscribed)))
        for name, content in self.files.items():
            with open(self.nodes[0].stored(self.user, name)) as f:
                if f.read() != content:
                    wrong.append("%s has another content" % name)
        if wrong:
            raise util.Fail("%s: %s" % (self.user, "; ".join(wrong)))
        return view

    def verify_folder(self, folder, rows):
        wrong, found = [], {}
        for uid, row in rows.items():
            found.setdefault(row[1], []).append(frozenset(row[0]))
        for ident in set(found) - set(self.want[folder]):
            if (folder, ident) not in self.twice and ident not in self.unsure:
                wrong.append("%s: %s is there and should not" % (folder, ident))
        for ident, flags in self.want[folder].items():
            have = found.get(ident, [])
            if not have:
                wrong.append("%s: %s is lost" % (folder, ident))
            elif len(have) > 1 and (folder, ident) not in self.twice:
                wrong.append("%s: %s is there %d times" % (folder, ident, len(have)))
            elif flags not in have and ident not in self.unsure:
                wrong.append("%s: %s has flags %s, not %s" % (
                    folder, ident, [sorted(h) for h in have], sorted(flags)))
        return wrong

    def verify_copies(self, folders):
        """Of no message more than one copy too many, in all folders ({name: rows}) together."""
        more = collections.Counter()
        for folder, rows in folders.items():
            for ident, copies in collections.Counter(row[1] for row in rows.values()).items():
                if ident in self.want.get(folder, ()):
                    more[ident] += copies - 1
                elif ident not in self.unsure:
                    more[ident] += copies
        self.doubled = {ident for ident, copies in more.items() if copies}
        return ["%s: %d copies too many" % (ident, copies) for ident, copies in more.items() if copies > 1]
