"""What is measured: native ext4, the peers, and mailfs in its ways; brought up and taken down alike.

A backend has `name`; `root`, an empty directory of the mail user on which the work is done; `mount`,
the FUSE mount that root lies in, or None; argv(), which puts a command into the namespaces where
root can be seen; pids(), the processes whose time and memory it costs.  Everything is recorded in a
run directory of the lab (tests/lab/rundir.py), so that a run that was killed is taken down by the
next one, or by tests/lab/reap.

Each server's mail, and what a program keeps about it, lies on a disk of its own: an ext4 as mkfs.ext4 makes it, with a
journal and an inode for each 4 KiB, in a file. What this machine has its own files on may be anything: an ext4 without a
journal flushes twice as fast.
"""

import functools
import os
import re
import shutil
import time

from lab import disk, mailfs, net, node, pair, rundir, util
from lab.dovecot import GID, UID

DISK = 3 << 30  # bytes; it is a file with holes
THREADS = 32    # of an empty server: more than ever wait at once
OPTIONS = dict(pair.OPTIONS, postfix=False, dovecot=False, brake="0", disk=DISK)


def mail_dir(path):
    os.makedirs(path, exist_ok=True)
    os.chown(path, UID, GID)
    return path


class Backend:
    name, mount, root = None, None, None

    @functools.cached_property
    def run_dir(self):
        """Made when it is needed: there are backends that do not come to that."""
        return rundir.create()

    def up(self):
        raise NotImplementedError

    def down(self):
        with rundir.deaf_to_signals():
            for error in rundir.destroy(self.run_dir) if "run_dir" in self.__dict__ else []:
                print("    tear-down of %s: %s" % (self.name, error), flush=True)

    def disk(self, name):
        """A directory of the mail user, which is all that is on a disk."""
        top = os.path.join(self.run_dir, name)
        os.mkdir(top)
        disk.ext4_at(top, top + ".image", DISK, *disk.FOR_MAIL)
        return mail_dir(os.path.join(top, "mail"))

    def argv(self, *command):
        return list(command)

    def pids(self):
        """{name: pid} of its daemons."""
        return {}

    def device(self):
        """st_dev of the mount, by which the kernel's events know it."""
        return None if self.mount is None else os.stat(self.mount).st_dev

    def settle(self):
        """Until nothing that was done before is still under way."""


class Native(Backend):
    name = "ext4"

    def up(self):
        self.root = self.disk("native")


class Bindfs(Backend):
    name = "bindfs"

    def up(self):
        if not shutil.which("bindfs"):
            raise util.Skip("bindfs is not installed")
        self.mount = self.root = os.path.join(self.run_dir, "bindfs")
        os.mkdir(self.mount)
        self.pid = start_bindfs(self.run_dir, self.source(), self.mount)

    def source(self):
        return self.disk("source")

    def pids(self):
        return {"bindfs": self.pid}


def start_bindfs(run_dir, source, mount):
    pid = util.spawn(["bindfs", "-f", "--multithreaded", source, mount],
                     os.path.join(run_dir, "bindfs.log"))
    rundir.record(run_dir, "pid", "%d %d" % (pid, util.proc_stat(pid)[1]))
    util.poll("bindfs at " + mount, lambda: os.path.ismount(mount))
    return pid


class Empty(Backend):
    """The least that a server on /dev/fuse can be (bench_empty.c): what mailfs could come to, at best."""

    name = "empty"
    second = False      # what is synced is on the disk of a second process, too

    def __init__(self, load):
        self.load = load

    def up(self):
        self.mount = self.root = os.path.join(self.run_dir, "empty")
        os.mkdir(self.mount)
        more = [self.disk("second")] if self.second else []
        self.served = start_empty(self.load, self.run_dir, self.disk("source"), self.mount, *more)

    def pids(self):
        return self.served


class EmptyPair(Empty):
    name, second = "empty pair", True


def start_empty(load, run_dir, source, mount, *second):
    """{name: pid}."""
    pid = util.spawn([os.path.join(load.dir, "bench_empty"), source, mount, str(UID), str(GID), str(THREADS),
                      *second], os.path.join(run_dir, "empty.log"))
    rundir.record(run_dir, "pid", "%d %d" % (pid, util.proc_stat(pid)[1]))
    util.poll("bench_empty at " + mount, lambda: os.path.ismount(mount))
    if not second:
        return {"empty": pid}
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return {"empty": pid, "second": int(f.read())}


class Gluster(Backend):
    """Replica 2, both bricks on this machine, as `gluster volume create` makes it."""

    name = "gluster"
    slow = 4        # a quarter of the operations: its rounds would take all the time
    ADDRESS = "10.77.9.1"
    OWN = ("/var/lib/glusterd", "/run/gluster", "/var/log/glusterfs")

    def up(self):
        if not shutil.which("glusterd"):
            raise util.Skip("glusterfs-server is not installed")
        self.bricks = [os.path.join(self.disk("brick%d" % i), "brick") for i in (1, 2)]
        self.space = "mfl-%s-g" % rundir.tag(self.run_dir)
        rundir.record(self.run_dir, "netns", self.space)
        util.run(["ip", "netns", "add", self.space])
        # the mounts below are seen in a namespace that this process keeps
        self.keeper = util.spawn(["nsenter", "--net=/run/netns/" + self.space, "unshare", "--mount",
                                  "--propagation", "private", "sleep", "infinity"],
                                 os.path.join(self.run_dir, "keeper.log"))
        own = os.stat("/proc/self/ns/mnt").st_ino
        util.poll("a mount namespace", lambda: os.stat(
            "/proc/%d/ns/mnt" % self.keeper).st_ino != own)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", self.ADDRESS + "/24", "dev", "lo")
        for path in self.OWN:
            os.makedirs(path, exist_ok=True)
            self.run("mount", "-t", "tmpfs", "none", path)
        self.start_volume()
        self.mount = os.path.join(self.run_dir, "gluster")
        os.mkdir(self.mount)
        self.run("glusterfs", "--volfile-server=" + self.ADDRESS, "--volfile-id=v", self.mount)
        self.root = os.path.join(self.mount, "root")
        util.poll("gluster at " + self.mount, lambda: self.run(
            "install", "-d", "-o", str(UID), "-g", str(GID), self.root, check=False).returncode == 0)

    def start_volume(self):
        self.run("glusterd", "--pid-file=" + os.path.join(self.run_dir, "glusterd.pid"))
        util.poll("glusterd", lambda: self.run("gluster", "peer", "status",
                                               check=False).returncode == 0, timeout=30)
        self.run("gluster", "--mode=script", "volume", "create", "v", "replica", "2",
                 *("%s:%s" % (self.ADDRESS, b) for b in self.bricks), "force")
        self.run("gluster", "--mode=script", "volume", "start", "v", timeout=60)

    def argv(self, *command):
        return ["nsenter", "--net=/run/netns/" + self.space,
                "--mount=/proc/%d/ns/mnt" % self.keeper, *command]

    def run(self, *command, **kwargs):
        return util.run(self.argv(*command), **kwargs)

    def device(self):
        return int(self.run("stat", "-c", "%d", self.mount).stdout)

    def pids(self):
        found = {}
        for pid in rundir.netns_pids(self.space):
            name = name_of(pid)
            if name != "sleep":
                found["%s-%d" % (name, pid)] = pid
        return found


class Alone(Backend):
    """mailfs and syncd without a peer."""

    def __init__(self, access="checked"):
        self.name = "alone" if access == "checked" else "alone " + access
        self.options = dict(OPTIONS, backend="mailfs", access=access)

    def up(self):
        self.node = node.Node(self.run_dir, "a", self.options)
        os.makedirs(self.node.dir)
        self.node.prepare()
        self.fill()
        self.node.start()
        self.root, self.mount = mail_dir(self.node.home("bench")), self.node.mount

    def fill(self):
        """Before it is mounted: what is in the store already."""

    def pids(self):
        return ours(self.node)


class Pair(Backend):
    """Two nodes; the work is done on the one that dials, both are counted.

    delay: one way, in microseconds, by a relay between them.
    """

    def __init__(self, commit="disk", delay=0, relay=None, access="checked"):
        self.name, self.delay, self.relay = "pair " + commit, delay, relay
        if access != "checked":
            self.name += " " + access
        self.options = dict(OPTIONS, commit=commit, start=False, access=access)
        self.options.pop("backend")

    def up(self):
        self.both = pair.Pair(self.run_dir, **self.options)
        self.both.up()
        a = self.node = self.both.a
        if self.delay:
            self.start_relay(a)
        util.parallel(a.start, self.both.b.start)
        self.both.wait_in_sync()
        self.root, self.mount = mail_dir(a.home("bench")), a.mount
        self.both.wait_path(self.both.b, "bench")

    def start_relay(self, a):
        """The one that dials is told the relay's address."""
        pid = util.spawn(a.argv(self.relay, "7401", self.both.b.address, str(mailfs.PORT),
                                str(self.delay)), a.log("relay"))
        util.poll("the relay listens", lambda: a.listening(7401))
        rundir.record(self.run_dir, "pid", "%d %d" % (pid, util.proc_stat(pid)[1]))
        with open(a.mailfs.conf) as f:
            text = f.read()
        with open(a.mailfs.conf, "w") as f:
            f.write(text.replace("%s:%d" % (self.both.b.address, mailfs.PORT), "127.0.0.1:7401"))

    def pids(self):
        return {"%s %s" % (n, x.letter): p for x in self.both.nodes for n, p in ours(x).items()}

    def settle(self):
        """What was done has arrived at the peer and is applied there."""
        def quiet(x):
            status = x.status() or {}
            return status.get("state") == "in-sync" and not status.get("pending_messages")
        for x in self.both.nodes:
            util.poll(lambda x=x: "%s quiet: %s" % (x.host, x.status()), lambda x=x: quiet(x), 60)


class RsyncLoop(Backend):
    """Two directories and rsync, over and over, with so many messages in place."""

    name = "rsync"
    PLACED = 5000

    def up(self):
        if not shutil.which("rsync"):
            raise util.Skip("rsync is not installed")
        self.root, self.peer = self.disk("from"), self.disk("to")
        # in a network of their own, so that tear-down finds all of them
        space = "mfl-%s-r" % rundir.tag(self.run_dir)
        rundir.record(self.run_dir, "netns", space)
        util.run(["ip", "netns", "add", space])
        loop = "while :; do rsync -a --delete %s/ %s/; done" % (self.root, self.peer)
        self.pid = util.spawn(["nsenter", "--net=/run/netns/" + space, "sh", "-c", loop],
                              os.path.join(self.run_dir, "rsync.log"))

    def pids(self):
        return {"rsync": self.pid}


def name_of(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return ""


def ours(node):
    """mailfs (who keeps the mount, and who serves it) and syncd of a node: {name: pid}."""
    found = {}
    for pid in sorted(node.space.pids()):
        name = name_of(pid)
        if name.startswith("mailfs"):
            name = name.replace("mailfs-syncd", "syncd")
            found[name + "'" * sum(n.startswith(name) for n in found)] = pid
    return found


def cpu_seconds(pids):
    """Time of these processes so far, user and system, with that of ended children."""
    ticks = 0
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_memory(pid):
    """Greatest resident size so far, in bytes."""
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read()).group(1)) * 1024


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3\n")
    time.sleep(0.05)
