"""The figures of a run, and of one round of it."""

import collections
import os

# are the stories of what is allowed told as well?
TELL = os.environ.get("TELL") == "1"

# what must not be: any of these makes a round fail
WRONG = collections.OrderedDict((
    ("missing", "accepted messages that are nowhere they must be"),
    ("duplicated", "messages there more often than asked for, where DESIGN does not allow it"),
    ("rebound", "UIDs that named another message before"),
    ("damaged", "messages with another text than was sent"),
    ("flags lost", "flags and keywords that are not as they were answered"),
    ("came back", "messages there again after their removal was answered, where DESIGN does not allow it"),
    ("folders wrong", "folders and subscriptions that are not as they were answered"),
    ("not equal", "users of whom the two nodes do not show the same"),
    ("bounced", "messages that Postfix gave back to their sender"),
    ("trouble", "logs that tell of damage, clients that hang, daemons that died by themselves"),
))
# what may be, and is counted
ALLOWED = collections.OrderedDict((
    ("duplicated (allowed)", "deliveries that were cut off and tried again, or were under way when mailfs was killed"),
    ("came back (allowed)", "removals of what was not agreed on when the nodes parted, or of before the power of both had gone"),
    ("folders back (allowed)", "folders there again that were deleted while a disk was full, or the other node down after a power cut"),
    ("flags undone (allowed)", "changes of flags after both nodes had died"),
))


class Figures:
    """What the referee found, with a line of words for each thing that is wrong."""

    def __init__(self):
        self.count, self.words = collections.Counter(), []

    def add(self, what, words, number=1):
        if what not in WRONG and what not in ALLOWED:
            raise KeyError(what)
        self.count[what] += number
        if what in WRONG or TELL:
            self.words.append("%s: %s" % (what, words))

    def wrong(self):
        return sum(self.count[w] for w in WRONG)

    def merge(self, other):
        self.count.update(other.count)


def middle(values):
    return sorted(values)[len(values) // 2] if values else 0.0


class Run:
    """All rounds."""

    def __init__(self):
        self.rounds, self.failed = 0, 0
        self.figures, self.faults = Figures(), collections.Counter()
        self.accepted = collections.Counter()
        self.in_sync, self.longest = [], 0.0

    def add(self, figures, faults, in_sync, longest):
        self.rounds += 1
        self.failed += bool(figures.wrong())
        self.figures.merge(figures)
        self.faults.update(faults)
        self.in_sync.append(in_sync)
        self.longest = max(self.longest, longest)

    def lines(self):
        yield "%-24s %d, %d of them failed" % ("rounds", self.rounds, self.failed)
        yield "%-24s %d: %s" % ("faults", sum(self.faults.values()), ", ".join(
            "%s %d" % pair for pair in sorted(self.faults.items())))
        yield "%-24s %s" % ("acknowledged", ", ".join(
            "%s %d" % pair for pair in sorted(self.accepted.items())))
        for what in list(WRONG) + list(ALLOWED):
            yield "%-24s %d" % (what, self.figures.count[what])
        yield "%-24s median %.1f s, longest %.1f s" % (
            "time to in-sync", middle(self.in_sync), max(self.in_sync, default=0))
        yield "%-24s %.1f s" % ("longest operation", self.longest)
