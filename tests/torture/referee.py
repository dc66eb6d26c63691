"""Compares what the clients were told with what both nodes hold.

judge() works on views alone (lab.compare.user_view), so that it can be tested without any server.
After it, settle() takes what is there for true: what was in doubt has been decided, and what is
wrong is counted once.
"""

import collections
import os

from lab import compare, mail, util

from .link import CHECKPOINT, LATE

# Seconds after its answer in which the end of a process can still undo what a sender knows of it.  Postfix
# removes a mail from its queue after the delivery, and its log says when to the second; no fsync says so, and
# a power cut can bring the mail back to the queue.
ANSWERED = 0.5
QUEUED, UNSYNCED = 1.5, 12.0
# of what was done to the nodes before a message was sent, so much is told with its story
CONTEXT = 30.0


class Judge:
    """One user, one round."""

    def __init__(self, ledger, kinds, user, figures):
        self.ledger, self.kinds, self.user, self.figures = ledger, kinds, user, figures
        self.book = ledger.books[user]
        self.there = collections.Counter()      # (Folder, Message-ID) -> how often
        self.flags = {}                         # (Folder, Message-ID) -> {flags in lower case}
        self.named = {}                         # Folder -> name

    def add(self, what, text, *args, number=1, ident=None):
        self.figures.add(what, "%s: %s%s" % (self.user, text % args, self.story(ident)), number)

    def story(self, ident):
        """What is known of a message, and what was done to the nodes meanwhile; seconds before now."""
        message = self.book.messages.get(ident)
        if message is None:
            return ""
        events = [(when, "** " + what) for when, what in self.ledger.events
                  if when > message.sent - CONTEXT]
        now = util.now()
        return "".join("\n        %8.3f %s" % (when - now, what)
                       for when, what in sorted(events + message.story))

    def story_of_folder(self, name):
        """Of those that have had this name."""
        told = [event for folder in self.book.folders for event in folder.story
                if any(name in text.split() for _when, text in folder.story)]
        first = min((when for when, _text in told), default=util.now())
        told += [(when, "** " + what) for when, what in self.ledger.events if when > first - CONTEXT]
        return "".join("\n        %8.3f %s" % (when - util.now(), what) for when, what in sorted(told))

    # --- what is there --------------------------------------------------------------------------

    def read(self, view):
        for name, (_validity, rows) in view["folders"].items():
            folder = self.book.folder(name)
            if folder is None:
                folder = self.unexpected(name)
            elif folder in self.named:
                self.add("folders wrong", "%s is there as %s, too", name, self.named[folder])
            self.named[folder] = name
            for uid, row in rows.items():
                self.message(folder, name, uid, row)

    def unexpected(self, name):
        gone = [f for f in self.book.folders if name in f.names]
        back = gone and gone[0].back
        self.add("folders back (allowed)" if back else "folders wrong", "%s is there, and %s%s", name,
                 "was deleted" if gone else "nobody made it", self.story_of_folder(name))
        folder = gone[0] if gone else self.ledger.folder_making(self.user, name)
        folder.may = True
        return folder

    def message(self, folder, name, uid, row):
        ident, key = row[1], (folder, row[1])
        known = self.book.messages.get(ident)
        if known is None:
            self.add("damaged", "%s UID %d: nobody sent a message %s", name, uid, ident)
            return
        if row[6] is not None and row[6] != ident:
            self.add("rebound", "%s UID %d: header of %s, body of %s", name, uid, ident, row[6])
        self.there[key] += 1
        self.flags[key] = {f.lower() for f in row[0]}
        if known.digest and row[5] != known.digest:
            self.add("damaged", "%s UID %d: %s has another text", name, uid, ident)

    # --- the comparison -------------------------------------------------------------------------

    def compare(self):
        for key in set(self.book.copies) | set(self.there):
            self.number(key, self.book.copies.get(key))
        self.nowhere()
        for key, copy in self.book.copies.items():
            # where there are more, or were, it is not known of which of them the flags were told
            if self.there[key] == 1 <= copy.most and not (copy.doomed and self.cut_off(key[1])):
                self.check_flags(key, copy)
        for folder in self.book.folders:
            if folder.must and folder not in self.named:
                self.add("folders wrong", "%s is not there", sorted(folder.names))

    def where(self, key):
        return "%s in %s" % (key[1], self.named.get(key[0]) or sorted(key[0].names))

    def number(self, key, copy):
        least, most = (copy.least, copy.most) if copy else (0, 0)
        if self.there[key] < least:
            self.add("missing", "%s: there %d times, must be %d", self.where(key), self.there[key], least, ident=key[1],
                     number=least - self.there[key])
        if self.there[key] > most:
            self.too_many(key, copy, self.there[key] - most)

    def too_many(self, key, copy, number):
        """A second delivery, or a removal that was undone?  Where both may be, the former."""
        again = min(number, self.cut_off(key[1]))
        removals = copy.removals if copy else []
        fine = min(number - again, max(sum(map(self.is_open, removals)), self.united(key[1])))
        back = max(0, min(number - again, len(removals)) - fine)
        for what, times in (("duplicated (allowed)", again), ("came back (allowed)", fine), ("came back", back),
                            ("duplicated", number - again - fine - back)):
            if times:
                self.add(what, "%s: %d times", self.where(key), self.there[key], ident=key[1], number=times)

    def is_open(self, removal):
        """May it be undone?  Only where a fault of this round had parted the nodes; see link."""
        return (any(self.kinds[kind].parts and begin < removal.when + LATE
                    for kind, _letters, begin in self.ledger.outages) and
                self.ledger.link.leaves_open(removal.put(), removal.when))

    def united(self, ident):
        """So often it was removed, from any folder, in what both nodes have forgotten."""
        union = self.ledger.union()
        return sum(union.since < when < union.until for when in self.book.gone[ident]) if union else 0

    def cut_off(self, ident):
        """How often was the message's delivery cut off, by the end of something on its way?  What was prepared on
        the other node then is published a timeout after all is merged, so perhaps after that round."""
        message = self.book.messages[ident]
        if message.node is None:
            return 0
        last = max(message.answered or util.now(), message.queued)
        times = [begin for kind, letters, begin in self.ledger.former + self.ledger.outages
                 if self.kinds[kind].cuts and message.node.letter in letters
                 and message.sent < begin + LATE and begin < last + self.undoing(message, kind)]
        again = [when for user, which, when in self.ledger.twice if (user, which) == (self.user, ident)]
        others = sum(all(abs(when - begin) > 2 * LATE for begin in times) for when in again)
        # The name it was prepared with, the last one it got, and what its sender tried once more.  What else cut off
        # an attempt (a panic of Dovecot's; OPERATIONS) its sender knows.
        return max(2 * len(times), len(again) - others) + others + self.ledger.unsaved.count(ident)

    @staticmethod
    def undoing(message, kind):
        """So long after its delivery such a fault can still undo what its sender knows of it."""
        if message.way != "smtp":
            return ANSWERED
        return UNSYNCED if kind == "power" else QUEUED

    def nowhere(self):
        total = collections.Counter()
        must = collections.Counter()
        for (_folder, ident), number in self.there.items():
            total[ident] += number
        for (_folder, ident), copy in self.book.copies.items():
            must[ident] += copy.least
        for ident, message in self.book.messages.items():
            # where it must be in some folder it was counted there
            if message.kept and not total[ident] and not must[ident]:
                self.add("missing", "%s is nowhere", ident, ident=ident)

    def check_flags(self, key, copy):
        union = self.ledger.union()
        for flag, values in copy.flags.items():
            if (flag.lower() in self.flags[key]) not in values:
                forgotten = union and union.since < copy.asked.get(flag, copy.added) < union.until
                self.add("flags undone (allowed)" if forgotten else "flags lost",
                         "%s: %s is not %s", self.where(key), flag, values, ident=key[1])

    def check_subscriptions(self, view):
        for name in set(view["subscribed"]) | set(self.book.subscribed):
            if (name in view["subscribed"]) not in self.book.subscribed.get(name, {False}):
                self.add("folders wrong", "subscription of %s is not %s", name,
                         self.book.subscribed.get(name))

    # --- what is known from now on ------------------------------------------------------------------

    def settle(self, view):
        book = self.book
        for folder in list(book.folders):
            if folder in self.named:
                folder.names, folder.must, folder.may = {self.named[folder]}, True, True
                folder.former = []
            else:
                book.folders.remove(folder)
        for key, copy in list(book.copies.items()):
            if self.there[key]:
                self.settle_copy(key, copy)
            else:
                del book.copies[key]
        for key, number in self.there.items():
            copy = book.copies[key]
            copy.least = copy.most = number
        old = util.now() - 2 * CHECKPOINT
        for ident, times in list(book.gone.items()):
            book.gone[ident] = [when for when in times if when > old]
            if not book.gone[ident]:
                del book.gone[ident]
        # a message that is nowhere stays known: it could come back, much later even
        here = {ident for _folder, ident in book.copies}
        for ident, message in book.messages.items():
            message.kept, message.doomed = ident in here, False
        book.subscribed = {name: {True} for name in view["subscribed"]}

    def settle_copy(self, key, copy):
        copy.removals, copy.doomed = [], False
        one = self.there[key] == 1
        copy.flags = {flag: {flag.lower() in self.flags[key]} for flag in copy.flags if one}


def judge(ledger, kinds, user, view):
    """The figures of one user; the ledger knows afterwards what is there."""
    from .table import Figures
    figures = Figures()
    one = Judge(ledger, kinds, user, figures)
    with ledger.lock:
        one.read(view)
        one.compare()
        one.check_subscriptions(view)
        one.settle(view)
    return figures


# --- the stores -----------------------------------------------------------------------------------------


def stored_messages(node, user):
    """{folder name: Counter of (Message-ID, digest of the text)} in the store's files."""
    top, found = node.stored(user, "Maildir"), {}
    for name in os.listdir(top):
        path = os.path.join(top, name)
        if name.startswith(".") and not name.startswith("..") and os.path.isdir(os.path.join(path, "cur")):
            found[name[1:]] = messages_below(path)
    found["INBOX"] = messages_below(top)
    return found


def messages_below(path):
    found = collections.Counter()
    for part in ("cur", "new"):
        for name in os.listdir(os.path.join(path, part)):
            if name.startswith("."):
                continue
            with open(os.path.join(path, part, name), "rb") as f:
                text = f.read()
            found[mail.message_id(text), mail.text_digest(text)] += 1
    return found


def shown_messages(view):
    return {name: collections.Counter((row[1], row[5]) for row in rows.values())
            for name, (_validity, rows) in view["folders"].items()}


def store_difference(node, user, view):
    """Where the store's files are not what is shown over IMAP, in words."""
    stored, shown, none = stored_messages(node, user), shown_messages(view), collections.Counter()
    return ["%s: %s: in the store %s, shown %s" % (
        node.host, name, dict(stored.get(name, none) - shown.get(name, none)),
        dict(shown.get(name, none) - stored.get(name, none)))
            for name in sorted(set(stored) | set(shown)) if stored.get(name) != shown.get(name)]


def agreed_view(pair, user, timeout):
    """(view of node a, [what differs]) once both nodes show the same, or at the end of the time."""
    state = {}

    def equal():
        try:
            state["found"], state["view"] = compare.differences(pair, user)
            state["found"] += [w for node in pair.nodes
                               for w in store_difference(node, user, state["view"])]
        except (util.Fail, OSError, AttributeError) as error:
            state["found"] = ["%s: %s" % (type(error).__name__, error)]
        return not state["found"]
    for time in (timeout, compare.DELETED_FOR + timeout):
        try:
            util.poll("equal", equal, time)
        except util.Fail:
            pass
        if not any(compare.DELETED in w for w in state["found"]):
            break
    return state.get("view"), state["found"]
