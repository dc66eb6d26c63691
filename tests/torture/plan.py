"""Which faults in which round.  All chance comes from the seed, and a round's from its number alone."""

import collections
import random

# wait: seconds before it; heal: is all made whole before it (and the pair perhaps still catching up)?
Step = collections.namedtuple("Step", "wait heal kind letters")


def deck(seed, kinds, number):
    """The kind that is number-th in an endless row in which all kinds come equally often."""
    turn, place = divmod(number, len(kinds))
    cards = sorted(kinds)
    random.Random("%s deck %d" % (seed, turn)).shuffle(cards)
    return cards[place]


def letters(chance, kind):
    both = kind.both and chance.random() < 0.15
    return "ab" if both else chance.choice("ab")


def steps(seed, number, kinds):
    """The faults of a round: one, or one after another; the last of them lasts for the final step."""
    chance = random.Random("%s round %d" % (seed, number))
    found = []
    for place in range(chance.choices((1, 2, 3), (5, 3, 1))[0]):
        name = deck(seed, kinds, number) if place == 0 else chance.choice(sorted(kinds))
        found.append(Step(chance.uniform(0.7, 1.8) if place == 0 else chance.uniform(0.1, 1.6),
                          place > 0 and chance.random() < 0.5, name, letters(chance, kinds[name])))
    return found, chance


# For the short run: each kind of fault once, a few in a round.
SHORT = (
    (Step(0.8, False, "kill-imap", "ab"), Step(0.2, False, "kill-lmtp", "a"),
     Step(0.2, False, "kill-worker", "ab"), Step(0.2, False, "kill-postfix", "b"),
     Step(0.3, False, "stop-workers", "a"),
     Step(0.4, False, "kill-syncd", "b")),
    (Step(0.8, False, "cut-one-way", "a"), Step(0.5, True, "flap", "a"), Step(0.3, True, "link-down", "a"),
     Step(0.5, False, "kill-mailfs", "b")),
    (Step(0.8, False, "stop-syncd", "a"), Step(0.5, True, "stop-mailfs", "b"), Step(0.5, True, "full", "b"),
     Step(0.5, False, "kill-dovecot", "a")),
    (Step(0.8, False, "power", "a"), Step(2.5, True, "cut", "a"), Step(0.8, False, "crash", "b")),
    (Step(0.8, False, "power", "ab"),),
)
