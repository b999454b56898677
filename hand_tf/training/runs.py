"""Finished runs of training: what run.json says about one, what it started from, and whom it has seen."""

import json
import pathlib

from hand_tf.data import scenarios
from hand_tf.training import regimes


def describe(workdir):
    """The facts of a finished run: its run.json, and under `before` those of the run that it started from.

    Raises FileNotFoundError or ValueError unless the run has finished.
    """
    path = pathlib.Path(workdir) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; is {workdir} the workdir of a finished run of hand_tf.train?")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        settings, start = facts["flags"], facts["init_from"]
        names = ("regime", "scenario", "labels", "steps", "batch_size", "seconds", "backend")
        run = {name: facts[name] for name in names} | {"name": path.parent.name, "flags": settings}
        configuration = training_name(settings)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a run.json of hand_tf.train ({type(error).__name__}: {error})") from error
    before = None
    if start:
        # A folder of runs that has moved as a whole keeps its runs side by side.
        places = [p for p in (pathlib.Path(start), path.parent.parent / pathlib.Path(start).name) if p.is_dir()]
        before = describe(places[0]) if places else None
        configuration += f" on {before['configuration'] if before else pathlib.Path(start).name}"
    return run | {"configuration": configuration, "before": before}


def subjects_seen(run, known):
    """Names of the subjects that the run (from `describe`), or one that it started from, has seen, labelled or not.

    `known` are all subjects of the records.
    """
    from hand_tf.training import regimes

    seen = set()
    while run:
        if regimes.REGIMES[run["regime"]].unlabelled:
            seen |= set(scenarios.expand_subjects(run["flags"]["subjects"], known))
        if run["scenario"]:
            seen |= set(scenarios.expand_subjects(run["scenario"].partition(":")[0], known))
        run = run["before"]
    return seen


def training_name(settings):
    """The regime of a run's flags; `_aug` is what the paper calls in-plane rotations of the unlabelled views."""
    name = settings["regime"]
    turned = regimes.REGIMES[name].unlabelled and float(settings["in_plane_degrees"]) > 0
    return f"{name}_aug" if turned else name
