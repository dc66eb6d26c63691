"""Which of the points of the scenario are run."""

import hashlib
import os
import random
import re

from lab import util
from lab.points import TOOLS, Fault

# One point or more of each kind of durable write: (fault, phase, node, daemon, "operation class (site)" as
# a pattern). What they come to is what the phase makes of it in the end.
SHORT = (
    ("after", "folders", "a", "mailfs", r"commit .*marks_put"),              # a mark: of a new folder, always
    ("after", "deliver", "a", "mailfs", r"fsync tmp "),                      # a message
    ("before", "deliver", "b", "syncd", r"fsync stage .*(commit_durable|name_durably)"),  # prepared for the peer
    ("after", "deliver", "b", "syncd", r"commit .*journal_append"),          # acknowledged
    ("before", "client", "a", "mailfs", r"create dovecot-uidlist.lock "),    # L
    ("before", "client", "b", "syncd", r"rename cur "),                      # a flag, applied
    ("after", "client", "b", "syncd", r"write recent .*apply"),              # ... and known to be
    ("after", "client", "a", "mailfs", r"rename undo "),                     # an expunge
    ("before", "client", "b", "syncd", r"write dovecot-uidlist "),           # UIDs, applied
    ("before", "folders", "b", "syncd", r"rename file .*put_inline"),        # a script, applied
    ("after", "folders", "b", "syncd", r"rename folder .*make_container"),   # a folder, applied
    ("after", "folders", "a", "mailfs", r"setxattr folder "),                # a folder's id
    ("after", "stop", "a", "syncd", r"commit .*checkpoint"),                 # the base
    ("before", "stop", "a", "syncd", r"commit .*marks_clear"),               # the marks it settles
    ("SHORT", "deliver", "a", "mailfs", r"pwrite tmp "),                     # the disk says no: to a message
    ("ENOSPC", "deliver", "a", "mailfs", r"rename new "),
    ("ENOSPC", "deliver", "b", "syncd", r"fsync stage .*(commit_durable|name_durably)"),  # to what is prepared
    ("SHORT", "deliver", "b", "syncd", r"pwrite stage "),
    ("EIO", "deliver", "b", "syncd", r"commit .*journal_append"),            # to a transaction
    ("EIO", "client", "b", "syncd", r"rename cur "),                         # to its application
    ("SHORT", "client", "b", "syncd", r"write dovecot-uidlist "),
    ("SHORT", "folders", "b", "syncd", r"pwrite temp .*put_inline"),
    ("EIO", "stop", "a", "syncd", r"commit .*checkpoint"),                   # to the base
)


def in_order(found, seed, faults):
    """[(point, fault)]: one of each kind first."""
    order = random.Random(seed)
    every = [(p, f) for _key, p in sorted(found.items()) for f in faults if f.fits(p.step)]
    order.shuffle(every)
    seen = {}

    def turn(entry):
        kind = entry[0].kind
        seen[kind] = seen.get(kind, 0) + 1
        return seen[kind]
    return [e for _turn, e in sorted(((turn(e), e) for e in every), key=lambda x: x[0])]


def short(found):
    """Those of SHORT; one that the scenario does not come to any more is an error in the table."""
    chosen = []
    for fault, phase, node, daemon, what in SHORT:
        begin = "%s: %s of %s: " % (phase, daemon, node)
        fit = [p for _key, p in sorted(found.items())
               if str(p).startswith(begin) and re.match(what, str(p)[len(begin):])]
        if not fit:
            raise util.Fail("the scenario comes to no point %s%s" % (begin, what))
        chosen.append((fit[0], Fault(fault)))
    return chosen


class Good:
    """Which points were good with this build: a file."""

    def __init__(self, build):
        known = hashlib.sha256()
        for tool in TOOLS.values():
            with open(os.path.join(build, "tests", "faults", tool), "rb") as f:
                known.update(f.read())
        folder = os.path.join(build, "check")
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "faults-%s.good" % known.hexdigest()[:12])
        self.known = set()
        if os.path.exists(self.path):
            with open(self.path) as f:
                self.known = set(f.read().splitlines())

    def add(self, name):
        with open(self.path, "a") as f:
            f.write(name + "\n")
