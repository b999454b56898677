"""Where the numbers of a report come from, and what a reader must know before trusting them.

Both read a `study.Study` and the trainings of `study.load_trainings`; nothing here looks at a file.
"""

import pathlib

# Feature nets that are none of the paper's.
OTHER_FEATURES = {"none", "random"}


def chain(run):
    """A run (a dict of `study.describe`), the run that it started from, the one before that, and so on."""
    while run:
        yield run
        run = run["before"]


# --- notes ----------------------------------------------------------------------------------------------------------


def notes(study, trainings, drawn):
    """Sentences on what is missing or must be known; `drawn` says whether poses were drawn on test crops."""
    found = [*_on_chance(study), *_on_learning(study), *_on_coverage(study)]
    waiting = [t.folder for t in trainings if t.run and t.has_head and not t.has_results]
    unfinished = [t.folder for t in trainings if not t.run]
    if waiting:
        found.append(f"Trained but not evaluated: {', '.join(waiting)}.")
    if unfinished:
        found.append(f"Not finished, so left out: {', '.join(unfinished)}.")
    leaked = sorted({name for r in study.results if (name := r["data"].get("also_trained_on"))})
    if leaked:
        found.append(f"NOT a test on unseen people: {'; '.join(leaked)} were trained on too.")
    if not drawn:
        found.append("No poses are drawn on test crops: that needs --data_dir.")
    return found


def _on_chance(study):
    counts = {len(results) for results in study.cells.values()}
    if 1 in counts:
        which = "Every cell is" if counts == {1} else "A cell without ± is"
        yield f"{which} a single run: differences as small as those between seeds mean nothing."
    shared = set()
    for (_, column), results in study.cells.items():
        starts = {result["run"]["before"]["name"] if result["run"]["before"] else None for result in results}
        if len(results) > 1 and len(starts) == 1 and None not in starts:
            shared.add(column)
    if shared:
        names = ", ".join(sorted(shared))
        yield f"The runs of a cell start from one and the same earlier run, whose own chance ± leaves out: {names}."


def _on_learning(study):
    from hand_tf.training import regimes  # Keras: not for --help

    worse = [f"{c} on {row[1]}" for row, c in study.cells if study.cell(row, c).mean >= study.mean_pose(row)]
    if worse:
        yield f"No better than the mean pose, so nothing useful was learned: {', '.join(worse)}."
    runs = [
        run for result in study.results for run in chain(result["run"]) if regimes.REGIMES[run["regime"]].unlabelled
    ]
    features = {run["flags"].get("perceptual_weights") for run in runs} & OTHER_FEATURES
    if features:
        yield f"Feature loss (Eq. 3) of some runs: {', '.join(sorted(features))}; the paper uses ImageNet weights."


def _on_coverage(study):
    gaps = [
        f"{column} on {row[1]}" for row in study.rows for column in study.columns if (row, column) not in study.cells
    ]
    if gaps:
        yield f"Not measured: {', '.join(gaps)}."
    if study.results[0]["data"]["max_crops"]:
        yield f"Measured on {study.results[0]['crops']:,} test crops, chosen by lot, not on all of them."
    if len(study.rules) == 1:
        yield f"Only the crop rule {study.rule} was measured for all runs."


# --- how it was made ------------------------------------------------------------------------------------------------


def how_it_was_made(study, trainings):
    """What it takes to make the tables again: runs, commands, shared settings, versions, machines, hours."""
    runs = _runs(study, trainings)
    shared = set.intersection(*(set(run["flags"].items()) for run in runs.values()))
    shared = {(name, value) for name, value in shared if name not in ("regime", "seed", "workdir", "data_dir")}
    measured, subjects = {r["folder"] for r in study.results}, study.results[0]["data"]["subjects"]
    commands = []
    for folder, run in runs.items():
        commands.append(f"python -m hand_tf.train --flagfile=shared.flags {_own_flags(folder, run, runs, shared)}")
        if folder in measured:
            commands.append(f"python -m hand_tf.evaluate --data_dir=RECORDS --run=RUNS/{folder} --subjects={subjects}")
    versions = (", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in study.results)
    machines = (r["machine"] for r in study.results)
    machines = (f"{m['platform']}, {m['cpus']} CPUs, {', '.join(m['devices'])}" for m in machines)
    return {
        "shared": sorted(f"--{name}={value}" for name, value in shared),
        "runs": [run | {"folder": folder} for folder, run in runs.items()],
        "commands": [*commands, "python -m hand_tf.report --data_dir=RECORDS --runs=RUNS"],
        "versions": list(dict.fromkeys(versions)),
        "machines": list(dict.fromkeys(machines)),
        "hours": sum(run["seconds"] for run in runs.values()) / 3600,
    }


def _runs(study, trainings):
    """All runs by folder, earlier ones first, so that their commands can be run from top to bottom."""
    runs = {t.folder: t.run for t in trainings if t.run} | {r["folder"]: r["run"] for r in study.results}
    known = {run["name"] for run in runs.values()}
    # Runs that others started from may lie elsewhere.
    earlier = (before for run in list(runs.values()) for before in chain(run["before"]))
    runs |= {before["name"]: before for before in earlier if before["name"] not in known}
    return dict(sorted(runs.items(), key=lambda item: (len(list(chain(item[1]))), item[0])))


def _own_flags(folder, run, runs, shared):
    """The flags that a run does not share, with folders named RECORDS and RUNS, as text."""
    own = {name: value for name, value in sorted(run["flags"].items()) if (name, value) not in shared}
    own |= {"data_dir": "RECORDS", "workdir": f"RUNS/{folder}"}
    if run["before"]:
        start = run["before"]["name"]
        own["init_from"] = "RUNS/" + next(folder for folder in runs if pathlib.Path(folder).name == start)
    return " ".join(f"--{name}={value}" for name, value in own.items())
