"""That the referee sees what it is there to see: views and stores made by hand, without any server."""

import os
import tempfile
import types
import unittest

from lab import mail, util

from . import faults, plan, referee
from .ledger import Folder, Ledger
from .witness import Witness

A = types.SimpleNamespace(letter="a")
B = types.SimpleNamespace(letter="b")


def row(ident, flags=(), digest="h", text_ident=None):
    return (tuple(flags), ident, "9", "date", "whole", digest, text_ident or ident)


class Judging(unittest.TestCase):
    """User u has INBOX with <1>, delivered at a, and <2> and the folder F."""

    def setUp(self):
        self.ledger = Ledger(["u"], 2.0)
        self.book = self.ledger.books["u"]
        self.inbox = self.book.folder("INBOX")
        self.work = self.ledger.folder_making("u", "F")
        self.ledger.folder_made(self.work, A)
        for ident in ("<1>", "<2>"):
            self.deliver(ident)

    def deliver(self, ident, answered=True, way="lmtp"):
        self.ledger.adding("u", self.inbox, ident, A, "h", way)
        if answered:
            self.ledger.added("u", self.inbox, ident)

    def found(self, inbox=("<1>", "<2>"), work=(), subscribed=(), **more):
        """What the referee says of a view: {what: number}, without what is 0."""
        rows = [r if isinstance(r, tuple) else row(r) for r in inbox]
        folders = {"INBOX": (1, dict(enumerate(rows, 1))), "F": (1, dict(enumerate(map(row, work), 1)))}
        folders.update(more)
        view = {"folders": {k: v for k, v in folders.items() if v}, "subscribed": list(subscribed)}
        count = referee.judge(self.ledger, faults.KINDS, "u", view).count
        return {what: n for what, n in count.items() if n}

    def test_right(self):
        self.assertEqual(self.found(), {})

    def test_missing(self):
        self.assertEqual(self.found(["<1>"]), {"missing": 1})
        self.assertEqual(self.found(["<1>"]), {}, "what is wrong is counted once")

    def test_tried_again(self):
        self.ledger.twice.append(("u", "<1>", util.now()))
        self.ledger.twice.append(("v", "<2>", util.now()))
        self.assertEqual(self.found(["<1>", "<1>", "<2>", "<2>"]), {"duplicated (allowed)": 1, "duplicated": 1})

    def test_tried_again_after_cut(self):
        """Cut off by a fault, and once more by something else."""
        self.deliver("<3>", way="smtp")
        self.book.messages["<3>"].sent -= 10
        self.fault("crash", [A], 9.5)
        self.ledger.left_queue("<3>", util.now() - 2)
        self.ledger.twice += [("u", "<3>", util.now() - 9), ("u", "<3>", util.now() - 5)]
        self.assertEqual(self.found(["<1>", "<2>"] + ["<3>"] * 5), {"duplicated (allowed)": 3, "duplicated": 1})

    def test_unsaved(self):
        """Cut off, then refused by LMTP once it was in new/, then taken."""
        self.deliver("<3>", way="smtp")
        self.ledger.outage("power", [A])
        self.ledger.unsaved.append("<3>")
        self.assertEqual(self.found(["<1>", "<2>"] + ["<3>"] * 5), {"duplicated (allowed)": 3, "duplicated": 1})

    def test_unanswered(self):
        self.deliver("<3>", answered=False)
        self.assertEqual(self.found(), {}, "it may be missing")
        self.deliver("<4>", answered=False)
        self.assertEqual(self.found(["<1>", "<2>", "<4>"]), {}, "or be there")
        self.assertEqual(self.found(), {"missing": 1}, "but not come and go")

    def test_duplicate(self):
        self.assertEqual(self.found(["<1>", "<1>", "<2>"]), {"duplicated": 1})

    def test_duplicate_of_cut(self):
        self.ledger.outage("cut", [A, B])
        self.deliver("<3>")
        self.assertEqual(self.found(["<1>", "<2>", "<3>", "<3>"]), {"duplicated": 1})

    def test_duplicate_allowed(self):
        self.deliver("<3>", answered=False)
        self.ledger.outage("kill-mailfs", [A])
        self.assertEqual(self.found(["<1>", "<2>", "<3>", "<3>"]), {"duplicated (allowed)": 1})

    def test_duplicate_later(self):
        """What the other node had prepared was published after the round."""
        self.deliver("<3>")
        self.ledger.outage("crash", [A])
        self.assertEqual(self.found(["<1>", "<2>", "<3>"]), {})
        self.ledger.new_round()
        self.assertEqual(self.found(["<1>", "<2>", "<3>", "<3>"]), {"duplicated (allowed)": 1})
        self.ledger.former = [(kind, letters, begin - 60) for kind, letters, begin in self.ledger.former]
        self.ledger.new_round()
        self.assertEqual(self.found(["<1>", "<2>", "<3>", "<3>", "<3>"]), {"duplicated": 1})

    def test_duplicate_queued(self):
        """Postfix took it long ago, and was killed while it delivered it."""
        for ident in ("<3>", "<4>"):
            self.deliver(ident, way="smtp")
            self.book.messages[ident].sent -= 40
            self.book.messages[ident].answered -= 40
        self.ledger.left_queue("<3>", util.now())
        self.ledger.left_queue("<4>", util.now() - 30)
        self.ledger.outage("kill-postfix", [A])
        self.assertEqual(self.found(["<1>", "<2>", "<3>", "<3>", "<4>", "<4>"]),
                         {"duplicated (allowed)": 1, "duplicated": 1})

    def test_duplicate_of_power(self):
        """Out of its queue for seconds: that a power cut undoes, and no kill."""
        for ident in ("<3>", "<4>"):
            self.deliver(ident, way="smtp")
            self.book.messages[ident].sent -= 8
            self.book.messages[ident].answered -= 8
            self.ledger.left_queue(ident, util.now() - 5)
        self.fault("kill-postfix", [A], 0)
        self.assertEqual(self.found(["<1>", "<2>", "<3>", "<3>", "<4>"]), {"duplicated": 1})
        self.fault("power", [A], 0)
        self.assertEqual(self.found(["<1>", "<2>", "<3>", "<3>", "<4>", "<4>"]), {"duplicated (allowed)": 1})

    def test_duplicate_elsewhere(self):
        self.deliver("<3>", answered=False)
        self.ledger.outage("kill-mailfs", [B])
        self.assertEqual(self.found(["<1>", "<2>", "<3>", "<3>"]), {"duplicated": 1})

    def test_damaged(self):
        self.assertEqual(self.found([row("<1>", digest="x"), "<2>"]), {"damaged": 1})
        self.assertEqual(self.found(["<1>", "<2>", "<alien>"]), {"damaged": 1})

    def test_other_body(self):
        self.assertEqual(self.found([row("<1>", text_ident="<2>"), "<2>"]), {"rebound": 1})

    def test_flags(self):
        self.ledger.storing("u", self.inbox, "<1>", "kw", True)
        self.assertEqual(self.found([row("<1>", ["kw"]), "<2>"]), {}, "not answered: may be")
        self.ledger.storing("u", self.inbox, "<1>", "kw", False)
        self.ledger.stored("u", self.inbox, "<1>", "kw", False, A)
        self.assertEqual(self.found([row("<1>", ["kw"]), "<2>"]), {"flags lost": 1})

    def marked_and_going(self, fault):
        """It is marked as deleted, and about to be expunged; one without that mark is there."""
        self.deliver("<3>")
        if fault:
            self.fault("kill-dovecot", [A], 1)
        self.ledger.removing("u", self.inbox, "<3>")
        self.ledger.storing("u", self.inbox, "<3>", "\\Deleted", True)
        self.ledger.stored("u", self.inbox, "<3>", "\\Deleted", True, B)
        return self.found(["<1>", "<2>", "<3>"])

    def test_expunge_unanswered(self):
        self.assertEqual(self.marked_and_going(False), {"flags lost": 1})

    def test_expunge_unanswered_of_two(self):
        self.assertEqual(self.marked_and_going(True), {}, "of two deliveries: the other one")

    def stored_after_rename(self, flag, seconds):
        """A flag that is asked for so long after its folder got another name, and lost."""
        self.ledger.adding("u", self.work, "<3>", B, "h", "append")
        self.ledger.added("u", self.work, "<3>")
        self.ledger.folder_renaming(self.work, "G")
        self.ledger.folder_renamed(self.work, "F", A)
        self.ledger.storing("u", self.work, "<3>", flag, True)
        self.work.former = [(when - seconds, name) for when, name in self.work.former]
        self.ledger.stored("u", self.work, "<3>", flag, True, B)
        return self.found(F=None, G=(1, {1: row("<3>")}))

    def test_keyword_while_renamed(self):
        self.assertEqual(self.stored_after_rename("kw", 0), {}, "Dovecot's")

    def test_flag_while_renamed(self):
        self.assertEqual(self.stored_after_rename("\\Seen", 0), {"flags lost": 1})

    def test_keyword_after_rename(self):
        self.assertEqual(self.stored_after_rename("kw", 5), {"flags lost": 1})

    def test_flags_full(self):
        self.ledger.outage("full", [A])
        self.ledger.storing("u", self.inbox, "<1>", "kw", True)
        self.ledger.stored("u", self.inbox, "<1>", "kw", True, A)
        self.assertEqual(self.found(), {})

    def cut_power(self, alone_since, both=False):
        self.ledger.storing("u", self.inbox, "<1>", "kw", True)
        self.ledger.stored("u", self.inbox, "<1>", "kw", True, A)
        self.ledger.power_cut(A, alone_since, both)
        return self.found()

    def test_flags_power(self):
        self.assertEqual(self.cut_power(None), {"flags lost": 1}, "in sync it is on both")

    def test_flags_power_alone(self):
        self.assertEqual(self.cut_power(1.0), {}, "nothing promises this")

    def test_flags_power_both(self):
        self.assertEqual(self.cut_power(None, both=True), {})

    def test_expunged(self):
        self.ledger.removing("u", self.inbox, "<1>")
        self.assertEqual(self.found(["<2>"]), {}, "not answered: may be")
        self.ledger.removing("u", self.inbox, "<2>")
        self.ledger.removed("u", self.inbox, "<2>", A)
        self.assertEqual(self.found(["<2>"]), {"came back": 1})

    def long_there(self):
        book = self.ledger.books["u"]
        for message in book.messages.values():
            message.sent, message.answered = message.sent - 60, message.answered - 60
        for copy in book.copies.values():
            copy.added, copy.answered = copy.added - 60, copy.answered - 60

    # Times below are seconds before now.

    def expunge(self, put, removed, ident="<2>"):
        self.ledger.removing("u", self.inbox, ident)
        self.ledger.removed("u", self.inbox, ident, A)
        one = self.book.copies[self.inbox, ident].removals[-1]
        one.begun, one.answered, one.when = util.now() - put - 0.1, util.now() - put, util.now() - removed
        self.book.gone[ident] = [one.when]

    def fault(self, kind, nodes, begin):
        """Of any kind, without what it does to the link."""
        self.ledger.outages.append((kind, frozenset(n.letter for n in nodes), util.now() - begin))

    def said(self, *words):
        for letter, word, before in words:
            self.ledger.link.said(letter, word, util.now() - before)

    def cut(self, begin):
        self.fault("cut", [A, B], begin)
        self.said(("a", "alone", begin - 2), ("b", "alone", begin - 2))

    def meet(self, begin, over=None):
        self.said(("a", "catching-up", begin), ("b", "catching-up", begin))
        if over is not None:
            self.said(("a", "in-sync", over), ("b", "in-sync", over))

    def kill(self, kind, nodes, begin):
        self.fault(kind, nodes, begin)
        for node in nodes:
            self.ledger.link.died(node.letter, util.now() - begin, kind == "power")

    def test_expunged_at_the_parting(self):
        self.cut(20)
        self.expunge(put=20.2, removed=19)
        self.assertEqual(self.found(), {"came back (allowed)": 1}, "that it had come was not acknowledged")

    def test_expunged_at_the_parting_and_known(self):
        self.cut(20)
        self.expunge(put=30, removed=19.5)
        self.assertEqual(self.found(), {"came back": 1}, "both had it in their bases")

    def test_expunged_long_after(self):
        self.cut(20)
        self.expunge(put=30, removed=10)
        self.assertEqual(self.found(), {"came back": 1})

    def test_put_and_expunged_long_after(self):
        self.cut(20)
        self.expunge(put=12, removed=10)
        self.assertEqual(self.found(), {"came back": 1}, "the other node never had it")

    def test_put_at_the_parting_expunged_long_after(self):
        self.cut(20)
        self.expunge(put=19, removed=10)
        self.assertEqual(self.found(), {"came back (allowed)": 1}, "it looks like one that came anew")

    def test_put_at_the_parting_expunged_in_sync(self):
        self.cut(20)
        self.meet(14, over=13)
        self.expunge(put=19, removed=10)
        self.assertEqual(self.found(), {"came back": 1})

    def test_expunged_without_a_fault(self):
        self.said(("a", "alone", 18), ("b", "alone", 18))
        self.expunge(put=19, removed=18)
        self.assertEqual(self.found(), {"came back": 1})

    def test_expunged_catching_up(self):
        """Put there when the nodes had met, in a mailbox still to be merged; the link ended again."""
        self.cut(30)
        self.meet(25)
        self.expunge(put=24, removed=21)
        self.assertEqual(self.found(), {"came back": 1})
        self.said(("a", "alone", 20), ("b", "alone", 20))
        self.expunge(put=24, removed=21)
        self.assertEqual(self.found(), {"came back (allowed)": 1})

    def test_half_of_a_merge(self):
        """Put there by a node that was alone; the merge of it was cut short."""
        self.cut(30)
        self.meet(20)
        self.said(("a", "alone", 15), ("b", "alone", 15))
        self.expunge(put=25, removed=14)
        self.assertEqual(self.found(), {"came back": 1}, "what one node has carried out is known")
        self.kill("kill-syncd", [A], 13)
        self.expunge(put=25, removed=14)
        self.assertEqual(self.found(), {"came back (allowed)": 1}, "but to a syncd that lives only")

    def test_killed_at_once(self):
        self.kill("kill-syncd", [A], 20)
        self.expunge(put=17, removed=15)
        self.expunge(put=30, removed=20, ident="<1>")
        self.assertEqual(self.found(), {"came back": 2}, "no merge was under way")

    def test_expunged_after_power(self):
        self.kill("power", [A], 20)
        self.expunge(put=25, removed=15)
        self.expunge(put=60, removed=15, ident="<1>")
        self.assertEqual(self.found(), {"came back (allowed)": 1, "came back": 1}, "the one since a checkpoint")

    def store(self, asked, ident="<1>"):
        self.ledger.storing("u", self.inbox, ident, "kw", True)
        self.ledger.stored("u", self.inbox, ident, "kw", True, A)
        self.book.copies[self.inbox, ident].asked["kw"] = util.now() - asked

    def test_both_died(self):
        self.long_there()
        self.kill("power", [A], 20)
        self.assertFalse(self.ledger.union())
        self.kill("power", [B], 15)
        self.ledger.began -= 60
        self.store(25)
        self.expunge(put=60, removed=25)
        self.assertEqual(self.found(), {"came back (allowed)": 1, "flags undone (allowed)": 1})

    def test_both_died_long_ago(self):
        """What each knows is of the last checkpoint, and what was done after both knew all again counts."""
        self.long_there()
        self.ledger.began -= 60
        self.kill("power", [A, B], 20)
        self.store(55)
        self.expunge(put=60, removed=55)
        self.assertEqual(self.found(), {"came back": 1, "flags lost": 1})
        self.meet(18, over=17)
        self.store(10)
        self.expunge(put=60, removed=10)
        self.assertEqual(self.found(), {"came back": 1, "flags lost": 1})

    def test_both_died_and_nobody_removed(self):
        self.kill("power", [A, B], 20)
        self.ledger.began -= 60
        self.assertEqual(self.found(["<1>", "<1>", "<2>"]), {"duplicated": 1})

    def test_apart(self):
        self.assertFalse(self.ledger.apart())
        self.cut(20)
        self.assertTrue(self.ledger.apart())
        self.meet(14, over=0.5)
        self.assertTrue(self.ledger.apart(), "what a log says may be late")
        self.ledger.link.times[-1].over -= 2
        self.assertFalse(self.ledger.apart())

    def test_both_killed(self):
        self.long_there()
        self.kill("kill-syncd", [A, B], 20)
        self.store(22)
        self.expunge(put=60, removed=20)
        self.assertEqual(self.found(), {"came back": 1, "flags lost": 1})

    def move(self, answered):
        self.ledger.adding("u", self.work, "<1>", A)
        self.ledger.removing("u", self.inbox, "<1>", moved=True)
        if answered:
            self.ledger.added("u", self.work, "<1>")
            self.ledger.removed("u", self.inbox, "<1>", A)

    def test_moved(self):
        self.move(True)
        self.assertEqual(self.found(["<2>"]), {"missing": 1})

    def test_move_unanswered(self):
        self.move(False)
        self.assertEqual(self.found(["<2>"]), {"missing": 1}, "in one of the two it must be")

    def test_move_half(self):
        self.move(False)
        self.assertEqual(self.found(["<1>", "<2>"], ["<1>"]), {})

    def test_removed_before_answered(self):
        self.deliver("<3>", answered=False)
        self.ledger.removing("u", self.inbox, "<3>")
        self.ledger.added("u", self.inbox, "<3>")
        self.ledger.removed("u", self.inbox, "<3>", B)
        self.assertEqual(self.found(), {})

    def test_folder(self):
        self.assertEqual(self.found(F=None), {"folders wrong": 1})
        self.assertEqual(self.found(Other=(1, {}), F=None), {"folders wrong": 1})

    def test_folder_renamed(self):
        self.ledger.folder_renaming(self.work, "G")
        self.assertEqual(self.found(F=None, G=(1, {})), {}, "not answered: may be")
        self.ledger.folder_renaming(self.work, "H")
        self.ledger.folder_renamed(self.work, "G", A)
        self.assertEqual(self.found(F=None, G=(1, {})), {"folders wrong": 2})

    def test_folder_deleted(self):
        self.ledger.folder_deleting("u", self.work)
        self.ledger.folder_deleted("u", self.work, A)
        self.assertEqual(self.found(), {"folders wrong": 1})

    def delete(self):
        self.ledger.folder_deleting("u", self.work)
        self.ledger.folder_deleted("u", self.work, A)

    def test_folder_deleted_while_full(self):
        self.ledger.outage("full", [B])
        self.delete()
        self.assertEqual(self.found(), {"folders back (allowed)": 1})
        self.ledger.has_room()
        self.ledger.freed -= 5
        self.delete()
        self.assertEqual(self.found(), {"folders wrong": 1}, "in the same round, and not full any more")

    def test_folder_deleted_after_power_cut(self):
        self.kill("power", [B], 5)
        self.delete()
        self.assertEqual(self.found(), {"folders back (allowed)": 1})

    def test_folder_deleted_at_the_node_cut(self):
        self.kill("power", [A], 5)
        self.delete()
        self.assertEqual(self.found(), {"folders wrong": 1})

    def test_folder_of_old_deleted_after_power_cut(self):
        self.kill("power", [B], 5)
        self.work.used -= 60
        self.delete()
        self.assertEqual(self.found(), {"folders wrong": 1}, "nothing of it was news to b")

    def test_folder_deleted_in_sync_after_power_cut(self):
        self.kill("power", [B], 5)
        self.meet(4, over=3)
        self.delete()
        self.assertEqual(self.found(), {"folders wrong": 1})

    def test_folder_deleted_after_kill(self):
        self.kill("crash", [B], 5)
        self.delete()
        self.assertEqual(self.found(), {"folders wrong": 1})

    def test_folder_deleted_and_used(self):
        self.ledger.outage("cut", [A, B])
        self.ledger.adding("u", self.work, "<3>", B, "h", "append")
        self.ledger.added("u", self.work, "<3>")
        self.ledger.folder_deleting("u", self.work)
        self.ledger.folder_deleted("u", self.work, A)
        self.assertEqual(self.found(work=["<3>"]), {}, "the other node had put something there")

    def rename_and_delete(self):
        self.ledger.folder_renaming(self.work, "G")
        self.ledger.folder_renamed(self.work, "F", A)
        self.ledger.adding("u", self.work, "<3>", B, "h", "append")
        self.ledger.added("u", self.work, "<3>")
        self.ledger.folder_deleting("u", self.work)
        self.ledger.folder_deleted("u", self.work, A)

    def test_folder_renamed_deleted_and_used(self):
        self.ledger.outage("cut", [A, B])
        self.rename_and_delete()
        self.assertEqual(self.found(work=["<3>"]), {}, "the other node knew it by that name")

    def test_folder_renamed_and_deleted_in_sync(self):
        self.rename_and_delete()
        self.assertEqual(self.found(), {"folders wrong": 1}, "the other node knew its name")

    def test_subscriptions(self):
        self.ledger.subscribing("u", "F", True)
        self.ledger.subscribed("u", "F", True, A)
        self.assertEqual(self.found(), {"folders wrong": 1})
        self.assertEqual(self.found(subscribed=["G"]), {"folders wrong": 1})


class Witnessing(unittest.TestCase):
    def test_rebound(self):
        witness, folder = Witness(), Folder("INBOX")
        witness.look("a", "u", folder, 1, {1: "<1>", 2: None})
        witness.look("b", "u", folder, 1, {1: "<1>", 2: "<2>"})
        witness.look("b", "u", folder, 2, {1: "<2>"})
        self.assertEqual(witness.take(), [])
        witness.look("b", "u", folder, 1, {2: "<3>"})
        self.assertEqual(len(witness.take()), 1)

    def test_body(self):
        witness = Witness()
        witness.read("a", "u", "INBOX", 1, "<1>", "<2>")
        self.assertEqual(len(witness.take()), 1)


class Stores(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.TemporaryDirectory()
        self.box = os.path.join(self.top.name, "u", "Maildir")
        for folder in ("", ".F"):
            for part in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(self.box, folder, part))
        self.node = types.SimpleNamespace(
            host="mx-a", stored=lambda *parts: os.path.join(self.top.name, *parts))
        self.text = mail.message(ident="1@x")
        with open(os.path.join(self.box, "cur", "1:2,S"), "wb") as f:
            f.write(self.text.replace(b"\r\n", b"\n"))

    def tearDown(self):
        self.top.cleanup()

    def difference(self, *rows):
        view = {"folders": {"INBOX": (1, dict(enumerate(rows, 1))), "F": (1, {})}, "subscribed": []}
        return referee.store_difference(self.node, "u", view)

    def test_stores(self):
        right = row("<1@x>", digest=mail.text_digest(self.text))
        self.assertEqual(self.difference(right), [])
        self.assertTrue(self.difference())
        self.assertTrue(self.difference(right, right))
        self.assertTrue(self.difference(row("<1@x>", digest="other")))


class Planning(unittest.TestCase):
    def test_repeatable(self):
        steps = [plan.steps("seed", n, faults.KINDS)[0] for n in range(50)]
        self.assertEqual(steps, [plan.steps("seed", n, faults.KINDS)[0] for n in range(50)])
        self.assertEqual({s.kind for round_ in steps for s in round_}, set(faults.KINDS))

    def test_short(self):
        self.assertEqual({s.kind for round_ in plan.SHORT for s in round_}, set(faults.KINDS))


def passed():
    """Run them; True if all is well, else what is not has been printed."""
    suite = unittest.TestSuite()
    for case in (Judging, Witnessing, Stores, Planning):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    result = unittest.TestResult()
    suite.run(result)
    for name, text in result.failures + result.errors:
        print("    %s\n%s" % (name, text))
    print("%s torture.selftest (%d)" % ("PASS" if result.wasSuccessful() else "FAIL", result.testsRun))
    return result.wasSuccessful()
