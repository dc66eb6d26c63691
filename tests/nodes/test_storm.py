#!/usr/bin/env python3
"""200 messages delivered at both nodes at once into one mailbox, clients busy on both."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, storm  # noqa: E402


def test(t):
    work = storm.Storm(t.pair, storm.Storm.prepare(t.pair))
    delivered, took = work.run()
    work.verify()
    t.figure("200 deliveries in %.1f s (worst %.2f s), all done in %.1f s, %d looks",
             delivered, max(work.worst.values()), took, work.witness.looks)


case.main(test)
