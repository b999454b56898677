"""The folder of a training run: whose it is, whether it has finished, and what it leaves.

flags.txt       the flags; replays the run with --flagfile
<part>.keras    the trained sub-models, and run.json, written last: the run has finished
"""

import json
import os
import pathlib

from hand_tf.core import atomic

# What a resumed run may set otherwise than the run it continues.
MAY_CHANGE = {"workdir", "process_id", "coordinator", "checkpoint_every", "probe_every", "pictures_every"}


def settings(text):
    """Flags in flagfile syntax as a dict of strings."""
    lines = (line.lstrip("-").partition("=") for line in text.splitlines() if line.startswith("--"))
    return {name: value for name, _, value in lines}


def claim(workdir, flags, records, write=True):
    """Makes `workdir` the folder of the run with these `flags` (text); True if that run has already finished.

    `records` is the digest of the records it learns from (`Manifest.digest`). A folder whose run never came
    to a checkpoint, because a flag was wrong for instance, is taken over. Without `write`, for processes that help
    another one, it only looks. Raises ValueError if it is another run's.
    """
    path, stamp = pathlib.Path(workdir) / "flags.txt", f"# records {records}"
    begun = any((path.parent / "checkpoints").glob("epoch_*.npz")) or (path.parent / "run.json").is_file()
    if not path.is_file() or not begun:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_text(path, f"{stamp}\n{flags}")
        return False
    text = path.read_text(encoding="utf-8")
    if stamp not in text.splitlines():
        raise ValueError(f"{path}: the run learned from other records than --data_dir holds now; use another --workdir")
    before, now = settings(text), settings(flags)
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
        try:
            part.save(partial)
            os.replace(partial, workdir / f"{name}.keras")
        except OSError as error:
            error.filename = error.filename or str(workdir / f"{name}.keras")
            raise
    atomic.write_text(workdir / "run.json", json.dumps(facts, indent=1))
