"""The product on one node: configuration, keys, the two daemons, mailfsctl."""

import json
import os
import signal

from . import rundir, util
from .dovecot import GID, UID

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
PORT = 7400

# For builds with sanitizers: an error must end the process, and leaks of a daemon that is
# killed on purpose are no finding.
SAN_ENV = {"ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0:handle_abort=0",
           "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}


def bindir():
    return os.environ.get("LAB_BIN") or os.path.join(REPO, "build", "bin")


def program(name):
    return os.path.join(bindir(), name)


def built():
    return all(os.access(program(p), os.X_OK) for p in ("mailfs", "mailfs-syncd", "mailfsctl"))


def backend():
    return os.environ.get("LAB_BACKEND") or "mailfs"


class Daemon:
    """mailfs or mailfs-syncd, in the foreground, known by a pid file of ours.

    Not by the child object: with the runner, the process that stops it may not be the one
    that started it.
    """

    def __init__(self, node, name, prog, *args):
        self.node, self.name, self.prog, self.args = node, name, prog, args
        self.pidfile = os.path.join(node.dir, name + ".pid")

    def start(self):
        if self.running():
            raise util.Fail("%s: %s is running" % (self.node.host, self.name))
        pid = util.spawn(self.node.argv(program(self.prog), "-f", *self.args), self.node.log(self.name),
                         env={**os.environ, **SAN_ENV, **self.node.env})
        start = util.proc_stat(pid)[1]
        rundir.record(self.node.run_dir, "pid", "%d %d" % (pid, start))
        with open(self.pidfile, "w") as f:
            f.write("%d %d\n" % (pid, start))

    def known(self):
        try:
            with open(self.pidfile) as f:
                pid, start = (int(x) for x in f.read().split())
        except (OSError, ValueError):
            return None
        return pid, start

    def running(self):
        known = self.known()
        return known[0] if known and util.proc_alive(*known) else None

    def kill(self, sig=signal.SIGKILL, wait=True, timeout=10):
        known = self.known()
        if not known:
            return
        util.proc_signal(known[0], sig, known[1])
        if wait:
            util.poll("%s: end of %s after signal %d" % (self.node.host, self.name, sig),
                      lambda: util.reap_children() or not util.proc_alive(*known), timeout)

    def stop(self):
        self.kill(signal.SIGTERM)

    def must_run(self):
        if not self.running():
            raise util.Fail("%s: %s has died:\n  %s" % (
                self.node.host, self.name, "\n  ".join(util.tail(self.node.log(self.name), 0, 15))))
        return True


class Mailfs:
    """Both daemons of one node."""

    def __init__(self, node, timeout=3, commit="disk", brake=None, access="checked"):
        self.node, self.timeout, self.commit, self.access = node, timeout, commit, access
        self.brake = brake  # "0" where mail is removed in masses, and is to be on both
        self.bandwidth = self.keep = self.verify = self.compress = None
        self.link_commit = None     # of its standbys
        self.dial = None    # another address of the peer's: "host:port"
        self.conf = os.path.join(node.dir, "mailfs.conf")
        self.state = os.path.join(node.data, "state")
        self.mountd = Daemon(node, "mailfs", "mailfs", "-c", self.conf, "mail")
        self.syncd = Daemon(node, "syncd", "mailfs-syncd", "-c", self.conf)

    def prepare(self):
        for path in (self.node.store, self.node.mount):
            os.makedirs(path, exist_ok=True)
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        os.chown(self.node.store, UID, GID)
        if self.access == "private":
            self.close()
        self.write()
        self.ctl("init")

    def close(self):
        """To all but the mail user: the directory above the mount."""
        os.chown(os.path.dirname(self.node.mount), UID, GID)
        os.chmod(os.path.dirname(self.node.mount), 0o700)

    def fingerprint(self):
        for word in self.ctl("fingerprint").stdout.split():
            if word.startswith("SHA256:"):
                return word
        raise util.Fail("mailfsctl fingerprint prints none")

    def write(self, peer=None, fingerprint=None, links=(), mode=None, more=""):
        """Write the configuration; peer: the other node; links: ("standby" or "source", node)."""
        text = 'node = "%s"\nvolume "mail" {\n' % self.node.host
        mount = () if mode == "watch" else (("mount", self.node.mount),)
        for key, value in (("store", self.node.store), *mount, ("state", self.state), ("commit", self.commit),
                           ("listen", "%s:%d" % (self.node.address, PORT))):
            text += '    %-6s = "%s"\n' % (key, value)
        if mode:
            text += '    mode = "%s"\n' % mode
        if self.access != "checked":
            text += '    access = "%s"\n' % self.access
        for kind, node in links:
            text += ('    %s "%s" {\n        address     = "%s:%d"\n        fingerprint = "%s"\n'
                     '        timeout     = %g\n' % (kind, node.host, node.address, PORT,
                                                 node.mailfs.fingerprint(), self.timeout))
            if kind == "standby" and self.link_commit:
                text += '        commit      = "%s"\n' % self.link_commit
            text += '    }\n'
        if self.keep:
            text += '    keep   = "%s"\n' % self.keep
        if self.brake:
            text += '    brake  = "%s"\n' % self.brake
        if self.verify:
            text += '    verify = "%s"\n' % self.verify
        if peer:
            text += ('    peer "%s" {\n        address     = "%s"\n        fingerprint = "%s"\n'
                     '        timeout     = %g\n' %
                     (peer.host, self.dial or "%s:%d" % (peer.address, PORT),
                      fingerprint or peer.mailfs.fingerprint(), self.timeout))
            for key in ("bandwidth", "compress"):
                if getattr(self, key):
                    text += '        %-11s = "%s"\n' % (key, getattr(self, key))
            text += '    }\n'
        with open(self.conf, "w") as f:
            f.write(text + more + "}\n")

    def has_peer(self):
        """Somebody to listen for."""
        with open(self.conf) as f:
            return "fingerprint" in f.read()

    def ctl(self, *args, check=True, timeout=30):
        return self.node.run(program("mailfsctl"), "-c", self.conf, *args, check=check,
                             timeout=timeout)

    def status(self):
        """This volume's part of `mailfsctl status --json`, or None if there is no answer."""
        try:
            done = self.ctl("status", "--json", check=False, timeout=10)
            everything = json.loads(done.stdout)
            volume = [v for v in everything["volumes"] if v["name"] == "mail"][0]
        except (OSError, util.Fail, ValueError, KeyError, IndexError, TypeError):
            return None
        volume["node"] = everything.get("node")
        return volume

    def marks(self, build):
        """A line for each: "generation path"."""
        return util.run([os.path.join(build, "tests", "faults", "tool_marks"), self.state]).stdout.splitlines()

    def mounted(self):
        """Is there a mount at the mount point, alive or stale?"""
        with open("/proc/self/mountinfo") as f:
            return any(line.split()[4] == self.node.mount for line in f)

    def serving(self):
        # not by the mount's id: the kernel uses ids again
        try:
            os.statvfs(self.node.mount)     # ENOTCONN: a stale one; stat() has a cache
        except OSError:
            return False
        return self.mounted()

    def start_mount(self, timeout=15):
        self.mountd.start()
        util.poll(lambda: "%s: mount at %s: %s" % (
            self.node.host, self.node.mount, util.tail(self.node.log("mailfs"))[-3:]),
            lambda: self.serving() if self.mountd.running() else self.mountd.must_run(), timeout)

    def start_syncd(self, timeout=15):
        self.syncd.start()
        # without a peer there is nothing to listen for
        util.poll(self.node.host + ": syncd listening", lambda: self.syncd.must_run() and (
            self.node.listening(PORT) if self.has_peer() else self.status()), timeout)
