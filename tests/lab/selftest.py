"""The lab's own parts that decide what is right, tested without any server.

The runner does this first: a comparison that sees no difference would pass everything.
"""

import os
import tempfile
import types
import unittest

from . import acts, compare, imap, storm, util


class Parsing(unittest.TestCase):
    def test_fetch(self):
        parts = [b'* 2 FETCH (UID 7 FLAGS (\\Seen "x y") BODY[HEADER.FIELDS (MESSAGE-ID)] {5}',
                 b"a)(b\n", b" RFC822.SIZE 10)"]
        self.assertEqual(imap.parse(parts), ["*", "2", "FETCH", [
            "UID", "7", "FLAGS", ["\\Seen", "x y"], "BODY[HEADER.FIELDS (MESSAGE-ID)]", b"a)(b\n",
            "RFC822.SIZE", "10"]])

    def test_header(self):
        self.assertEqual(imap.header_id(b"Message-ID: <a@b>\r\n\r\n"), "<a@b>")

    def test_local(self):
        for path in ("M/tmp/1.2.x", "M/dovecot-uidlist.lock", "M/dovecot.index.log", "M/maildirsize",
                     "M/.F/dovecot-uidlist.tmp", "M/dovecot.list.index", "M/new/.poke"):
            self.assertTrue(compare.LOCAL.search(path), path)
        for path in ("M/cur/1:2,S", "M/dovecot-uidlist", "M/.tmp/cur/x", "sieve/x", "M/subscriptions",
                     "M/dovecot-keywords", "tmpfile"):
            self.assertFalse(compare.LOCAL.search(path), path)


class Comparing(unittest.TestCase):
    A = {"subscribed": ["x"], "folders": {"INBOX": (5, {1: ((), "<m>", "9", "d", "h")})}}

    def differs(self, **change):
        b = {"subscribed": ["x"], "folders": {"INBOX": (5, {1: ((), "<m>", "9", "d", "h")})}}
        b.update(change)
        return bool(compare.view_difference(self.A, b))

    def test_views(self):
        self.assertFalse(self.differs())
        self.assertTrue(self.differs(subscribed=[]))
        self.assertTrue(self.differs(folders={}))
        self.assertTrue(self.differs(folders={"INBOX": (6, self.A["folders"]["INBOX"][1])}))
        self.assertTrue(self.differs(folders={"INBOX": (5, {})}))
        self.assertTrue(self.differs(folders={"INBOX": (5, {2: self.A["folders"]["INBOX"][1][1]})}))
        self.assertTrue(self.differs(
            folders={"INBOX": (5, {1: (("\\Seen",), "<m>", "9", "d", "h")})}))

    def test_duplicates(self):
        row = ((), "<m>", "9", "d", "h")
        compare.assert_no_duplicates(self.A)
        with self.assertRaises(util.Fail):
            compare.assert_no_duplicates({"folders": {"INBOX": (5, {1: row, 2: row})}})
        with self.assertRaises(util.Fail):
            compare.assert_has(self.A, ["<other>"])
        with self.assertRaises(util.Fail):
            compare.assert_has(self.A, [], exactly=True)

    def test_witness(self):
        witness = storm.Witness()
        witness.look("a", "u", "INBOX", 1, {1: "<m>"})
        witness.look("b", "u", "INBOX", 2, {1: "<n>"})
        with self.assertRaises(util.Fail):
            witness.look("b", "u", "INBOX", 1, {1: "<n>"})


class Acting(unittest.TestCase):
    """What may be there twice: what was refused, or came near a death, one copy of it."""

    def setUp(self):
        pair = types.SimpleNamespace(nodes=(), user=lambda prefix, folders: prefix)
        self.acts = acts.Acts(pair, "u", ("F",))
        self.acts.came("INBOX", "<m>", (), False, 0)
        self.acts.came("INBOX", "<n>", (), True, 0)

    def wrong(self, inbox, other=""):
        folders = {folder: {uid: ((), "<%s>" % c) for uid, c in enumerate(idents)}
                   for folder, idents in (("INBOX", inbox), ("F", other))}
        return [w for folder, rows in folders.items() for w in self.acts.verify_folder(folder, rows)] + \
            self.acts.verify_copies(folders)

    def test_copies(self):
        self.assertFalse(self.wrong("mn"))
        self.assertFalse(self.acts.doubled)
        self.assertTrue(self.wrong("m"))
        self.assertTrue(self.wrong("mmn"))
        self.assertTrue(self.wrong("mn", "n"))
        self.assertFalse(self.wrong("mnn"))
        self.assertEqual(self.acts.doubled, {"<n>"})
        self.assertTrue(self.wrong("mnnn"))

    def test_moved(self):
        self.acts.kills = True
        self.acts.on = lambda *what: None
        self.acts.move(None, "<m>", "F")
        self.assertFalse(self.wrong("n", "m"))
        self.assertFalse(self.wrong("nm", "m"))
        self.assertFalse(self.wrong("n", "mm"))
        self.assertTrue(self.wrong("nm", "mm"))
        self.assertTrue(self.wrong("nm"))

    def test_expunged(self):
        self.acts.kills = True
        self.acts.on = lambda *what: None
        self.acts.copy(None, "<m>", "F")
        self.acts.expunge(None, "<m>")
        self.assertFalse(self.wrong("n", "m"))
        self.assertTrue(self.wrong("nm", "m"))


class Trees(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.TemporaryDirectory()
        self.nodes = []
        for letter in "ab":
            base = os.path.join(self.top.name, letter)
            for part in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(base, "u", "M", part))
            self.nodes.append(types.SimpleNamespace(
                stored=lambda user, base=base: os.path.join(base, user)))
            self.write(letter, "M/cur/one:2,S", "text")
            self.write(letter, "M/dovecot-uidlist", "3 V5 N2 Gx\n1 :one\n")

    def tearDown(self):
        self.top.cleanup()

    def write(self, letter, path, text):
        with open(os.path.join(self.top.name, letter, "u", path), "w") as f:
            f.write(text)

    def difference(self):
        return compare.tree_difference(*(compare.tree_view(n, "u") for n in self.nodes))

    def test_same(self):
        self.write("a", "M/tmp/x", "local")
        self.write("b", "M/dovecot.index", "local")
        self.write("b", "M/dovecot-uidlist", "3 V5 N1 Gx\n1 W7 :one:2,\n")
        self.assertEqual(self.difference(), [])

    def test_content(self):
        self.write("b", "M/cur/one:2,S", "texT")
        self.assertTrue(self.difference())

    def test_name(self):
        os.rename(os.path.join(self.top.name, "b/u/M/cur/one:2,S"),
                  os.path.join(self.top.name, "b/u/M/cur/one:2,"))
        self.assertTrue(self.difference())

    def test_uid(self):
        self.write("b", "M/dovecot-uidlist", "3 V5 N3 Gx\n2 :one\n")
        self.assertTrue(self.difference())

    def test_next(self):
        self.write("b", "M/dovecot-uidlist", "3 V5 N9 Gx\n1 :one\n")
        self.assertTrue(self.difference())

    def test_link(self):
        os.symlink("x", os.path.join(self.top.name, "a/u/s"))
        os.symlink("y", os.path.join(self.top.name, "b/u/s"))
        self.assertTrue(self.difference())


def passed():
    """Run them; True if all is well, else what is not has been printed."""
    suite = unittest.TestSuite()
    for case in (Parsing, Comparing, Acting, Trees):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    result = unittest.TestResult()
    suite.run(result)
    for name, text in result.failures + result.errors:
        print("    %s\n%s" % (name, text))
    print("%s lab.selftest (%d)" % ("PASS" if result.wasSuccessful() else "FAIL", result.testsRun))
    return result.wasSuccessful()
