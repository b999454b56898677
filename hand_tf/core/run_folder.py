"""The folder of a training run: which settings it belongs to, whether it has finished, and what it leaves.

flags.txt       the settings; replays the run with --flagfile
<part>.keras    the trained sub-models
run.json        written last: the run has finished; a summary of it
"""

import pathlib
from collections.abc import Collection
from typing import Any

from hand_tf.core import atomic, command_line, reading
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import as_flags, as_texts


def summary_path(workdir: str | pathlib.Path) -> pathlib.Path:
    """Where the summary of a finished run lies."""
    return pathlib.Path(workdir) / "run.json"


def claim_run_folder(workdir: str | pathlib.Path, settings: Any, digest: str, may_change: Collection[str]) -> bool:
    """Makes `workdir` the folder of the run with these settings; True if that run has already finished.

    A folder whose run never came to a checkpoint, for instance because a flag was wrong, is taken over.

    Args:
        settings: a dataclass of settings (`core.command_line`).
        digest: of the records that the run learns from (`records_folder.Manifest.digest`).
        may_change: names of settings that may differ from those of the run that is continued.

    Raises ValueError if the folder belongs to another run.
    """
    finished = look_at_run_folder(workdir, settings, digest, may_change)
    if not finished and not _has_begun(workdir):
        path = pathlib.Path(workdir) / "flags.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, f"{_stamp(digest)}\n{as_flags(settings)}")
    return finished


def look_at_run_folder(workdir: str | pathlib.Path, settings: Any, digest: str, may_change: Collection[str]) -> bool:
    """As `claim_run_folder`, but writes nothing: for processes that help another one."""
    path = pathlib.Path(workdir) / "flags.txt"
    if not path.is_file() or not _has_begun(workdir):
        return False
    text = reading.read_text(path)
    if _stamp(digest) not in text.splitlines():
        raise InputError(f"{path}: the run learned from other records than --data_dir holds now; use another --workdir")
    try:
        begun = command_line.parse(type(settings), [line for line in text.splitlines() if line.startswith("--")])
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    before, now = as_texts(begun), as_texts(settings)
    names = sorted((before.keys() | now.keys()) - set(may_change))
    changed = [name for name in names if before.get(name) != now.get(name)]
    if changed:
        name = "regime" if "regime" in changed else changed[0]
        raise InputError(
            f"{path}: belongs to a run with --{name}={before.get(name)}, asked for --{name}={now.get(name)}"
            f" ({len(changed)} flags differ); use another --workdir"
        )
    return summary_path(workdir).is_file()


def _stamp(digest):
    return f"# records {digest}"


def _has_begun(workdir):
    return any(pathlib.Path(workdir).glob("checkpoints/epoch_*.npz")) or summary_path(workdir).is_file()


def finish(workdir: str | pathlib.Path, parts: dict[str, Any], summary: dict) -> None:
    """Saves the sub-models `parts` (Keras models by name) and, last, `summary` as run.json."""
    workdir = pathlib.Path(workdir)
    for name, part in parts.items():
        part.trainable = True
        with atomic.renaming(workdir / f"{name}.keras") as partial:
            part.save(partial)
    files = {f"{name}.keras": atomic.sha256(workdir / f"{name}.keras") for name in parts}
    atomic.write_sealed_json(summary_path(workdir), summary | {"files": files})


_FILES = {"properties": {"files": {"type": "object", "additionalProperties": {"type": "string"}}}}


def check_file(path: str | pathlib.Path) -> None:
    """Raises ValueError if a file of a finished run, such as encoder.keras, is not the one that the run left.

    The files of version 0.2.0, whose run.json does not have their hashes, are not checked.
    """
    path = pathlib.Path(path)
    summary = summary_path(path.parent)
    content = reading.read_json_object(summary) if summary.is_file() else {}
    reading.check(content, _FILES, summary)
    expected = content.get("files", {}).get(path.name)
    if expected and atomic.sha256(path) != expected:
        raise InputError(f"{path}: damaged, or not the file that this run left (its SHA-256 is not that in run.json)")
