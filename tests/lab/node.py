"""One mail server."""

import os
import shutil
import signal
import socket

from . import boot, imap, mail, mailfs, net, rundir, util
from .disk import Disk
from .dovecot import GID, UID, Dovecot
from .postfix import Postfix

START_TIMEOUT = 20


DEAF = """table inet lab_deaf_%s {
    chain input {
        type filter hook input priority -300; policy accept;
        ip saddr %s drop
    }
}
"""


def is_mailfs(pid):
    """One of the daemons' processes, of which mailfs has several."""
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().startswith("mailfs")
    except OSError:
        return False


def began(pid):
    """When, in ticks of the machine's; 0: it has gone."""
    return (util.proc_stat(pid) or ("", 0))[1]


class Node:
    """Node a or b of the pair in a run directory.

    Processes are named mailfs, syncd, dovecot, postfix in start(), stop() and kill().
    """

    def __init__(self, run_dir, letter, options):
        self.run_dir, self.letter, self.options = run_dir, letter, options
        self.space = net.Space(run_dir, letter)
        self.host, self.address = self.space.host, self.space.address
        self.argv = self.space.argv
        self.dir = os.path.join(run_dir, letter)
        self.shared = options["backend"] == "shared"
        # What a power cut must not take away: mail, state, indexes, the queue.
        self.disk = Disk(self, options["disk"]) if options["disk"] else None
        self.data = self.disk.point if self.disk else self.dir
        self.store = os.path.join(self.data, "store")
        private = options["access"] == "private"
        self.mount = os.path.join(self.dir, "private" if private else "", "mail")
        if self.shared:
            self.store = self.mount = os.path.join(self.data if self.disk else run_dir, "shared")
        self.peer = None
        self.env = {}           # more environment for its daemons
        self.dovecot = Dovecot(self)
        self.postfix = Postfix(self)
        self.mailfs = mailfs.Mailfs(self, timeout=options["timeout"], commit=options["commit"],
                                    brake=options["brake"], access=options["access"])

    def __repr__(self):
        return self.host

    # --- bring-up ---------------------------------------------------------------------

    def prepare(self):
        os.makedirs(os.path.join(self.dir, "log"), exist_ok=True)
        if self.disk:
            self.disk.create()
        self.space.create()
        if self.shared:
            os.makedirs(self.store, exist_ok=True)
            os.chown(self.store, UID, GID)
        else:
            self.mailfs.prepare()
        self.dovecot.prepare()
        self.postfix.prepare()

    def parts(self):
        """The processes this node is made of, lowest first."""
        below = [] if self.shared else ["syncd", "mailfs"]
        return below + [p for p in ("dovecot", "postfix") if self.options[p]]

    def start(self, *names):
        for name in names or self.parts():
            if name == "mailfs":
                self.mailfs.start_mount()
            elif name == "syncd":
                self.mailfs.start_syncd()
            else:
                getattr(self, name).start()

    def stop(self, *names):
        for name in names or self.parts()[::-1]:
            if name in ("mailfs", "syncd"):
                self.daemon(name).stop()
            else:
                getattr(self, name).stop()

    def kill(self, name, sig=signal.SIGKILL):
        """A signal for mailfs or syncd; returns when the process has ended."""
        self.daemon(name).kill(sig)

    def daemon(self, name):
        return {"mailfs": self.mailfs.mountd, "syncd": self.mailfs.syncd}[name]

    def crash(self, silent=True, power=False):
        """Kill everything on this node with SIGKILL, as a power failure would.

        silent: the peer hears nothing of it, no FIN and no RST, until revive().
        power: its disk loses what no fsync had made durable (needs the option disk).
        """
        if silent:
            self.go_silent()
        # in one instant for those outside: first whoever answers clients, since without syncd
        # mailfs serves alone, and a 250 of the next milliseconds would be an honest one. A master
        # before its children, by age (numbers begin anew), or it writes of their end what is taken for damage
        for pid in sorted(self.space.pids(), key=lambda pid: (is_mailfs(pid), began(pid))):
            util.proc_signal(pid, signal.SIGKILL)
        # not before: whoever is still alive could answer a client for what the disk no longer takes
        if power:
            self.disk.cut()
        util.kill_all(self.space.pids, self.host,
                      then=lambda: rundir.take_mounts_away(self.mount))
        if power:
            self.disk.unmount()
        self.dovecot.forget_pid()

    def go_silent(self):
        """What this node's kernel says for its dying sockets must not arrive either."""
        self.peer.space.drop(True)
        self.space.drop(True)

    def deaf(self, *to):
        """Nothing arrives here from these nodes, and from all others everything."""
        for letter in "abc":
            self.run("nft", "delete", "table", "inet", "lab_deaf_" + letter, check=False)
        for other in to:
            self.run("nft", "-f", "-", text=DEAF % (other.space.letter, other.space.address))

    def destroy(self):
        """It dies, and what was on its disk is no more; prepare() makes a new machine of that name."""
        self.crash(silent=False)
        for path in (self.store, self.mailfs.state, self.dovecot.index):
            shutil.rmtree(path)

    def revive(self):
        """Start all of it again after crash()."""
        self.boot()
        self.space.drop(False)
        self.peer.space.drop(False)
        self.start()

    def boot(self):
        """After crash(): its disk is there, and what a boot does before daemons start is done."""
        if self.disk:
            self.disk.mount()
        boot.remove_caches(self)

    def terminate(self, program):
        """SIGTERM to this node's processes whose program's path has this in it; those that are left."""
        left = []
        for pid in self.space.pids():
            try:
                path = os.readlink("/proc/%d/exe" % pid)
            except OSError:
                continue
            if program in path and util.proc_alive(pid):
                left.append(pid)
                util.proc_signal(pid, signal.SIGTERM)
        return left

    # --- commands and files -------------------------------------------------------------

    def run(self, *command, **kwargs):
        return util.run(self.argv(*command), **kwargs)

    def sh(self, script, check=True):
        return self.run("sh", "-c", script, check=check, timeout=60, env={**os.environ, **self.env})

    def log(self, name):
        return os.path.join(self.dir, "log", name + ".log")

    def home(self, user, *more):
        """A path in a user's home directory on the mount."""
        return os.path.join(self.mount, user, *more)

    def stored(self, user, *more):
        """The same in the store, which answers even when mailfs does not."""
        return os.path.join(self.store, user, *more)

    def listening(self, port):
        pid = next(iter(self.space.pids()), None)
        if pid is None:
            return False
        try:
            with open("/proc/%d/net/tcp" % pid) as f:
                rows = [line.split() for line in f][1:]
        except OSError:
            return False
        return any(int(r[1].split(":")[1], 16) == port and r[3] == "0A" for r in rows)

    def wait_ports(self, *ports):
        for port in ports:
            util.poll("%s: something listening on port %d" % (self.host, port),
                      lambda p=port: self.listening(p), START_TIMEOUT)

    def wait_no_ports(self, *ports):
        for port in ports:
            util.poll("%s: port %d closed" % (self.host, port),
                      lambda p=port: not self.listening(p), START_TIMEOUT)

    # --- state ----------------------------------------------------------------------------

    def status(self):
        if self.shared:
            return {"state": "in-sync", "node": self.host, "pending_messages": 0,
                    "pending_bytes": 0, "lag_seconds": 0, "last_error": "", "peer": "shared"}
        return self.mailfs.status()

    def state(self):
        return (self.status() or {}).get("state")

    def wait_state(self, *states, timeout=15):
        return util.poll(lambda: "%s in state %s; status %s" % (
            self.host, " or ".join(states), self.status()),
            lambda: self.state() in states, timeout)

    def link(self, other):
        """What status says of the one-way link with another node."""
        links = (self.status() or {}).get("links") or []
        return next((k for k in links if k["node"] == other.host), None)

    def wait_link(self, other, state="in-sync", timeout=20):
        return util.poll(lambda: "%s: link with %s %s; it is %s" % (
            self.host, other.host, state, self.link(other)),
            lambda: (self.link(other) or {}).get("state") == state, timeout)

    # --- clients ----------------------------------------------------------------------------

    def connect(self, port, timeout=30, address="127.0.0.1"):
        """A TCP connection to a server, from this node."""
        with net.entered(self.space.name):
            return socket.create_connection((address, port), timeout)

    def imap(self, user, timeout=30, mailbox=None):
        client = imap.Imap(self.connect(143, timeout), user)
        if mailbox:
            client.select(mailbox)
        return client

    def lmtp(self, recipients, message, timeout=30):
        """One message by LMTP; one reply, "250 ...", per recipient."""
        if isinstance(recipients, str):
            recipients = [recipients]
        with mail.Lmtp(self.connect(24, timeout)) as client:
            return client.send(recipients, message)

    def deliver(self, user, message, timeout=30):
        """One message to one user by LMTP, which must be accepted; its Message-ID."""
        replies = self.lmtp(user, message, timeout)
        if not replies[0].startswith("250"):
            raise util.Fail("%s: LMTP for %s answers %s" % (self.host, user, replies[0]))
        return mail.message_id(message)

    def smtp(self, recipients, message, timeout=30):
        """One message into Postfix; recipients with domain (see postfix)."""
        mail.smtp_send(self.connect(25, timeout), recipients, message)

    def pop3(self, user, timeout=30):
        return mail.Pop3(self.connect(110, timeout), user)
