"""What a bad disk, or somebody below the mount, makes of a dovecot-uidlist: each takes the bytes that it has."""


def renumbered(text):
    """The messages have each other's UIDs."""
    head, *lines = text.decode().splitlines(True)
    uids = [line.split(" ", 1)[0] for line in lines]
    return (head + "".join(u + " " + line.split(" ", 1)[1] for u, line in
                           zip(uids, lines[1:] + lines[:1]))).encode()


def numbered_higher(text):
    """They have UIDs that the source has not given yet."""
    head, *lines = text.decode().splitlines(True)
    return (head + "".join("%d %s" % (int(line.split(" ", 1)[0]) + 100, line.split(" ", 1)[1])
                           for line in lines)).encode()


def without_second(text):
    lines = text.splitlines(True)
    return b"".join(lines[:2] + lines[3:])


def broken(text):
    """One bit, and no line can be told for what it is: Dovecot throws such a list away."""
    return text[:1].replace(b"3", b"2") + text[1:]


def a_bit(text):
    last = text.rstrip(b"\n").rfind(b"\n") + 1
    return text[:last] + bytes([text[last] ^ 1]) + text[last + 1:]


def _field(text, letter, change):
    head, rest = text.split(b"\n", 1)
    words = [letter + b"%d" % change(int(w[1:])) if w.startswith(letter) else w for w in head.split(b" ")]
    return b" ".join(words) + b"\n" + rest


def other_validity(text):
    return _field(text, b"V", lambda v: v + 7)


def far_next(text):
    return _field(text, b"N", lambda n: n + 100000)
