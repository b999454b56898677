"""How many faults the tests in tests/faults try, and what becomes of them, for docs/reliability.md.

    python -m benchmarks.faults
    python -m benchmarks.docs_tables

Runs these tests, and appends one line to OUTPUT/faults.jsonl: for each kind of file or command, the number of faults,
how many were named in an error, and how many were harmless. Needs `pip install -e '.[dev]'`, and runs in a checkout.
"""

import dataclasses
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

from benchmarks import measurements
from hand_tf.core import command_line
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class FaultsSettings:
    """The flags of this command."""

    output: str = setting("Folder of the measurements.", "docs")

    def __post_init__(self):
        check(self)


def rows_of(junit: pathlib.Path) -> list[dict]:
    """One row for each test that has recorded its faults, from pytest's JUnit file."""
    rows = []
    for case in xml.etree.ElementTree.parse(junit).iter("testcase"):
        found = {each.get("name"): each.get("value") for each in case.iter("property")}
        if "what" in found:
            counts = {name: int(found[name]) for name in ("faults", "named")}
            failed = case.find("failure") is not None or case.find("error") is not None
            rows.append({"group": found["group"], "what": found["what"], **counts, "passed": not failed})
    return rows


def main(settings: FaultsSettings) -> None:
    """Runs the tests and writes the line."""
    with tempfile.TemporaryDirectory() as folder:
        junit = pathlib.Path(folder) / "faults.xml"
        command = [sys.executable, "-m", "pytest", "-q", "tests/faults", f"--junitxml={junit}", "-p", "no:xdist"]
        command += ["-o", "junit_family=xunit1"]  # the later one has no properties
        status = subprocess.run(command, check=False).returncode
        rows = rows_of(junit) if junit.is_file() else []
    if status or not rows:
        raise InputError("tests/faults: the tests have failed; nothing was written")
    for row in rows:
        print(f"{row['group']:12} {row['what']:40} {row['faults']:5} faults, {row['named']:5} named")
    headline = {"faults": sum(row["faults"] for row in rows), "named": sum(row["named"] for row in rows)}
    measurements.publish(headline, rows, pathlib.Path(settings.output) / "faults.jsonl")


if __name__ == "__main__":
    command_line.execute(main)
