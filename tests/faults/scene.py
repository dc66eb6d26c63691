"""The pair on which the scenario is run: undisturbed, to find its points, and once for each of them."""

import os
import re
import shutil
import sys
import tempfile
import traceback

from lab import case, points, util, watch
from lab.pair import Pair

from . import phases

# Dovecot's words for a mount that went away under it
DISTURBED = r"Transport endpoint|Software caused|killed with signal"
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
    """One pair after the other: a new one after each failure. error: what a step fails with, None: a kill."""

    def __init__(self, build, error):
        self.build, self.error = os.path.realpath(build), error
        self.tmp = tempfile.mkdtemp(prefix="mailfs-faults-")
        os.environ["LAB_BIN"] = points.bindir(self.build, os.path.join(self.tmp, "bin"))
        os.environ["FAULT_DIR"] = self.tmp
        self.sites = points.Sites(self.build)
        self.pair = None

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
            self.sites.learn(daemon, steps)
            for step in steps:
                names = tuple(f for f, _at in self.sites.frames(daemon, step)[:3])
                phase = phases.ALL[step.phase].name()
                if all(phase == NOW_AND_THEN.get(n, phase) for n in names):
                    point = Point(phase, node, daemon, step, names)
                    found.setdefault(point.key, point)
        return found

    # --- one point ----------------------------------------------------------------------------

    def arm(self, point, when):
        armed = self.points[point.node, point.daemon]
        where = {"op": point.step.op, "cls": point.step.cls, "site": point.step.where}
        if self.error:
            armed.arm(points.FAIL, error=points.errors()[self.error], **where)
        else:
            armed.arm(points.ACTIONS[when], **where)
        return armed

    def come_to(self, point, when):
        """The phase, with that happening at the point: (did it come to it?, messages that are there twice)."""
        self.up()
        test = self.test(str(point))
        run = {p.name(): p for p in phases.ALL}[point.phase](self.pair, self.watch)
        run.prepare()
        for user in run.all:
            user.kills = not self.error
        armed = self.points[point.node, point.daemon]
        self.watch.armed = armed if point.daemon == "mailfs" else None
        self.arm(point, when)
        try:
            run.act()
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

    def explain(self, error):
        if not isinstance(error, util.Fail):
            traceback.print_exc(file=sys.stdout)
        self.watch.explain()
        self.pair.report_failure(lines=int(os.environ.get("LAB_LINES", "14")))
