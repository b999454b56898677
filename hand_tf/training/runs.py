"""Finished training runs: what `run.json` says about a run, which run it started from, and which subjects it has seen.

A run summary is a dict: name, regime, scenario, labels, validation_labels, steps, batch_size, seconds, backend, flags,
`configuration` (what was trained from what, such as `pose_head on pretrain_aug`) and `before`, the summary of the run
that it started from, or None.
"""

import os
import pathlib
from collections.abc import Iterable

from hand_tf.core import atomic, pretrained, reading
from hand_tf.core.errors import InputError
from hand_tf.data import scenarios
from hand_tf.training import regimes

# What a run.json, and the summary of a run in a results.json, may hold; further fields may stand beside these.
SCHEMA = {
    "type": "object",
    "required": ["regime", "scenario", "labels", "steps", "batch_size", "seconds", "backend", "flags"],
    "properties": {
        "regime": {"enum": list(regimes.REGIMES)},
        "scenario": {"type": ["string", "null"]},
        **{key: {"type": "integer"} for key in ("labels", "steps", "batch_size", "validation_labels")},
        "seconds": {"type": "number"},
        "backend": {"type": "string"},
        "unlabelled_joints": {"type": "array", "items": {"type": "integer"}},
        "init_from": {"type": ["string", "null"]},
        "init_from_sha256": {"type": ["string", "null"]},
        "hand_tf": {"type": ["string", "null"]},
        "name": {"type": "string"},
        "configuration": {"type": "string"},
        "before": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        "files": {"type": "object", "additionalProperties": {"type": "string"}},
        "flags": {
            "type": "object",
            "required": ["regime"],
            "additionalProperties": {"type": ["string", "null"]},
            "properties": {
                "regime": {"enum": list(regimes.REGIMES)},
                "in_plane_degrees": {"type": "string", "pattern": r"^-?[0-9.]+(e-?[0-9]+)?$"},
            },
        },
    },
}
_COPIED = ("regime", "scenario", "labels", "steps", "batch_size", "seconds", "backend")


def describe(workdir: str | os.PathLike) -> dict:
    """The summary of the finished run in `workdir`, and under `before` that of the run it started from.

    Raises FileNotFoundError if the run has not finished, ValueError if its run.json cannot be read.
    """
    return _describe(pathlib.Path(workdir), ())


def identity(workdir: str | os.PathLike) -> str | None:
    """SHA-256 of a run's run.json, by which later runs know the run that they started from; None without it."""
    path = pathlib.Path(workdir) / "run.json"
    return atomic.sha256(path) if path.is_file() else None


def _describe(workdir, later):
    """As `describe`; `later` are the folders of the runs that come after this one."""
    path = workdir / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is {workdir} the workdir of a finished run of hand_tf.train?")
    content = reading.read_json_object(path)
    reading.check(content, SCHEMA, path)
    try:
        run = {name: content[name] for name in _COPIED} | {"name": path.parent.name, "flags": content["flags"]}
        # Which version 0.2.0 did not have:
        for name, value in (("validation_labels", 0), ("unlabelled_joints", []), ("hand_tf", None)):
            run[name] = content.get(name, value)
        configuration, start = training_name(content["flags"]), content["init_from"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a run.json of hand_tf.train ({type(error).__name__}: {error})") from error
    before = None
    if start:
        folder = _find_earlier(pretrained.located(start), path, content.get("init_from_sha256"), later)
        before = folder and _describe(folder, (*later, workdir.resolve()))
        configuration += f" on {before['configuration'] if before else pathlib.Path(start).name}"
    of_package = pretrained.FOLDER in workdir.resolve().parents
    return run | {"configuration": configuration, "before": before, "of_package": of_package}


def _find_earlier(start, path, expected, later):
    """The folder of the run that the run of `path`, a run.json, started from; None if it is not there any more.

    If a folder of runs was moved, the earlier run still lies beside this one. Another run of the same name is told by
    its hash; runs of version 0.2.0 do not have one, but none of them is its own ancestor.
    """
    for folder in (start, path.parent.parent / start.name):
        is_later = folder.resolve() in (*later, path.parent.resolve())
        if not is_later and identity(folder) and expected in (None, identity(folder)):
            return folder
    return None


def training_name(flags: dict[str, str]) -> str:
    """The regime of a run's flags, with `_aug` appended if the unlabelled views are rotated in the image plane."""
    name = flags["regime"]
    rotated = regimes.REGIMES[name].unlabelled and float(flags["in_plane_degrees"]) > 0
    return f"{name}_aug" if rotated else name


def subjects_seen(run: dict, known: Iterable[str]) -> set[str]:
    """Names of the subjects that a run, or any run it started from, has seen, with or without labels.

    Those of a model that comes with the package do not count: whatever their names, they are other people.

    Args:
        run: a summary from `describe`.
        known: all subjects of the records, which `*` stands for.
    """
    seen = set()
    while run and not run["of_package"]:
        if regimes.REGIMES[run["regime"]].sees_unlabelled:
            seen |= set(scenarios.expand_subjects(run["flags"]["subjects"], known))
        if run["scenario"]:
            seen |= set(scenarios.expand_subjects(run["scenario"].partition(":")[0], known))
        run = run["before"]
    return seen
