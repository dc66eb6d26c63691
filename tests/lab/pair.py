"""Two nodes and the cable between them."""

import os
import shutil

from . import mailfs, net, rundir, util
from .node import Node

# standby: a third node, c, is the standby of both.  start=False: made, but nothing started.  index: where
# Dovecot's indexes are, "local" or "mount".
# access: "private" where mailfs mounts below a directory of the mail user's alone.
# disk: bytes of a file system of each node's own, which can be filled and whose power can be cut.
OPTIONS = {"postfix": True, "dovecot": True, "timeout": 3, "commit": "disk", "start": True,
           "standby": False, "index": "local", "layout": "maildir++", "disk": 0, "backend": None,
           "brake": None, "access": os.environ.get("LAB_ACCESS") or "checked"}


class Pair:
    """Bring-up and tear-down; a context manager.  Attach to one that is up with attach()."""

    def __init__(self, run_dir=None, **options):
        self.owned = run_dir is None
        self.options = dict(OPTIONS, backend=mailfs.backend(), **options)
        self.run_dir = run_dir or rundir.create()
        self.a = Node(self.run_dir, "a", self.options)
        self.b = Node(self.run_dir, "b", self.options)
        self.a.peer, self.b.peer = self.b, self.a
        self.c = None
        if self.options["standby"]:
            self.c = Node(self.run_dir, "c", self.options)
            self.c.peer = self.a
        self.nodes = (self.a, self.b)
        self.every = self.nodes + ((self.c,) if self.c else ())
        self.users = {}

    @classmethod
    def attach(cls, run_dir):
        options = rundir.load(run_dir, "options")
        options.pop("backend")
        return cls(run_dir, **options)

    def __enter__(self):
        if self.owned:
            try:
                self.up()
            except BaseException as error:
                if isinstance(error, util.Fail):
                    self.report_failure()
                self.down(failed=True)
                raise
        return self

    def __exit__(self, kind, _value, _trace):
        if self.owned:
            self.down(failed=kind is not None)

    def up(self):
        """Make both nodes, exchange fingerprints, start everything, wait for in-sync."""
        if self.options["backend"] != "shared" and not mailfs.built():
            raise util.Fail("no programs in %s (run make)" % mailfs.bindir())
        for node in self.every:
            os.makedirs(node.dir, exist_ok=True)
        util.parallel(*(node.prepare for node in self.every))
        if self.c:
            net.connect_all(self.run_dir, [node.space for node in self.every])
        else:
            net.connect(self.a.space, self.b.space)
        self.configure()
        if self.options["start"]:
            util.parallel(*(node.start for node in self.every))
            self.wait_in_sync()
        rundir.save(self.run_dir, "options", self.options)

    def configure(self):
        if self.options["backend"] != "shared":
            links = [("standby", self.c)] if self.c else []
            for node in self.nodes:
                node.mailfs.write(peer=node.peer, links=links)
            if self.c:
                self.c.mailfs.write(mode="standby", links=[("source", n) for n in self.nodes])

    def replace_b(self):
        """b dies, and a new machine gets its name; a is told its fingerprint."""
        self.b.destroy()
        self.b.mailfs.prepare()
        self.b.dovecot.prepare()
        self.a.stop("syncd")
        self.configure()
        self.a.start("syncd")

    def down(self, failed=False):
        keep = failed and os.environ.get("LAB_KEEP") == "1"
        if keep:
            open(os.path.join(self.run_dir, "kept"), "w").close()
            print("    kept: " + self.run_dir, flush=True)
        with rundir.deaf_to_signals():
            for error in rundir.destroy(self.run_dir, keep):
                print("    tear-down: " + error, flush=True)

    # --- waiting ------------------------------------------------------------------------------

    def wait_in_sync(self, timeout=20):
        for node in self.nodes:
            node.wait_state("in-sync", timeout=timeout)

    def illness(self):
        """For the runner: why this pair is not fit for another test, or None."""
        try:
            self.heal_link()
            for node in self.nodes:
                for name in node.parts():
                    if name in ("mailfs", "syncd") and not node.daemon(name).running():
                        return "%s: %s has ended" % (node.host, name)
                for port in [143, 24] + ([25] if self.options["postfix"] else []):
                    if not node.listening(port):
                        return "%s: nothing listens on port %d" % (node.host, port)
            self.wait_in_sync(timeout=5)
        except util.Fail as error:
            return str(error)
        return None

    # --- the link -----------------------------------------------------------------------------

    def cut_link(self, silent=True):
        """Silent: packets vanish, as with a dead host.  Otherwise the interface goes down."""
        if silent:
            self.a.space.drop(True)
            self.b.space.drop(True)
        else:
            self.a.space.ip("link", "set", "eth0", "down")

    def heal_link(self):
        self.a.space.drop(False)
        self.b.space.drop(False)
        self.a.space.ip("link", "set", "eth0", "up")

    # --- users --------------------------------------------------------------------------------

    def user(self, prefix="user", folders=(), both=True, name=None):
        """A fresh user with an INBOX and these folders, present on both nodes."""
        if name is None:
            number = self.users[prefix] = self.users.get(prefix, -1) + 1
            name = "%s-%d-%d" % (prefix, os.getpid(), number)
        with self.a.imap(name) as client:
            client.select()
            for folder in folders:
                client.create(folder)
            client.logout()
        if both:
            for folder in ("",) + tuple("." + f for f in folders):
                self.wait_path(self.b, name, "Maildir", folder, "cur")
        return name

    def wait_path(self, node, user, *parts, there=True, timeout=10):
        path = node.stored(user, *parts)
        util.poll("%s %s %s" % (path, "there" if there else "gone", node.host),
                  lambda: os.path.lexists(path) == there, timeout)

    # --- after a failure ------------------------------------------------------------------------

    def logs(self):
        found = []
        for node in self.every:
            where = os.path.join(node.dir, "log")
            if os.path.isdir(where):
                found += [os.path.join(where, f) for f in sorted(os.listdir(where))]
        return found

    def report_failure(self, offsets=None, lines=14):
        """Print the state of the nodes and the ends of their logs."""
        for node in self.every:
            try:
                print("    %s status: %s" % (node.host, node.status()))
            except (util.Fail, OSError, ValueError) as error:
                print("    %s status: %s" % (node.host, error))
        for path in self.logs():
            rows = util.tail(path, (offsets or {}).get(path, 0), lines)
            if rows:
                print("    --- %s" % os.path.relpath(path, self.run_dir))
                for row in rows:
                    print("    | " + row[:240])
        where = os.environ.get("LAB_LOGS")
        for path in self.logs() if where else []:
            to = os.path.join(where, os.path.basename(self.run_dir), os.path.relpath(path, self.run_dir))
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(path, to)
