"""What a UID was seen to name; on either node and at any time it must never name another (G2)."""

import threading

from lab import util


class Witness:
    def __init__(self):
        self.lock = threading.Lock()
        self.seen = {}          # (user, folder, UIDVALIDITY, UID) -> (Message-ID, by whom, when)
        self.rebound = []       # what was wrong, in words
        self.looks = 0

    def look(self, where, user, folder, validity, ids):
        """ids: {uid: Message-ID} as one client was just shown them; folder: a ledger's."""
        with self.lock:
            self.looks += 1
            for uid, ident in ids.items():
                if ident is None:
                    continue
                sight = (ident, where, util.now())
                first = self.seen.setdefault((user, folder, validity, uid), sight)
                if first[0] != ident:
                    self.seen[user, folder, validity, uid] = sight      # counted once
                    self.rebound.append("%s/%s UIDVALIDITY %d UID %d named %s (%s, at %.3f), now %s (%s, at %.3f)" % (
                        user, sorted(folder.names), validity, uid, *first, *sight))

    def read(self, where, user, name, uid, ident, text_ident):
        """A message's header as the server's cache has it, and what the message itself says."""
        if ident is not None and text_ident is not None and ident != text_ident:
            with self.lock:
                self.rebound.append("%s: %s/%s UID %d: header of %s, body of %s" % (
                    where, user, name, uid, ident, text_ident))

    def take(self):
        """What was wrong since the last time."""
        with self.lock:
            found, self.rebound = self.rebound, []
            return found
