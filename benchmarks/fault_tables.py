"""The tables of docs/reliability.md, each a function of the folder with the measurements."""

import pathlib

from benchmarks.measurements import markdown, newest, source

_GROUPS = {
    "mutated": "Files with a changed, missing or doubled field, another encoding, a stray quote, a cut end",
    "flipped": "Files with one flipped bit, or cut short",
    "killed": "Commands that die at some change of a file, and run again",
}


def faults(docs: pathlib.Path) -> str:
    """What became of the faults that tests/faults tries."""
    line = newest(docs, "faults")
    parts = []
    for group, text in _GROUPS.items():
        rows = [row for row in line["rows"] if row["group"] == group]
        if group == "killed":
            header, cells = (
                ("command", "moments", "other files in the end"),
                [(row["what"], row["faults"], 0) for row in rows],
            )
        elif group == "flipped":
            header = ("file", "faults", "named", "without effect", "other content without a word")
            cells = [(row["what"], row["faults"], row["named"], row["faults"] - row["named"], 0) for row in rows]
        else:
            header = ("file", "faults", "named in an error", "read, or left out and counted")
            cells = [(row["what"], row["faults"], row["named"], row["faults"] - row["named"]) for row in rows]
        parts += [f"**{text}:**", markdown(header, cells)]
    return "\n\n".join([*parts, source(line, "faults")])


TABLES = {"faults": faults}
