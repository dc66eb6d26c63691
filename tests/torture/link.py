"""When the two were not in sync, and what of that time leaves open whether a removal counts.

Times only, no I/O: who reads the logs and who kills says what was seen.  The rules are DESIGN's, "What stays
ambiguous", "Half of a merge" and "What a start finds".  A removal counts, whenever it is done, if both bases
had the message.  So what had been acknowledged when the link ended stays removed, also where a node that has
long been alone removes it.
"""

import collections

# seconds by which a client's answer, and the line of a log that is read for it, can be late
LATE = 1.0
# What syncd did since its last checkpoint it does once more after a power cut.  It makes one each ten seconds,
# and for all of an outage and a round of catching up that can take longer.
CHECKPOINT = 30.0

# from a time to another one
Span = collections.namedtuple("Span", "since until")


class Apart:
    """From when one of them was not in sync until both were again."""

    def __init__(self, begin):
        self.begin, self.over = begin, None
        self.met = None         # when they first met again
        self.ends = []          # spans: what was put there in them was not acknowledged when a link ended
        self.deaths = []        # (when, letter, was it the power): ends of a syncd

    def until(self):
        return float("inf") if self.over is None else self.over + LATE

    def half_forgotten(self):
        """What one node alone has carried out of a merge is in the memory of its syncd, and counts while the
        other's lives: did one of them end after they had begun to merge?"""
        return self.met is not None and any(when > self.met for when, _letter, _power in self.deaths)


class Link:
    def __init__(self, timeout):
        self.timeout = timeout
        self.word = {"a": "in-sync", "b": "in-sync"}
        self.met = {"a": None, "b": None}       # when it met the other one, if it is catching up
        self.times = []                         # all Aparts that are not too long ago

    def apart(self, when):
        if not self.times or self.times[-1].over is not None:
            self.times.append(Apart(when))
        return self.times[-1]

    def ended(self, letter, when):
        """This node's link.  What it had sent was acknowledged or overdue within a timeout; what is put into a
        mailbox that is still to be merged is acknowledged with that only."""
        since = min(when - self.timeout, self.met[letter] or when) - LATE
        self.met[letter] = None
        self.apart(when).ends.append(Span(since, when + LATE))

    def said(self, letter, word, when):
        """What a syncd says that it is now: in-sync, alone, catching-up."""
        before, self.word[letter] = self.word[letter], word
        if word == "in-sync":
            self.met[letter] = None
            if set(self.word.values()) == {"in-sync"} and self.times and self.times[-1].over is None:
                self.times[-1].over = when
            return
        # a connection that takes the place of another one is met with at once
        if before == "in-sync" or (before, word) == ("catching-up", "alone"):
            self.ended(letter, when)
        if word == "catching-up":
            self.met[letter] = when
            self.apart(when).met = self.apart(when).met or when

    def died(self, letter, when, power=False):
        """The end of a syncd, which says nothing any more."""
        self.ended(letter, when)
        self.word[letter] = "dead"
        self.times[-1].deaths.append((when, letter, power))

    def is_apart(self, now):
        return bool(self.times) and now < self.times[-1].until()

    def forget(self, before):
        self.times = [t for t in self.times if t.until() > before]

    # --- what is open -------------------------------------------------------------------------------

    def leaves_open(self, put, removed):
        """May a message be there again that was put there in this span, and whose removal was answered then?"""
        return any(self.open_in(time, put, removed) for time in self.times)

    def open_in(self, time, put, removed):
        first = time.begin - self.timeout - LATE
        if not first < removed < time.until():
            return False
        return (any(put.until > end.since and put.since < end.until for end in time.ends) or
                (put.until > first and time.half_forgotten()) or
                any(power and put.until > when - CHECKPOINT for when, _letter, power in time.deaths))

    def union(self):
        """Of when it is not known what was removed and cleared, since each node has forgotten what was agreed on
        after its last checkpoint; or None.  What one of them alone has forgotten it learns from the other."""
        cuts = {letter: (when, time) for time in self.times
                for when, letter, power in time.deaths if power}
        if len(cuts) < 2:
            return None
        (first, _), (last, time) = sorted(cuts.values(), key=lambda cut: cut[0])
        return Span(first - CHECKPOINT, time.until()) if last - first < CHECKPOINT else None

    def cut_at(self, node):
        """When the power of the other one went, if they have not been in sync since."""
        cuts = [when for time in self.times if time.over is None
                for when, letter, power in time.deaths if power and letter != node.letter]
        return max(cuts, default=None)
