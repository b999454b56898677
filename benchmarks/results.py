"""Where and with what a number was measured, and the file that collects such numbers."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time

PACKAGES = ("tensorflow", "keras", "jax", "numpy", "opencv-python-headless", "av")


def _processor():
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit():
    """The commit of the working tree, with a + if it has changes; None outside a repository."""
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


def facts():
    """Machine, versions, commit, date, and what the command was given (but for paths, which tell others nothing)."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": _processor(), "cpus": os.cpu_count(), "platform": platform.machine()},
        "python": platform.python_version(),
        "versions": dict(_versions()),
        "commit": _commit(),
        "arguments": [argument for argument in sys.argv[1:] if "/" not in argument],
    }


def publish(headline, rows, path=None):
    """Appends `rows` with the facts to the JSON-lines file `path`, and prints the `headline` as the last line."""
    content = facts() | {"headline": headline, "rows": rows}
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(content) + "\n")
    print(json.dumps(headline))


def newest(path, will_do=lambda headline: True):
    """The newest measurement in the file `path` whose headline will do, or None."""
    found = [line for line in (read(path) if os.path.isfile(path) else ()) if will_do(line["headline"])]
    return found[-1] if found else None


def table(header, rows):
    """A Markdown table; the first column is text, None stays empty."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def read(path):
    """All measurements in the JSON-lines file `path`, oldest first."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]
