"""The scenario: what goes through every kind of durable write, in phases of a second or three.

A phase has users of its own, made by prepare() before anything is recorded or goes wrong, and
acts on them in act(); then both nodes must show what the users want (lab.acts).
"""

import signal

from lab import acts, util


class Phase:
    """keep: of the folders, those the users have from the beginning."""
    users, folders, mails = 1, (), 0

    def __init__(self, pair, watch):
        self.pair, self.watch = pair, watch
        self.a, self.b = pair.nodes
        self.all, self.ids = [], []

    @classmethod
    def name(cls):
        return cls.__name__.lower()

    def prepare(self):
        self.all = [acts.Acts(self.pair, self.name(), self.folders, self.watch.was_away) for _ in range(self.users)]
        self.one = self.all[0]
        self.ids = [self.one.lmtp(self.a) for _ in range(self.mails)]
        for user in self.all:
            user.verify()

    def act(self):
        raise NotImplementedError

    def verify(self):
        for user in self.all:
            user.verify()


class Deliver(Phase):
    """LMTP at both nodes, to several, a large one; Postfix' virtual(8)."""
    users = 3

    def act(self):
        self.one.lmtp(self.a)
        self.one.lmtp(self.b)
        self.one.lmtp(self.a, others=self.all[1:], size=150000)
        self.one.virtual(self.a)
        self.one.look()


class Client(Phase):
    """APPEND with flags, a flag, a keyword, COPY, MOVE, EXPUNGE; then from the other node."""
    folders, mails = ("Archive",), 4

    def act(self):
        for node, (one, two) in ((self.a, self.ids[:2]), (self.b, self.ids[2:])):
            self.one.append(node, "INBOX", ("\\Draft", "\\Seen"))
            self.one.flag(node, one, ("\\Flagged",))
            self.one.flag(node, one, ("$Label1",))
            self.one.copy(node, one, "Archive")
            self.one.move(node, two, "Archive")
            self.one.expunge(node, one)
        self.one.flag(self.a, self.ids[1], ("\\Answered",), "Archive")


class Folders(Phase):
    """CREATE, RENAME, DELETE, SUBSCRIBE; a sieve script, written and written anew."""
    folders = ("Old", "Doomed")

    def act(self):
        self.one.create(self.a, "Made")
        self.one.rename(self.a, "Old", "New")
        self.one.append(self.a, "New")
        self.one.append(self.a, "Doomed")
        self.one.delete(self.a, "Doomed")
        self.one.subscribe(self.a, "New")
        self.one.script(self.a, "one.sieve", "keep;\n")
        self.one.script(self.b, "one.sieve", "stop;\n")
        self.one.create(self.b, "Made.Deeper")
        self.one.subscribe(self.b, "Made")


class Apart(Phase):
    """The link is cut, both go on, and meet again."""
    folders, mails = ("Both", "Gone", "Moved"), 5

    def act(self):
        one, ids = self.one, self.ids
        self.pair.cut_link(silent=False)
        for node in self.pair.nodes:
            self.watch.wait_state(node, "alone")
        one.lmtp(self.a)
        one.lmtp(self.b)
        one.flag(self.a, ids[0], ("\\Flagged", "$Here"))
        one.flag(self.b, ids[0], ("\\Answered", "$There"))
        one.expunge(self.a, ids[1])
        one.expunge(self.b, ids[2])
        one.move(self.a, ids[3], "Both")
        one.append(self.b, "Both", ("\\Seen",))
        one.create(self.a, "Made")
        one.create(self.b, "Made")
        one.delete(self.a, "Gone")
        one.rename(self.b, "Moved", "Elsewhere")
        one.subscribe(self.a, "Made")
        one.subscribe(self.b, "Both")
        one.script(self.a, "one.sieve", "keep;\n")
        self.pair.heal_link()


class Stop(Phase):
    """A clean stop of each daemon after work, a checkpoint with it; and the start."""
    mails = 2

    def act(self):
        self.one.lmtp(self.a)
        self.one.expunge(self.a, self.ids[0])
        self.one.lmtp(self.b)
        for node in self.pair.nodes:
            self.watch.stopped(node, "syncd", signal.SIGTERM)
            self.one.lmtp(node)
        for node in self.pair.nodes:
            self.watch.stopped(node, "mailfs", signal.SIGTERM)


class Crash(Phase):
    """Both daemons of a node killed after work: what they do at their start, and the meeting."""
    folders, mails = ("Both",), 3

    def act(self):
        for node, other, ident in ((self.a, self.b, self.ids[0]), (self.b, self.a, self.ids[1])):
            self.one.lmtp(node)
            self.one.flag(other, self.ids[2], ("\\Flagged",))
            with self.watch.down(node):
                self.one.lmtp(other)
                self.one.expunge(other, ident)
                self.one.create(other, "Made-" + other.letter)
            self.one.lmtp(node)
            util.poll("%s in-sync" % node.host, lambda n=node: n.state() == "in-sync", 20)


ALL = (Deliver, Client, Folders, Apart, Stop, Crash)
