"""What the clients were told, and what that leaves possible.

Of each message in each folder the ledger keeps how many there must be (least) and how many there
may be (most).  An operation widens the two before it is sent and narrows them when it is answered;
one that is never answered leaves them wide: it may have happened or not.  Flags, subscriptions and
the names of folders are kept likewise, as the set of what may be the case.

What an answer is worth is in docs/DESIGN.md: while both nodes are in sync everything answered is on
both; a node that is alone has it on one disk, and there only an fsync makes it outlive a power
cut.  Dovecot fsyncs messages and their places, not flags, removals or the names of folders; so these
are noted with the time, to be made doubtful by power_cut().
"""

import collections
import threading

from lab import util

from .link import CHECKPOINT, LATE, Link, Span

# ext4 writes out what nobody fsynced within 5 s (its commit=), and late under load
UNSYNCED = 12.0
# what a node answered so shortly before it ended may not have left it yet, if nothing waits for it
UNSENT = 1.0
ORPHANED = 30       # seconds: what a node had prepared when the other one died is published by then

# the faults that end a syncd; with the power alone it loses what it had not synced
DEADLY = ("kill-syncd", "crash", "power")

BOTH = frozenset((True, False))


class Removal:
    """One that was answered."""

    def __init__(self, copy, message):
        self.when, self.begun, self.answered = util.now(), copy.added, copy.answered
        # Postfix says yes before it delivers; when it had done that only its log says, to the second
        self.queued = message if copy.delivered and message and message.way == "smtp" else None

    def put(self):
        """The Span in which the message had been put there."""
        until = self.answered
        if self.queued:
            until = self.queued.queued + 1.0 if self.queued.queued else None
        return Span(self.begun, min(until or self.when, self.when))


class Message:
    """One message of a user: its text, and whether it has to be somewhere."""

    def __init__(self, digest, node, way):
        self.digest, self.node, self.way = digest, node, way
        self.sent, self.answered = util.now(), None     # the span of its delivery
        self.queued = 0.0       # until when Postfix had it in its queue
        self.kept = False       # accepted, and nobody has tried to remove it
        self.doomed = False     # somebody has, perhaps before its sender had an answer
        self.story = []         # (when, what was asked or answered): for whoever has to explain it


class Copy:
    """A message in a folder."""

    def __init__(self):
        self.least, self.most = 0, 0
        self.doomed = False         # somebody has tried to remove it
        self.flags = {}             # flag -> set of bool: what it may be
        self.asked = {}             # flag -> when that was last asked for
        self.removals = []          # each Removal, since it was last judged
        self.added, self.node = util.now(), None    # when and where it was last put there
        self.answered = None        # and when that was answered
        self.delivered = False      # or was that by who sent it?


class Folder:
    def __init__(self, name):
        self.names = {name}         # one of these, if it is there
        self.former = []            # (when it lost it, name)
        self.must, self.may = False, False
        self.deleting = 0.0         # when somebody last began to
        self.back = False           # a disk was full when that was done, or the other node had just lost its power:
        #                             it may be there again (OPERATIONS)
        self.used = util.now()      # when something was last put there
        self.story = []             # (when, what was answered): for whoever has to explain it


class Book:
    """One user's page."""

    def __init__(self, user):
        self.user = user
        self.messages = {}
        self.copies = collections.defaultdict(Copy)     # (Folder, Message-ID) -> Copy
        self.folders = []
        self.subscribed = {}                            # name -> set of bool
        self.gone = collections.defaultdict(list)       # Message-ID -> when it was removed, lately, from any folder

    def folder(self, name):
        """The folder that is (or may be) there under this name, or None."""
        for folder in self.folders:
            if name in folder.names and folder.may:
                return folder
        return None


class Ledger:
    """Of all users; used by all clients at once."""

    def __init__(self, users, timeout):
        self.lock = threading.RLock()
        self.link = Link(timeout)
        self.books = {user: Book(user) for user in users}
        self.full = set()           # letters of nodes whose disk has been full in this round: see holds()
        self.disks = set()          # of those, the ones whose disk is full now
        self.freed = 0.0            # when none was any more
        self.began = util.now()     # when this round did
        self.undone = []            # (when, node, durable when in sync, what makes it doubtful)
        self.outages = []           # (kind, letters, begin): of this round
        self.former = []            # those before, of the last ORPHANED seconds
        self.events = []            # (when, what was done to the nodes), of all rounds
        self.twice = []             # (user, Message-ID, when), as often as Postfix says that it may send it once more
        self.unsaved = []           # Message-IDs, as often as LMTP could not save them: it may be in new/ by then
        self.accepted = collections.Counter()
        for user in users:
            self.folder_made(self.folder_making(user, "INBOX"), None)

    def note(self, node, waited, doubt):
        """Something was answered that a power cut of this node could undo."""
        if node is not None:
            self.undone.append((util.now(), node, waited, doubt))

    def tell(self, user, ident, text, folder=None, node=None):
        message = self.books[user].messages.get(ident)
        if message:
            message.story.append((util.now(), "%s%s%s" % (
                text, " in " + "|".join(sorted(folder.names)) if folder else "",
                " at " + node.letter if node else "")))

    def tell_folder(self, folder, text, node):
        if node:
            folder.story.append((util.now(), "%s %s at %s" % ("|".join(sorted(folder.names)), text,
                                                              node.letter)))

    def outage(self, kind, nodes):
        with self.lock:
            self.events.append((util.now(), "%s %s" % (kind, "".join(n.letter for n in nodes))))
            self.outages.append((kind, frozenset(n.letter for n in nodes), util.now()))
            if kind == "full":
                self.full |= {n.letter for n in nodes}
                self.disks |= {n.letter for n in nodes}
            self.died(kind, nodes)

    def died(self, kind, nodes):
        """Told when it is about to be done, and when it has been."""
        if kind in DEADLY:
            with self.lock:
                for node in nodes:
                    self.link.died(node.letter, util.now(), kind == "power")

    def apart(self):
        """Are the nodes not in sync, or have they just come to be?"""
        with self.lock:
            return self.link.is_apart(util.now())

    def has_room(self):
        """All disks have."""
        with self.lock:
            self.freed = util.now() if self.disks else self.freed
            self.disks = set()

    def union(self):
        """The Span of which, in this round, both nodes have forgotten what they agreed on (DESIGN); or None."""
        span = self.link.union()
        return span if span and span.until > self.began else None

    def power_cut(self, node, alone_since, both):
        """Make doubtful what this node answered and had not on a disk.

        alone_since: when it began to be possible that it was not in sync, or None; both: it was
        cut together with the other one.
        """
        now = util.now()
        with self.lock:
            for when, where, waited, doubt in self.undone:
                alone = alone_since is not None and when > alone_since - UNSENT
                window = UNSYNCED if both or alone else UNSENT if not waited else 0
                if where is node and when > now - window:
                    doubt()

    def holds(self, node):
        """Does what this node says of flags and removals count?  With a full disk Dovecot has its indexes
        in memory only, goes on without its lock, and answers with what nobody else will ever see."""
        return node.letter not in self.full

    # --- messages ---------------------------------------------------------------------------

    def adding(self, user, folder, ident, node, digest=None, way=""):
        """A message is about to be put into a folder; digest: of a new one's text."""
        book = self.books[user]
        with self.lock:
            if ident not in book.messages:
                book.messages[ident] = Message(digest, node, way)
            copy = book.copies[folder, ident]
            copy.most += 1
            copy.added, copy.node = util.now(), node
            copy.answered, copy.delivered = None, digest is not None
            folder.used = util.now()
            self.tell(user, ident, "adding", folder, node)
            return copy

    def added(self, user, folder, ident, flags=()):
        """That was answered with yes."""
        book = self.books[user]
        with self.lock:
            message, copy = book.messages[ident], book.copies[folder, ident]
            self.tell(user, ident, "added", folder)
            message.answered = message.answered or util.now()
            copy.answered = util.now()
            # others may have removed it before its sender was answered, or deleted the folder
            if folder.must and not message.doomed:
                message.kept = True
            if folder.must and not copy.doomed:
                copy.least = min(copy.least + 1, copy.most)
            copy.flags.update((flag, self.told(folder, flag, True, copy.added)) for flag in flags)
            self.accepted["messages"] += 1

    def left_queue(self, ident, when):
        """Postfix has delivered it to all."""
        with self.lock:
            for book in self.books.values():
                if ident in book.messages:
                    book.messages[ident].queued = max(book.messages[ident].queued, when)

    def removing(self, user, folder, ident, moved=False):
        """A message is about to be removed; moved: it stays in another folder."""
        book = self.books[user]
        with self.lock:
            self.tell(user, ident, "removing", folder)
            if not moved:
                self.doom(book.messages[ident])
            copy = book.copies[folder, ident]
            copy.least, copy.doomed = 0, True

    @staticmethod
    def doom(message):
        message.kept, message.doomed = False, True

    def removed(self, user, folder, ident, node):
        copy = self.books[user].copies[folder, ident]

        def back():
            copy.most += 1
        with self.lock:
            self.tell(user, ident, "removed", folder, node)
            copy.most = max(copy.most - self.holds(node), 0)
            copy.flags = {}
            self.went(self.books[user], ident, copy)
            self.note(node, True, back)
            self.accepted["removals"] += 1

    @staticmethod
    def went(book, ident, copy):
        """Its removal was answered."""
        copy.removals.append(Removal(copy, book.messages.get(ident)))
        book.gone[ident].append(util.now())

    def storing(self, user, folder, ident, flag, value):
        copy = self.books[user].copies[folder, ident]
        with self.lock:
            self.tell(user, ident, "%s%s?" % ("+" if value else "-", flag), folder)
            copy.flags[flag] = set(copy.flags.get(flag, BOTH)) | {value}
            copy.asked[flag] = util.now()

    def stored(self, user, folder, ident, flag, value, node):
        copy = self.books[user].copies[folder, ident]

        def doubt():
            copy.flags[flag] = set(BOTH)
        with self.lock:
            self.tell(user, ident, "%s%s" % ("+" if value else "-", flag), folder, node)
            # of two it is not known whose it is
            sure = copy.most == 1 and self.holds(node)
            copy.flags[flag] = self.told(folder, flag, value, copy.asked[flag]) if sure else set(BOTH)
            self.note(node, True, doubt)
            self.accepted["flags"] += 1

    @staticmethod
    def told(folder, flag, value, since):
        """What a flag may be that was answered with this value, and asked for then.  Dovecot gives a message the letter
        of a keyword first, and says in dovecot-keywords after it what the letter means; both by the folder's path
        (lib-storage/index/maildir/maildir-sync-index.c).  Where the folder gets another name between the two, a
        keyword that is new to it is lost, with a yes, on a lone server, too: 13 of 21 that met a rename so."""
        renamed = len(folder.names) > 1 or any(when > since - UNSENT for when, _name in folder.former)
        return set(BOTH) if renamed and not flag.startswith("\\") else {value}

    # --- folders ----------------------------------------------------------------------------

    def folder_making(self, user, name):
        book = self.books[user]
        with self.lock:
            folder = book.folder(name)
            if folder is None:
                folder = Folder(name)
                book.folders.append(folder)
            folder.may = True
            return folder

    def folder_made(self, folder, node):
        def doubt():
            folder.must = False
        with self.lock:
            folder.must = True
            self.tell_folder(folder, "made", node)
            self.note(node, False, doubt)
            self.accepted["folders"] += 1

    def folder_renaming(self, folder, new):
        with self.lock:
            folder.names = folder.names | {new}

    def folder_renamed(self, folder, old, node):
        def doubt():
            folder.names = folder.names | {old}
        with self.lock:
            folder.names = folder.names - {old}
            folder.former.append((util.now(), old))
            self.tell_folder(folder, "was " + old, node)
            self.note(node, False, doubt)
            self.accepted["folders"] += 1

    def folder_deleting(self, user, folder):
        """With it go the messages in it, also those that others are putting there now."""
        book = self.books[user]
        with self.lock:
            folder.must, folder.deleting = False, util.now()
            for (where, ident), copy in book.copies.items():
                if where is folder:
                    copy.least, copy.doomed = 0, True
                    if ident in book.messages:
                        self.doom(book.messages[ident])

    def folder_deleted(self, user, folder, node):
        book, gone = self.books[user], []

        def doubt():
            folder.may = True
            for copy, most in gone:
                copy.most += most
        with self.lock:
            folder.may = False
            folder.back = self.may_be_back(folder, node)
            self.tell_folder(folder, "deleted", node)
            for (where, ident), copy in book.copies.items():
                if where is not folder:
                    continue
                if self.known_at(node, copy, folder.deleting):
                    gone.append((copy, copy.most))
                    copy.most = 0
                    self.went(book, ident, copy)
                # what else was put there keeps the folder alive
                folder.may |= copy.most > 0
            if folder.may:
                folder.names = folder.names | self.names_elsewhere(folder)
            self.note(node, False, doubt)
            self.accepted["folders"] += 1

    def may_be_back(self, folder, node):
        """Deleted while a disk was full; or while the other node was not there again after a power cut, if what
        that one had been told of it since its last checkpoint is news to it once more (OPERATIONS)."""
        cut = self.link.cut_at(node)
        return (bool(self.disks) or folder.deleting < self.freed + LATE or
                (cut is not None and folder.used > cut - CHECKPOINT))

    def names_elsewhere(self, folder):
        """Names that the other node may know it by.  A folder that one node deletes while it is alone, and into
        which the other one puts something, lives (DESIGN, rule 11): as it is there, and there it has the
        name from before it was renamed by who deleted it.  (Seen: made by a, renamed by a, alone, b
        puts two messages into the folder of the old name, a deletes it: it lives under the old name.)"""
        parted = min((begin for _kind, _letters, begin in self.outages), default=None)
        return {name for when, name in folder.former if parted is not None and when > parted - UNSENT}

    def known_at(self, node, copy, when):
        """Was this copy there, for this node, at that moment?  Not if the other one had put it there
        and the two may have been apart."""
        parted = min((begin for _kind, _letters, begin in self.outages), default=when)
        return copy.added < (when if copy.node is node else min(when, parted - UNSENT))

    def subscribing(self, user, name, on):
        book = self.books[user]
        with self.lock:
            book.subscribed[name] = set(book.subscribed.get(name, {False})) | {on}

    def subscribed(self, user, name, on, node):
        book = self.books[user]

        def doubt():
            book.subscribed[name] = set(BOTH)
        with self.lock:
            book.subscribed[name] = {on}
            self.note(node, False, doubt)
            self.accepted["subscriptions"] += 1

    # --- between two rounds ---------------------------------------------------------------------

    def new_round(self):
        with self.lock:
            self.former = [o for o in self.former + self.outages if o[2] > util.now() - ORPHANED]
            self.undone, self.outages, self.full, self.began = [], [], set(), util.now()
            self.link.forget(self.began - 2 * CHECKPOINT)
