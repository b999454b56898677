"""An output folder that belongs to one command with one set of settings, so that a stopped run can continue."""

import json

from hand_tf.core import atomic
from tfrecords_tools.dump import panoptic


def claim(output, settings):
    """Makes the folder `output` ours, or checks that an earlier run with the same `settings` (a dict) began it.

    Raises ValueError if it was begun with other settings or holds something else.
    """
    settings = json.loads(json.dumps(settings, default=str))
    path = output / "work" / "settings.json"
    if path.is_file():
        begun = panoptic.load_json(path)
        differ = sorted(name for name in settings | begun if settings.get(name) != begun.get(name))
        if differ:
            raise ValueError(f"{output}: begun with other {', '.join(differ)}; take another --output or delete it")
        return
    # A run that was stopped at once leaves a folder `work` with nothing in it but perhaps half a settings.json.
    names = {each.name for each in output.iterdir()} if output.is_dir() else set()
    if "work" in names and {each.name for each in path.parent.iterdir()} <= {"settings.json.partial"}:
        names.remove("work")
    if names:
        raise ValueError(f"{output}: not empty, and not begun by this command; take another --output")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, json.dumps(settings, indent=1))
