"""What a UID was seen to name; on either node and at any time it must never name another (G2)."""

import threading


class Witness:
    def __init__(self):
        self.lock = threading.Lock()
        self.seen = {}          # (user, folder, UIDVALIDITY, UID) -> Message-ID
        self.rebound = []       # what was wrong, in words
        self.looks = 0

    def look(self, where, user, folder, validity, ids):
        """ids: {uid: Message-ID} as one client was just shown them; folder: a ledger's."""
        with self.lock:
            self.looks += 1
            for uid, ident in ids.items():
                first = self.seen.setdefault((user, folder, validity, uid), ident)
                if first is None:
                    self.seen[user, folder, validity, uid] = ident
                elif ident is not None and first != ident:
                    self.seen[user, folder, validity, uid] = ident      # counted once
                    self.rebound.append("%s: %s/%s UIDVALIDITY %d UID %d named %s, now %s" % (
                        where, user, sorted(folder.names), validity, uid, first, ident))

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
