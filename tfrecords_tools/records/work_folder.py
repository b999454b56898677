"""An output folder that belongs to one command with one set of settings, so that a stopped run can continue."""

import contextlib
import json
import pathlib
from collections.abc import Iterator

from hand_tf.core import atomic, folder_lock, reading, records_folder
from hand_tf.core.errors import InputError


@contextlib.contextmanager
def claimed(output: pathlib.Path, settings: dict) -> Iterator[records_folder.Manifest | None]:
    """`claim_work_folder`, and no other process may write there until the block ends; the manifest if all is done."""
    finished = (output / records_folder.MANIFEST).is_file()
    with contextlib.nullcontext() if finished else folder_lock.holding(output):
        claim_work_folder(output, settings)
        yield records_folder.load_manifest(output) if finished else None


def claim_work_folder(output: pathlib.Path, settings: dict) -> None:
    """Begins the folder `output`, or checks that an earlier run with the same `settings` began it.

    The settings, plain values, are kept in `output/work/settings.json`. Raises ValueError if the folder was begun with
    other settings or holds something else.
    """
    settings = json.loads(json.dumps(settings, default=str))
    path = output / "work" / "settings.json"
    if path.is_file():
        begun = reading.read_json_object(path)
        if "pictures" in settings and "pictures" not in begun:  # begun by version 0.2.0
            del settings["pictures"]
        differ = sorted(name for name in settings | begun if settings.get(name) != begun.get(name))
        if differ:
            raise InputError(f"{output}: begun with other {', '.join(differ)}; take another --output or delete it")
        return
    # A run that was stopped at once leaves an empty folder `work`, or one with a part of settings.json.
    names = {each.name for each in output.iterdir()} - folder_lock.FILES if output.is_dir() else set()
    if "work" in names and {each.name for each in path.parent.iterdir()} <= {"settings.json.partial"}:
        names.remove("work")
    if names:
        raise InputError(f"{output}: not empty, and not begun by this command; take another --output")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_sealed_json(path, settings)
