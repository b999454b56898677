"""The JSON-lines files in which the benchmarks collect their numbers, each with when, where and how it was measured."""

import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hand_tf.core.errors import InputError

PACKAGES = ("tensorflow", "keras", "jax", "numpy", "opencv-python-headless", "av")


def _processor():
    """The name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit():
    """The commit of the working tree, with a + if there are uncommitted changes; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _versions():
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


def conditions() -> dict:
    """Date, machine, versions, commit and arguments of this process.

    Arguments that contain a path are left out: paths of this machine mean nothing to others.
    """
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": _processor(), "cpus": os.cpu_count(), "platform": platform.machine()},
        "python": platform.python_version(),
        "versions": dict(_versions()),
        "commit": _commit(),
        "arguments": [argument for argument in sys.argv[1:] if "/" not in argument],
    }


def publish(headline: dict, rows: list[dict], path: str | os.PathLike | None = None) -> None:
    """Appends one measurement to the JSON-lines file `path`, if there is one, and prints its `headline`."""
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(conditions() | {"headline": headline, "rows": rows}) + "\n")
    print(json.dumps(headline))


def read(path: str | os.PathLike) -> list[dict]:
    """All measurements in the JSON-lines file `path`, oldest first."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def newest(docs: str | os.PathLike, name: str, suitable: Callable[[dict], Any] = lambda headline: True) -> dict:
    """The newest measurement in DOCS/NAME.jsonl with a suitable headline.

    Raises ValueError if there is none.
    """
    path = pathlib.Path(docs) / f"{name}.jsonl"
    found = [line for line in (read(path) if path.is_file() else ()) if suitable(line["headline"])]
    if not found:
        raise InputError(f"{path}: no suitable measurement; run python -m benchmarks.{name}")
    return found[-1]


def markdown(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A Markdown table. The first column is aligned left, the others right; None gives an empty cell."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def source(line: dict, name: str, *paths: str) -> str:
    """A sentence on how a line of NAME.jsonl was measured; `paths` are the arguments that the file leaves out."""
    machine, command = line["machine"], " ".join([f"python -m benchmarks.{name}", *line["arguments"], *paths])
    return (
        f"Measured with `{command}` on {line['date']}: {machine['processor']}, {machine['cpus']} cores, "
        f"commit {line['commit']}."
    )
