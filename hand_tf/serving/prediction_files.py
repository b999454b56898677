"""The folder of results of `hand-tf predict`.

OUT/predictions.partial.jsonl   the entries as they come, and a line for each picture without any, whose hand is null;
                                what a killed run leaves
OUT/predictions.json            the same at the end, and what was looked at; see `hand-tf predict --help`
OUT/predictions.csv, .parquet   on request, one row per joint, see `tables`
OUT/trc/, OUT/c3d/              on request, the trajectories of the hands in videos, see `trajectories`
OUT/overlays/                   the pictures and videos with boxes and skeletons, see `overlays`

However long a video is, memory holds some lines of it, and what a writer of a format needs.
"""

import contextlib
import importlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from hand_tf.core import atomic, folder_lock, skeleton
from hand_tf.core.errors import InputError
from hand_tf.serving import c3d, tables, trajectories, trc

PREDICTIONS, PARTIAL, OVERLAYS = "predictions.json", "predictions.partial.jsonl", "overlays"
TABLE, PARQUET = "predictions.csv", "predictions.parquet"
TRAJECTORIES = ("trc", "c3d")  # formats, and the folders that hold them
FORMATS = ("json", "csv", "parquet", *TRAJECTORIES)
_LIBRARIES = {"parquet": "pyarrow", "c3d": "ezc3d"}


def check_formats(formats: Sequence[str]) -> None:
    """Raises InputError if a library is missing that one of `formats` needs."""
    for name in formats:
        if name in _LIBRARIES:
            try:
                importlib.import_module(_LIBRARIES[name])
            except ImportError as error:
                extra = f"{_LIBRARIES[name]}, which `pip install 'hand_tf[formats]'` brings"
                raise InputError(f"--format={name} needs {extra} ({error})") from error


def check_output(output: pathlib.Path, overwrite: bool) -> None:
    """Raises InputError if the folder holds results, whole or of a call that was killed, unless `overwrite`."""
    for name in (PREDICTIONS, PARTIAL):
        if (output / name).exists() and not overwrite:
            raise InputError(
                f"--output={output}: holds predictions already ({name}); choose another folder or pass --overwrite"
            )


@contextlib.contextmanager
def writing(
    output: pathlib.Path,
    head: dict,
    overwrite: bool = False,
    formats: Sequence[str] = ("json",),
    base: str | os.PathLike = ".",
) -> Iterator[Callable[[Sequence[dict]], None]]:
    """A function that writes the entries of one picture after the other (`predictions.predict_files`);
    predictions.json, and what else `formats` ask for, appears when the block ends.

    It holds what is true of all predictions, `head`, `"complete"`, the entries, and what was looked at in each file. If
    the block ends with an error or is interrupted, it is written with what has come until then, and `complete` is
    false. Raises InputError if the folder holds results and they may not be overwritten.

    Args:
        head: has the `frame_stride`, among others.
        base: trajectories lie in folders that are named as the videos are below this folder.
    """
    partial, complete, count = output / PARTIAL, False, 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder_lock.holding(output))
        check_output(output, overwrite)  # once more: another process may have finished since
        file = stack.enter_context(open(partial, "w", encoding="utf-8"))

        def write(entries):
            nonlocal count
            file.write("".join(f"{json.dumps(entry, allow_nan=False)}\n" for entry in entries))
            file.flush()  # what is written stays, whatever happens to this process
            count += sum(entry["hand"] is not None for entry in entries)

        try:
            yield write
            complete = True
        finally:
            if count or complete:
                _put_together(output, head | {"complete": complete})
                if overwrite:
                    _remove_earlier(output)
                _write_formats(output, formats, head["frame_stride"], base)
            partial.unlink()


def _put_together(output, head):
    """Writes predictions.json from the lines of the partial file, of which memory need not hold more than one."""
    head = json.dumps(head | {"joint_names": skeleton.JOINT_NAMES}, allow_nan=False)
    with atomic.replacing(output / PREDICTIONS) as file, open(output / PARTIAL, encoding="utf-8") as lines:
        file.write(f'{head[:-1]}, "predictions": [\n')
        entries = (line.rstrip("\n") for line in lines if json.loads(line)["hand"] is not None)
        file.writelines(_separated(entries))
        file.write('\n], "files": [\n')
        lines.seek(0)
        file.writelines(_separated(_looked_at(lines)))
        file.write("\n]}\n")


def _separated(texts):
    """The texts with what JSON wants between them."""
    for number, text in enumerate(texts):
        yield (",\n" if number else "") + text


def _looked_at(lines: Iterable[str]) -> Iterator[str]:
    """For each file how many frames were read, and the stretches of frames without a hand; a picture is frame 0."""
    for name, entries in itertools.groupby(map(json.loads, lines), key=lambda entry: entry["file"]):
        count, without, before = 0, [], True
        for frame, hands in itertools.groupby(entries, key=lambda entry: entry["frame"] or 0):
            seen = next(hands)["hand"] is not None
            if not seen and before:
                without.append([frame, frame])
            elif not seen:
                without[-1][1] = frame
            count, before = count + 1, seen
        yield json.dumps({"file": name, "frames_read": count, "without_hand": without})


def _write_formats(output, formats, frame_stride, base):
    """Writes what `formats` ask for besides predictions.json, from the lines of the partial file."""
    for name, file, mode, write in (
        ("csv", TABLE, "w", tables.write_csv),
        ("parquet", PARQUET, "wb", tables.write_parquet),
    ):
        if name in formats:
            with atomic.replacing(output / file, mode) as table, open(output / PARTIAL, encoding="utf-8") as lines:
                write(table, lines)
    wanted = [name for name in TRAJECTORIES if name in formats]
    if not wanted:
        return
    with open(output / PARTIAL, encoding="utf-8") as lines:
        for video, found in trajectories.of_videos(lines, frame_stride, output):
            folders = [output / name / os.path.relpath(video, base) for name in wanted]
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            for trajectory in found:
                for name, folder in zip(wanted, folders, strict=True):
                    _write_trajectory(name, folder, trajectory)


def _write_trajectory(name, folder, trajectory):
    if name == "c3d":
        c3d.write(folder, trajectory)
        return
    with atomic.replacing(folder / f"{trajectory.name}.trc") as file:
        trc.write(file, trajectory)


def _remove_earlier(output):
    """Removes tables and trajectories of an earlier call, which say what predictions.json no longer says."""
    for name in (TABLE, PARQUET):
        (output / name).unlink(missing_ok=True)
    for name in TRAJECTORIES:
        for path in (output / name).rglob(f"*.{name}"):
            if re.fullmatch(rf"(left|right)_\d+(_part\d+)?\.{name}", path.name):
                path.unlink()
