"""One node dies, or the link does, while both are at work; what the clients saw of it."""

import threading

from . import imap, mail, util

# What Dovecot says, rightly, of a mount that went and was made anew under it.  The last: fstat(2) of a message that it
# had open fails (ENOTCONN), and it takes the file for a pipe (lib/istream-file.c: i_stream_create_file_common()).
MOUNT_LOST = (r"Transport endpoint|Software caused|killed with signal|Input/output error|"
              r"Panic: stream \S+ doesn't support seeking backwards")


class Client(util.Thread):
    """A mail client that stores a flag over and over, and notes how long each took."""

    def __init__(self, node, user):
        self.node, self.user = node, user
        self.halt, self.took = threading.Event(), []
        super().__init__(self.work)

    def work(self):
        client = None
        while not self.halt.is_set():
            start = util.now()
            try:
                if client is None:
                    client = self.node.imap(self.user, mailbox="INBOX")
                client.store("1", "+FLAGS" if len(self.took) % 2 else "-FLAGS", "\\Flagged")
                self.took.append((start, util.now() - start))
            except (imap.ImapError, OSError):
                client = None
            self.halt.wait(0.02)
        if client:
            client.close()

    def end(self):
        self.halt.set()
        return self.join()

    def wait_past(self, moment, timeout=30):
        """Until an operation that began after the moment has ended."""
        util.poll("%s: a STORE begun after the outage to end" % self.node.host,
                  lambda: self.took and self.took[-1][0] > moment, timeout)

    def stalls(self, since, longer=1.0):
        """The operations since then that took longer than this."""
        return [t for start, t in self.took if start + t > since and t > longer]


class Deliveries:
    """Threads that deliver by LMTP at one node until it dies; what was answered with 250."""

    def __init__(self, node, users, threads=4):
        self.node, self.users = node, users
        self.lock, self.acked = threading.Lock(), {u: [] for u in users}
        self.halt = threading.Event()
        self.threads = [util.Thread(self.work, k) for k in range(threads)]

    def work(self, number):
        while not self.halt.is_set():
            user = self.users[number % len(self.users)]
            number += 1
            text = mail.message("outage", size=1000)
            try:
                replies = self.node.lmtp(user, text, timeout=15)
            except (util.Fail, OSError):
                self.halt.wait(0.05)
                continue
            if replies[0].startswith("250"):
                with self.lock:
                    self.acked[user].append(mail.message_id(text))

    def count(self):
        with self.lock:
            return sum(len(ids) for ids in self.acked.values())

    def wait_count(self, number, timeout=30):
        util.poll(lambda: "%d deliveries accepted, there are %d" % (number, self.count()),
                  lambda: self.count() >= number, timeout)

    def end(self):
        self.halt.set()
        for thread in self.threads:
            thread.join(30)
        return self.acked
