"""The run directory, and taking down what is recorded in it.

Every namespace, mount and daemon is written to the file `made` of the run directory before
it is made, one "kind value" a line; tear-down works from that list alone, so that the test
itself and the program `reap`, much later, do the same.  Processes are found by the network
namespaces they live in, which are ours alone; no process is looked for by name.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import tempfile

from . import util

PREFIX = "mailfs-lab-"
_LIBC = ctypes.CDLL(None, use_errno=True)


def base():
    return os.environ.get("LAB_TMP") or tempfile.gettempdir()


def create():
    """Make a run directory, owned by this process."""
    path = tempfile.mkdtemp(prefix=PREFIX, dir=base())
    os.chmod(path, 0o755)
    # at once: a run that has no owner yet is left alone by reap(), one whose owner cannot be read is not
    with open(os.path.join(path, "owner.new"), "w") as f:
        f.write("%d %d\n" % (os.getpid(), util.proc_stat(os.getpid())[1]))
    os.rename(os.path.join(path, "owner.new"), os.path.join(path, "owner"))
    return path


def tag(path):
    """The unique part of its name, for names of things outside of it."""
    return os.path.basename(path)[len(PREFIX):]


def record(path, kind, value):
    with open(os.path.join(path, "made"), "a") as f:
        f.write("%s %s\n" % (kind, value))


def made(path, kind):
    try:
        with open(os.path.join(path, "made")) as f:
            pairs = [line.rstrip("\n").split(" ", 1) for line in f]
    except OSError:
        return []
    return [p[1] for p in pairs if len(p) == 2 and p[0] == kind]


def save(path, name, value):
    with open(os.path.join(path, name + ".new"), "w") as f:
        json.dump(value, f, indent=1)
    os.rename(os.path.join(path, name + ".new"), os.path.join(path, name))


def load(path, name):
    with open(os.path.join(path, name)) as f:
        return json.load(f)


def netns_pids(name):
    """The processes in a network namespace of that name."""
    try:
        inode = os.stat("/run/netns/" + name).st_ino
    except OSError:
        return []
    pids = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if os.stat("/proc/%s/ns/net" % entry).st_ino == inode:
                    pids.append(int(entry))
            except OSError:
                pass
    return pids


def mounts_below(path, kind=""):
    """Mount points at or below path, of file systems whose type begins so, innermost first."""
    points = []
    with open("/proc/self/mountinfo") as f:
        for line in f:
            point = line.split()[4].encode().decode("unicode_escape")
            if not line.partition(" - ")[2].startswith(kind):
                continue
            if point == path or point.startswith(path.rstrip("/") + "/"):
                points.append(point)
    return points[::-1]


def take_away(point):
    """Unmount, whatever is stuck there.

    Forced: a daemon that was killed while a thread of its own waited in the kernel for an answer from
    it does not end before its connection is, nor do those who work in the mount.
    """
    force, detach = 1, 2
    if _LIBC.umount2(point.encode(), force | detach) != 0:
        error = ctypes.get_errno()
        raise OSError(error, "umount %s: %s" % (point, os.strerror(error)))


def take_mounts_away(path, kind="fuse."):
    """The FUSE mounts below path, innermost first."""
    for point in mounts_below(path, kind):
        with contextlib.suppress(OSError):
            take_away(point)


def recorded_pids(path):
    """Daemons by their recorded pids and start times."""
    pids = []
    for value in made(path, "pid"):
        pid, start = (int(x) for x in value.split())
        if util.proc_alive(pid, start):
            pids.append(pid)
    return pids


def remove_tree(path):
    """Delete a run directory, but nothing that is (still) mounted below it."""
    if mounts_below(path):
        raise util.Fail("%s has mounts below it; not removed" % path)
    shutil.rmtree(path, ignore_errors=True)


def destroy(path, keep=False):
    """Kill, unmount and delete what the run directory records; return what would not go."""
    errors = []
    names = made(path, "netns")

    def step(function, *args):
        try:
            function(*args)
        except (util.Fail, OSError) as error:
            errors.append(str(error))

    def pids():
        return recorded_pids(path) + [p for n in names for p in netns_pids(n)]

    step(util.kill_all, pids, "run " + path, 10.0, lambda: take_mounts_away(path))
    for point in mounts_below(path):
        step(take_away, point)
    for name in names:
        if os.path.exists("/run/netns/" + name):
            step(util.run, ["ip", "netns", "delete", name])
    if not errors and not keep:
        step(remove_tree, path)
    return errors


def owner_alive(path):
    try:
        with open(os.path.join(path, "owner")) as f:
            pid, start = (int(x) for x in f.read().split())
    except (OSError, ValueError):
        return False
    return util.proc_alive(pid, start)


def reap(report=lambda text: None):
    """Take down every run whose owner is gone; return the number of errors."""
    bad = 0
    for entry in sorted(os.listdir(base())):
        path = os.path.join(base(), entry)
        if not entry.startswith(PREFIX) or not os.path.isdir(path) or owner_alive(path):
            continue
        if not os.path.exists(os.path.join(path, "owner")):
            continue
        kept = os.path.exists(os.path.join(path, "kept"))
        errors = destroy(path, keep=kept)
        bad += len(errors)
        report("%s %s%s" % ("kept" if kept else "reaped", path, "".join("\n  " + e for e in errors)))
    return bad


def end_on_signals():
    """SIGTERM and SIGHUP end the run as ^C does: through the finally clauses."""
    def handler(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)
    # a background job of a script comes with SIGINT ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def deaf_to_signals():
    """For the tear-down itself: an impatient second ^C must not leave half of it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
