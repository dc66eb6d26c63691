"""Waiting for conditions, processes, commands."""

import contextlib
import os
import signal
import subprocess
import threading
import time


class Fail(Exception):
    """The behaviour under test is not there."""


class Skip(Exception):
    """The test cannot run here; the reason is shown, and counted."""


def now():
    return time.monotonic()


def poll(what, condition, timeout=10.0, interval=0.02):
    """Call condition() until it returns something true, and return that.

    `what` names the thing waited for in the failure; a callable is asked only then.
    """
    deadline = now() + timeout
    while True:
        value = condition()
        if value:
            return value
        if now() >= deadline:
            raise Fail("not within %.1f s: %s" % (timeout, what() if callable(what) else what))
        time.sleep(interval)
        interval = min(interval * 1.3, 0.25)


def run(argv, check=True, timeout=30, text=None, env=None):
    """Run a command to its end; return the CompletedProcess with stdout and stderr as text."""
    try:
        done = subprocess.run(argv, input=text, stdin=None if text is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              env=env, universal_newlines=True, errors="replace")
    except subprocess.TimeoutExpired:
        raise Fail("%s: not done, or its output not closed, after %g s" % (
            " ".join(argv), timeout)) from None
    if check and done.returncode != 0:
        raise Fail("%s: exit %d: %s" % (" ".join(argv), done.returncode,
                                        (done.stderr or done.stdout).strip()[-2000:]))
    return done


def proc_stat(pid):
    """(state letter, start time) of a process, or None if there is none."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return fields[0], int(fields[19])


def proc_alive(pid, start=None):
    """Is it running (a zombie is not), and still the same process?

    A zombie whose other threads are still ending holds its files: /dev/fuse is not closed yet.
    """
    stat = proc_stat(pid)
    if not stat or stat[0] == "X" or (start is not None and stat[1] != start):
        return False
    if stat[0] != "Z":
        return True
    try:
        return len(os.listdir("/proc/%d/task" % pid)) > 1
    except OSError:
        return False


def proc_signal(pid, sig, start=None):
    if proc_alive(pid, start):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


_CHILDREN = []


def reap_children():
    """Collect exited children that nobody waits for (daemons started with -f)."""
    for child in list(_CHILDREN):
        if child.poll() is not None:
            with contextlib.suppress(ValueError):   # another thread was first
                _CHILDREN.remove(child)


def spawn(argv, log, env=None):
    """Start a daemon that stays in the foreground; its output goes to the file `log`."""
    reap_children()
    with open(log, "ab") as out:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 start_new_session=True, env=env)
    _CHILDREN.append(child)
    return child.pid


def kill_all(list_pids, what, timeout=10.0, then=lambda: None):
    """SIGKILL whatever list_pids() returns until it returns nothing; then() after each round."""
    def gone():
        pids = [p for p in list_pids() if proc_alive(p)]
        for pid in pids:
            proc_signal(pid, signal.SIGKILL)
        then()
        reap_children()
        return not pids
    poll(lambda: "%s still has %s" % (what, describe(list_pids())), gone, timeout)


def describe(pids):
    out = []
    for pid in pids:
        try:
            with open("/proc/%d/comm" % pid) as f:
                out.append("%s[%d]%s" % (f.read().strip(), pid, (proc_stat(pid) or "?")[0]))
        except OSError:
            pass
    return ", ".join(out) or "nothing"


JOIN = 55       # seconds


class Thread(threading.Thread):
    """A thread whose exception is raised by join(), and whose result that returns."""

    def __init__(self, function, *args, **kwargs):
        super().__init__(daemon=True)
        self.call, self.value, self.error = (function, args, kwargs), None, None
        self.start()

    def run(self):
        function, args, kwargs = self.call
        try:
            self.value = function(*args, **kwargs)
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def join(self, timeout=JOIN):
        super().join(timeout)
        if self.is_alive():
            raise Fail("a client thread (%s) has not come back" % self.call[0].__name__)
        if self.error:
            raise self.error
        return self.value


def parallel(*calls):
    """Run callables at once; return their results, or raise an error when all of them have ended."""
    threads = [Thread(call) for call in calls]
    for thread in threads:
        threading.Thread.join(thread, JOIN)
    return [t.join() for t in threads]


def tail(path, offset=0, lines=30):
    """The last lines of a file after offset."""
    try:
        with open(path, errors="replace") as f:
            f.seek(offset)
            return f.read()[-100000:].splitlines()[-lines:]
    except OSError:
        return []


def flip(path, at=-20):
    """One bit, in place; size and time stay."""
    stat = os.stat(path)
    with open(path, "r+b") as f:
        f.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def content(path):
    with open(path, "rb") as f:
        return f.read()
