"""The folder of a training run: whose it is, whether it has finished, and what it leaves.

flags.txt       the flags; replays the run with --flagfile
<part>.keras    the trained sub-models, and run.json, written last: the run has finished
"""

import json
import os
import pathlib

from hand_tf import manifest

# What a resumed run may set otherwise than the run it continues.
MAY_CHANGE = {"workdir", "checkpoint_every", "probe_every", "pictures_every"}


def settings(text):
    """Flags in flagfile syntax as a dict of strings."""
    lines = (line.lstrip("-").partition("=") for line in text.splitlines() if line.startswith("--"))
    return {name: value for name, _, value in lines}


def claim(workdir, flags):
    """Makes `workdir` the folder of the run with these `flags` (text); True if that run has already finished.

    Raises ValueError if it is another run's.
    """
    path = pathlib.Path(workdir) / "flags.txt"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(path, flags)
        return False
    before, now = settings(path.read_text(encoding="utf-8")), settings(flags)
    names = sorted((before.keys() | now.keys()) - MAY_CHANGE)
    changed = [name for name in names if before.get(name) != now.get(name)]
    if changed:
        name = "regime" if "regime" in changed else changed[0]
        raise ValueError(
            f"{path}: belongs to a run with --{name}={before.get(name)}, asked for --{name}={now.get(name)}"
            f" ({len(changed)} flags differ); use another --workdir"
        )
    return (path.parent / "run.json").is_file()


def finish(workdir, parts, facts):
    """Saves the sub-models `parts` and, last, `facts` as run.json."""
    workdir = pathlib.Path(workdir)
    for name, part in parts.items():
        part.trainable = True
        partial = workdir / f"partial.{name}.keras"
        part.save(partial)
        os.replace(partial, workdir / f"{name}.keras")
    manifest.write_text(workdir / "run.json", json.dumps(facts, indent=1))
