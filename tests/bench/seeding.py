"""Filling a second server: mailfs beside rsync, lsyncd, unison and csync2, over one cable.

Each has the same mail at one node and nothing at the other.  Measured: until all is there; until so many new
messages are, which came while the two were apart (lsyncd: while it runs); and a pass that finds nothing to
do.  CPU is that of both ends, memory the most that all their processes had at once.
"""

import json
import os
import random
import shutil
import socket
import threading
import time

from lab import dovecot, net, node, pair, rundir, util

import backends
import report

MESSAGES, NEW, USERS = 50000, 5000, 200
SIZES = (2, 4, 4, 4, 8, 8, 16, 32)      # KiB; about 10 on the average
PORT = 7490
PATIENCE = 1800


# --- mail -------------------------------------------------------------------------------------------


def mailboxes(top, make=False):
    found = [os.path.join(top, "u%d" % n, "Maildir") for n in range(USERS)]
    for box in found if make else []:
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(box, sub))
    return found


def own(top):
    for where, _dirs, files in os.walk(top):
        for path in [where] + [os.path.join(where, name) for name in files]:
            os.chown(path, dovecot.UID, dovecot.GID)


def fill(top, count):
    """A server's mail: in cur/, and it does not compress any better than mail does."""
    rand = random.Random(1)
    noise = rand.randbytes(1 << 16).hex().encode()
    boxes = mailboxes(top, make=True)
    for n in range(count):
        name = "1700%06d.M%dP1.bench:2,S" % (n, n)
        size, at = 1024 * rand.choice(SIZES), rand.randrange(1 << 16)
        with open(os.path.join(boxes[n % USERS], "cur", name), "wb") as f:
            f.write(b"Message-ID: <%d@bench>\n\n" % n + noise[at:at + size])
    own(top)


def deliver(top, first, count):
    """New mail, as an MDA makes it (but for the fsync)."""
    boxes, text = mailboxes(top), b"x" * 8192
    for n in range(first, first + count):
        box, name = boxes[n % USERS], "1700%06d.M%dP2.bench" % (n, n)
        with open(os.path.join(box, "tmp", name), "wb") as f:
            f.write(b"Message-ID: <%d@bench>\n\n" % n + text)
            os.fchown(f.fileno(), dovecot.UID, dovecot.GID)
        os.rename(os.path.join(box, "tmp", name), os.path.join(box, "new", name))


def count(top):
    found = 0
    for box in mailboxes(top):
        for sub in ("cur", "new"):
            try:
                found += sum(1 for name in os.listdir(os.path.join(box, sub)) if name[0] != ".")
            except FileNotFoundError:
                pass
    return found


# --- measuring --------------------------------------------------------------------------------------


class Memory(threading.Thread):
    """The most that the processes of some network namespaces had at once, in bytes."""

    def __init__(self, spaces):
        super().__init__(daemon=True)
        self.spaces, self.most, self.ended = spaces, 0, threading.Event()
        self.start()

    def now(self):
        total = 0
        for space in self.spaces:
            for pid in space.pids():
                try:
                    with open("/proc/%d/statm" % pid) as f:
                        total += int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                except (OSError, IndexError):
                    pass
        return total

    def run(self):
        while not self.ended.wait(0.2):
            self.most = max(self.most, self.now())

    def end(self):
        self.ended.set()
        self.join()
        return self.most


def child_seconds():
    t = os.times()
    return t.children_user + t.children_system


class Side(backends.Backend):
    """Two nodes' network with a directory of mail on the first and none on the second."""

    def __init__(self, messages):
        self.messages, self.new = messages
        self.spaces, self.daemons = [], []

    def up(self):
        options = dict(pair.OPTIONS, backend="mailfs")
        nodes = [node.Node(self.run_dir, letter, options) for letter in "ab"]
        self.spaces = [n.space for n in nodes]
        for n in nodes:
            os.makedirs(n.dir)
            n.space.create()
        net.connect(*self.spaces)
        self.here, self.there = self.disk("from"), self.disk("to")
        fill(self.here, self.messages)
        self.prepare()

    def daemon(self, space, *command, env=None):
        pid = util.spawn(space.argv(*command), os.path.join(self.run_dir, "daemon.log"),
                         env=dict(os.environ, **(env or {})))
        rundir.record(self.run_dir, "pid", "%d %d" % (pid, util.proc_stat(pid)[1]))
        self.daemons.append(pid)

    def write(self, name, text):
        path = os.path.join(self.run_dir, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def pass_(self, *command, env=None):
        util.run(self.spaces[0].argv(*command), timeout=PATIENCE, env=dict(os.environ, **(env or {})))

    def beside(self, mail, name):
        """A directory for what the server keeps about this mail, on its disk."""
        return backends.mail_dir(os.path.join(os.path.dirname(mail), name))

    def prepare(self):
        """What its passes need."""

    def sync(self):
        """One pass from here to there."""
        raise NotImplementedError

    def apart(self):
        """New mail comes while the other side does not hear of it."""
        deliver(self.here, self.messages, self.new)

    def seconds_used(self):
        return backends.cpu_seconds(self.daemons) + child_seconds()

    def measured(self, what, want):
        os.sync()
        backends.drop_caches()
        memory, cpu, start = Memory(self.spaces), self.seconds_used(), time.monotonic()
        what()
        seconds, cpu = time.monotonic() - start, self.seconds_used() - cpu
        found = {"seconds": seconds, "cpu": cpu, "memory": memory.end()}
        if count(self.there) != want:
            raise util.Fail("%s: %d messages arrived, not %d" % (self.name, count(self.there), want))
        return found

    def idle(self):
        """Before a pass that finds nothing; False: there is no such thing."""
        return True

    def measure(self, say):
        found = {"seed": self.measured(self.sync, self.messages)}
        say("seed: %s has brought over %d messages" % (self.name, self.messages))
        self.apart()
        everything = self.messages + self.new
        found["new"] = self.measured(self.sync, everything)
        if self.idle():
            found["nothing"] = self.measured(self.sync, everything)
        return found


# --- the peers --------------------------------------------------------------------------------------


class Rsync(Side):
    name = "rsync"

    def prepare(self):
        conf = self.write("rsyncd.conf", "port = %d\nuse chroot = no\nuid = root\ngid = root\n[mail]\n"
                          "path = %s\nread only = no\n" % (PORT, self.there))
        self.daemon(self.spaces[1], "rsync", "--daemon", "--no-detach", "--config=" + conf)
        self.listening()
        self.target = "rsync://%s:%d/mail/" % (self.spaces[1].address, PORT)

    def listening(self):
        util.poll("a daemon listening for " + self.name, lambda: util.run(self.spaces[1].argv(
            "ss", "-Hltn", "sport = :%d" % PORT)).stdout.strip(), 30)

    def sync(self):
        self.pass_("rsync", "-a", "--delete", self.here + "/", self.target)


class Lsyncd(Rsync):
    name = "lsyncd"

    def prepare(self):
        super().prepare()
        self.conf = self.write("lsyncd.conf", """settings { nodaemon = true, statusFile = "%s/status" }
sync { default.rsync, source = "%s", target = "%s", delay = 1, rsync = { archive = true } }
""" % (self.run_dir, self.here, self.target))

    def arrive(self, want):
        util.poll(lambda: "lsyncd: %d of %d" % (count(self.there), want),
                  lambda: count(self.there) == want, PATIENCE)

    def sync(self):
        if len(self.daemons) == 1:
            self.daemon(self.spaces[0], "lsyncd", self.conf)
            self.arrive(self.messages)
        else:
            deliver(self.here, self.messages, self.new)     # it would not look for it later
            self.arrive(self.messages + self.new)

    def apart(self):
        """It is told by inotify, or not at all."""

    def idle(self):
        return False


class Unison(Rsync):
    name = "unison"

    def prepare(self):
        self.env = [{"HOME": self.beside(mail, "home")} for mail in (self.here, self.there)]
        self.daemon(self.spaces[1], "unison", "-socket", str(PORT), env=self.env[1])
        self.listening()

    def sync(self):
        self.pass_("unison", self.here, "socket://%s:%d/%s" % (self.spaces[1].address, PORT, self.there),
                   "-batch", "-silent", "-prefer", self.here, "-owner", "-group", "-numericids", "-times",
                   "-confirmbigdel=false", env=self.env[0])


class Csync2(Rsync):
    name = "csync2"

    def prepare(self):
        key = self.write("key", "bench" * 13 + "\n")
        self.write("csync2.cfg", "nossl * *;\nlock-timeout 60;\ngroup mail {\n  host %s;\n  key %s;\n"
                   "  include %%mail%%;\n  auto first;\n}\nprefix mail {\n%s}\n" % (
                       " ".join("%s@%s" % (s.host, s.address) for s in self.spaces), key,
                       "".join("  on %s: %s;\n" % (s.host, d) for s, d in zip(
                           self.spaces, (self.here, self.there)))))
        self.base = [self.beside(mail, "base") for mail in (self.here, self.there)]
        self.env = {"CSYNC2_SYSTEM_DIR": self.run_dir}
        self.daemon(self.spaces[1], "csync2", "-ii", "-p", str(PORT), "-D", self.base[1], env=self.env)
        self.listening()

    def sync(self):
        self.pass_("csync2", "-x", "-p", str(PORT), "-D", self.base[0], env=self.env)


# --- mailfs -----------------------------------------------------------------------------------------


def is_in_sync(state):
    """As mailfsctl asks for it: whose start would cost more than the answer, and be in the seconds measured."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ctl:
        try:
            ctl.connect(os.path.join(state, "ctl.sock"))
            ctl.send(b"status")
            return json.loads(ctl.recv(1 << 17).decode())["volumes"][0]["state"] == "in-sync"
        except (OSError, ValueError, LookupError):
            return False


class Mailfs(Side):
    """A server that is in use, and a second one that comes to it; both serve all the while."""

    name = "mailfs"

    def up(self):
        options = dict(backends.OPTIONS, start=False)
        options.pop("backend")
        self.both = pair.Pair(self.run_dir, **options)
        self.both.up()
        a, b = self.both.nodes
        self.spaces = [a.space, b.space]
        fill(a.store, self.messages)
        self.here, self.there = a.mount, b.store
        a.start()

    def sync(self):
        if self.both.b.mailfs.syncd.running():
            self.both.heal_link()
        else:
            self.both.b.start()
        deadline = time.monotonic() + PATIENCE
        while not all(is_in_sync(n.mailfs.state) for n in self.both.nodes):
            if time.monotonic() > deadline:
                raise util.Fail("mailfs: not in-sync after %d s" % PATIENCE)
            time.sleep(0.02)

    def pids(self):
        return [p for n in self.both.nodes for p in backends.ours(n).values()]

    def seconds_used(self):
        return backends.cpu_seconds(self.pids())

    def part(self):
        self.both.cut_link(silent=False)
        for side in self.both.nodes:
            side.wait_state("alone")

    def apart(self):
        self.part()
        super().apart()

    def idle(self):
        self.part()
        return True


# --- the part ---------------------------------------------------------------------------------------

STEPS = (("seed", "{:,d} messages"), ("new", "{:,d} new ones"), ("nothing", "nothing to do"))


def one(bench, made, results, say):
    try:
        if made.name != "mailfs" and not shutil.which(made.name):
            raise util.Skip("it is not installed")
        for side in bench.bring_up([made]):
            results[side.name] = side.measure(say)
    except (util.Fail, util.Skip, OSError) as error:
        bench.skip("seeding by " + made.name, error)
    finally:
        made.down()


def show(results, messages):
    columns = [label.format(n) for (_step, label), n in zip(STEPS, messages + (0,))]
    for figure, title, form in (("seconds", "Seconds", "%.1f"), ("cpu", "CPU seconds of both ends", "%.1f"),
                                ("memory", "Most memory of both ends together, MiB", "%.0f")):
        rows = []
        for name, found in results.items():
            values = [found.get(step, {}).get(figure) for step, _label in STEPS]
            if figure == "memory":
                values = [v and v / 2**20 for v in values]
            rows.append((name, ["-" if v is None else form % v for v in values]))
        if rows:
            report.table("Filling a second server: " + title, columns, rows,
                         "mailfs: with the second it takes at most until it dials again"
                         if figure == "seconds" else "")


def part(bench, say):
    messages = int(MESSAGES * bench.options.scale), int(NEW * bench.options.scale)
    results = {}
    for kind in (Mailfs, Rsync, Lsyncd, Unison, Csync2):
        made = kind(messages)
        one(bench, made, results, say)
    bench.out["seeding"] = {"messages": messages[0], "new": messages[1], "figures": results}
    show(results, messages)
    say("seed: done")
