"""The pair on which the scenario is run: undisturbed, to find its points, and once for each of them."""

import os
import re
import shutil
import signal
import sys
import tempfile
import traceback

from lab import acts, case, points, util, watch
from lab.pair import Pair

from . import phases

# Dovecot's words for a mount that went away under it
DISTURBED = r"Transport endpoint|Software caused|killed with signal"
# Dovecot could not write its list: it reads it again, and finds there what was before
NOT_WRITTEN = r"dovecot-uidlist: next_uid was lowered"
# Done now and then, in whatever phase that falls: taken in the phase that always has them
NOW_AND_THEN = {"checkpoint": "stop", "marks_clear": "stop", "marks_generation_raise": "stop",
                "stage_checkpoint_done": "stop"}


class Point:
    """A step of a phase, by the functions (names) that led to it."""

    def __init__(self, phase, node, daemon, step, names):
        self.phase, self.node, self.daemon = phase, node, daemon
        self.step, self.names = step, tuple(names)

    @property
    def kind(self):
        return self.daemon, self.step.op, self.step.cls, self.names

    @property
    def key(self):
        return (self.phase, self.node) + self.kind

    def __str__(self):
        return "%s: %s of %s: %s %s (%s)" % (self.phase, self.daemon, self.node, self.step.op,
                                            self.step.cls, " < ".join(self.names))

    def written(self):
        """For JSON; read() makes a Point of it, of the same build."""
        return [self.phase, self.node, self.daemon, list(self.step), list(self.names)]

    @classmethod
    def read(cls, written):
        phase, node, daemon, step, names = written
        return cls(phase, node, daemon, points.Step(*step), names)


class Lab:
    """One pair after the other: a new one after each failure."""

    def __init__(self, build):
        self.build = os.path.realpath(build)
        self.tmp = tempfile.mkdtemp(prefix="mailfs-faults-")
        os.environ["LAB_BIN"] = points.bindir(self.build, os.path.join(self.tmp, "bin"))
        os.environ["FAULT_DIR"] = self.tmp
        self.sites = points.Sites(self.build)
        self.pair, self.recorded = None, {}     # daemon: its steps

    def up(self):
        if self.pair is not None:
            return
        self.pair = Pair(timeout=1, postfix=False)
        self.points = {(n.letter, d): points.Points(self.tmp, n, d)
                       for n in self.pair.nodes for d in points.PROGRAMS}
        self.pair.up()
        self.watch = watch.Watch(self.pair)

    def down(self, failed=False):
        if self.pair is not None:
            self.watch.end()
            self.pair.down(failed)
        self.pair = None

    def end(self):
        self.down()
        shutil.rmtree(self.tmp)

    def test(self, name):
        test = case.Test(name, self.pair)
        test.forgive(DISTURBED)
        return test

    # --- counting ---------------------------------------------------------------------------

    def undisturbed(self, phase, number):
        run = phase(self.pair, self.watch)
        run.prepare()
        for p in self.points.values():
            p.record(number)
        try:
            run.act()
            self.watch.wait_quiet()
        finally:
            for p in self.points.values():
                p.record(None)
        run.verify()
        self.watch.wait_quiet()
        self.watch.wait_no_marks(self.build)

    def count(self, rounds, names=()):
        """{key: Point} of what the undisturbed scenario does, or those phases of it."""
        self.up()
        for _ in range(rounds):
            for number, phase in enumerate(phases.ALL):
                if not names or phase.name() in names:
                    self.undisturbed(phase, number)
        found = {}
        for (node, daemon), p in self.points.items():
            steps = p.steps()
            self.recorded.setdefault(daemon, []).extend(steps)
            self.sites.learn(daemon, steps)
            for step in steps:
                names = tuple(f for f, _at in self.sites.frames(daemon, step)[:3])
                phase = phases.ALL[step.phase].name()
                if all(phase == NOW_AND_THEN.get(n, phase) for n in names):
                    point = Point(phase, node, daemon, step, names)
                    found.setdefault(point.key, point)
        return found

    # --- one point ----------------------------------------------------------------------------

    def come_to(self, point, fault):
        """The phase, with the fault at the point: (did it come to it?, messages that are there twice)."""
        self.up()
        test = self.test(str(point))
        run = {p.name(): p for p in phases.ALL}[point.phase](self.pair, self.watch)
        run.prepare()
        for user in run.all:
            user.kills = fault.kill
            if not fault.kill:
                user.patience = user.answer = acts.STALE
        if not fault.kill and point.daemon == "mailfs" and point.step.cls == "dovecot-uidlist":
            test.forgive(NOT_WRITTEN)
        armed = self.points[point.node, point.daemon]
        self.watch.armed = armed if point.daemon == "mailfs" and fault.kill else None
        fault.arm(armed, point.step)
        try:
            run.act()
            if point.step.op == "syncfs" and not fault.kill:
                self.start_anew(armed)
            self.watch.wait_quiet()
        finally:
            done = armed.disarm()
            self.watch.armed = None
        self.watch.wait_quiet()
        run.verify()
        self.watch.wait_no_marks(self.build)
        test.check_logs()
        twice = set().union(*(user.doubled for user in run.all))
        if len(twice) > 1:
            raise util.Fail("more than one message is there twice: %s" % " ".join(sorted(twice)))
        return done > 0, len(twice)

    def start_anew(self, armed):
        """After a sync that failed nothing can be said to be durable any more: no checkpoint until then."""
        try:
            points.wait_done(armed)
        except util.Fail:
            return      # it did not come to it
        self.watch.stopped(armed.node, "syncd", signal.SIGTERM)

    def explain(self, error):
        if not isinstance(error, util.Fail):
            traceback.print_exc(file=sys.stdout)
        self.watch.explain()
        self.pair.report_failure(lines=int(os.environ.get("LAB_LINES", "14")))
