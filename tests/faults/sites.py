"""Where the daemons change a disk, and the scenario does not come by: calls of lib/io with no recorded step.

Seen in the programs: a call's address is in the site of each step that it led to. A call in tail position
is a jump, and leaves no address: of these it is not known. Of io_open() those count that may make a file.
"""

import os
import re
import subprocess

from lab import points

READS = {"io_open", "io_open_beneath"}
NOT_STEPS = {"io_ops_set", "io_is_full", "io_lacks", "io_barrier"}
MAKES = re.compile(r"O_CREAT|O_TMPFILE|O_TRUNC")
CALL = re.compile(r"^ +([0-9a-f]+):\s+(call|jmp) +[0-9a-f]+ <(\w+)(?:@plt)?>")
ADDRESS = re.compile(r"^ +([0-9a-f]+):")


def of_table(build):
    """The functions of lib/io/io.c."""
    listed = subprocess.run(["nm", "--defined-only", "-g", os.path.join(build, "obj", "lib", "io", "io.o")],
                            stdout=subprocess.PIPE, check=True, text=True).stdout
    names = {line.split()[-1] for line in listed.splitlines() if " T " in line}
    return (names - NOT_STEPS) | {"mdb_txn_commit"}


def calls(tool, names):
    """[(how, function, address as a site has it)]"""
    listed = subprocess.run(["objdump", "-d", "--no-show-raw-insn", tool], stdout=subprocess.PIPE, check=True,
                            text=True).stdout
    found, last = [], None
    for line in listed.splitlines():
        if last and ADDRESS.match(line):
            found.append(last + (int(ADDRESS.match(line).group(1), 16) - 1,))
            last = None
        call = CALL.match(line)
        if call and call.group(3) in names:
            last = call.group(2), call.group(3)
    return found


def source(top, place):
    """The statement there, some lines of it."""
    path, _, number = place.partition(":")
    try:
        with open(os.path.join(top, path)) as f:
            return "".join(f.read().splitlines()[int(number) - 1:int(number) + 2])
    except (OSError, ValueError):
        return ""


def never(lab, recorded):
    """{daemon: (how many calls, those that no step came from, those of which that is not known)}; recorded: {daemon: [Step]}."""
    found, names = {}, of_table(lab.build)
    for daemon, steps in recorded.items():
        seen = {a for step in steps for a in step.where.split("/")}
        every = calls(os.path.join(lab.build, "tests", "faults", points.TOOLS[daemon]), names)
        lab.sites.learn(daemon, [points.Step(0, "", "", "/".join("%x" % a for _how, _f, a in every))])
        came, how_called = {}, {}       # by place: a function may be there several times, inlined
        for how, function, address in every:
            caller, place = lab.sites.known[daemon, "%x" % address]
            place = re.sub(r"^.*?/(?=(lib|mailfs|syncd|tests)/)", "", place)
            if place.startswith(("lib/io/io.c", "tests/")) or \
                    function in READS and not MAKES.search(source(os.path.dirname(lab.build), place)):
                continue
            name = "%s %s: %s" % (place, caller, function)
            came[name] = came.get(name, False) or "%x" % address in seen
            how_called.setdefault(name, set()).add(how)
        never_come = [name for name in sorted(came) if not came[name]]
        found[daemon] = (len(came), [n for n in never_come if "jmp" not in how_called[n]],
                         [n for n in never_come if "jmp" in how_called[n]])
    return found
