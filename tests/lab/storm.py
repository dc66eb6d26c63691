"""Everybody at once: deliveries at both nodes while clients on both work in one mailbox.

Each message has a fate, told by its number, and in the end exactly that must have happened
to it.  Acts that would be a race between clients even on one server (two MOVEs of one
message) are given to one node; flags are set from both.
"""

import threading

from . import compare, mail, util

FATES = ("stay", "flag", "copy", "move", "expunge")


class Witness:
    """What a UID was seen to name; it must never name anything else (G2)."""

    def __init__(self):
        self.lock, self.seen = threading.Lock(), {}
        self.looks = 0

    def look(self, where, user, folder, validity, ids):
        with self.lock:
            self.looks += 1
            for uid, ident in ids.items():
                first = self.seen.setdefault((user, folder, validity, uid), ident)
                if ident is not None and first is not None and first != ident:
                    raise util.Fail("%s: %s/%s UID %d named %s, now %s" % (
                        where, user, folder, uid, first, ident))


class Storm:
    """count messages, half of them by LMTP at each node, the appended ones on top."""

    def __init__(self, pair, user, count=200, appended=20, deadline=50):
        self.pair, self.user, self.count, self.appended = pair, user, count, appended
        self.deadline = util.now() + deadline
        self.witness = Witness()
        self.fate, self.origin = {}, {}
        self.lock = threading.Lock()
        self.worst = {node.host: 0.0 for node in pair.nodes}
        self.left = {"copy": set(), "move": set(), "expunge": set(), "flag": set()}
        self.delivering = threading.Event()

    @staticmethod
    def prepare(pair, prefix="storm"):
        return pair.user(prefix, ("Archive", "Copies"))

    # --- who does what -----------------------------------------------------------------------

    def enter(self, text, fate, node):
        ident = mail.message_id(text)
        with self.lock:
            self.fate[ident], self.origin[ident] = fate, node
            if fate in self.left:
                self.left[fate].add(ident)
                if fate == "flag":
                    self.left[fate].add("also " + ident)

    def deliver(self, node, numbers):
        for i in numbers:
            text = mail.message("storm %d" % i, size=1500)
            self.enter(text, FATES[i % len(FATES)], node)
            start = util.now()
            node.deliver(self.user, text)
            self.worst[node.host] = max(self.worst[node.host], util.now() - start)

    def append(self, node, number):
        with node.imap(self.user) as client:
            for i in range(number):
                text = mail.message("append %d" % i, size=1500)
                self.enter(text, "stay", node)
                client.append("INBOX", text, "\\Draft")
            client.logout()

    def act(self, node):
        """Do to each message that shows up what its fate is, until none is left."""
        other = self.pair.b if node is self.pair.a else self.pair.a
        with node.imap(self.user) as client:
            while self.delivering.is_set() or any(self.left.values()):
                self.check_time()
                validity = client.select("INBOX")["uidvalidity"]
                ids = client.ids()
                self.witness.look(node.host, self.user, "INBOX", validity, ids)
                for uid, ident in ids.items():
                    fate = self.fate.get(ident)
                    # the other node's messages, so that everything is done far from its origin
                    if fate == "flag":
                        self.flag(client, uid, ident, node)
                    elif fate in self.left and self.origin[ident] is other and ident in self.left[fate]:
                        getattr(self, fate)(client, uid, ident)
                client.noop()
            client.logout()

    def flag(self, client, uid, ident, node):
        mine = ident if node is self.pair.a else "also " + ident
        if mine in self.left["flag"]:
            client.store(uid, "+FLAGS.SILENT", "\\Flagged" if node is self.pair.a else "\\Answered")
            self.left["flag"].discard(mine)

    def copy(self, client, uid, ident):
        client.copy(uid, "Copies")
        self.left["copy"].discard(ident)

    def move(self, client, uid, ident):
        client.move(uid, "Archive")
        self.left["move"].discard(ident)

    def expunge(self, client, uid, ident):
        client.store(uid, "+FLAGS.SILENT", "\\Deleted")
        client.expunge(uid)
        self.left["expunge"].discard(ident)

    def read(self, node):
        """Look at all folders again and again while the others work."""
        with node.imap(self.user) as client:
            while self.delivering.is_set() or any(self.left.values()):
                self.check_time()
                for folder in ("INBOX", "Archive", "Copies"):
                    validity = client.select(folder, readonly=True)["uidvalidity"]
                    self.witness.look(node.host, self.user, folder, validity, client.ids())
            client.logout()

    def check_time(self):
        if util.now() > self.deadline:
            raise util.Fail("the storm is not over; left to do: %s" % {
                k: len(v) for k, v in self.left.items()})

    # --- all together -------------------------------------------------------------------------

    def run(self):
        """Returns when all is done; (seconds for the deliveries, seconds in all)."""
        a, b = self.pair.nodes
        start = util.now()
        self.delivering.set()
        half, per = self.count // 2, 4
        givers = [util.Thread(self.deliver, node, range(base + k, base + half, per))
                  for node, base in ((a, 0), (b, half)) for k in range(per)]
        givers += [util.Thread(self.append, node, self.appended // 2) for node in (a, b)]
        takers = [util.Thread(job, node) for node in (a, b) for job in (self.read, self.act)]
        self.join(givers)
        delivered = util.now() - start
        self.delivering.clear()
        self.join(takers)
        return delivered, util.now() - start

    def join(self, threads):
        for thread in threads:
            thread.join(max(self.deadline + 5 - util.now(), 1))

    def verify(self, timeout=20):
        """Both nodes show exactly what must have come out of it."""
        view = compare.wait_equal(self.pair, self.user, timeout=timeout)
        compare.assert_no_duplicates(view)
        by = {fate: {i for i, f in self.fate.items() if f == fate} for fate in FATES}
        compare.assert_has(view, by["stay"] | by["flag"] | by["copy"], "INBOX", exactly=True)
        compare.assert_has(view, by["move"], "Archive", exactly=True)
        compare.assert_has(view, by["copy"], "Copies", exactly=True)
        for uid, row in view["folders"]["INBOX"][1].items():
            if row[1] in by["flag"] and not {"\\Flagged", "\\Answered"} <= set(row[0]):
                raise util.Fail("UID %d has lost a flag: %s" % (uid, row[0]))
        for folder, (validity, rows) in view["folders"].items():
            self.witness.look("end", self.user, folder, validity, {u: r[1] for u, r in rows.items()})
        return view
