"""What readers of a report must know before they trust it, and how its numbers were made."""

import pathlib
from collections.abc import Iterator, Sequence

from hand_tf.results.configurations import chain
from hand_tf.results.results_table import ResultsTable
from hand_tf.results.trainings import Training
from hand_tf.training import regimes

# Weights of the feature loss that are not the paper's.
OTHER_FEATURES = {"none", "random"}


# --- notes ----------------------------------------------------------------------------------------------------------


def notes(table: ResultsTable, trainings: Sequence[Training], drawn: bool) -> list[str]:
    """Sentences on what is missing and what limits the results; `drawn`: poses were drawn on test crops."""
    found = [*_on_chance(table), *_on_learning(table), *_on_coverage(table)]
    waiting = [t.folder for t in trainings if t.run and t.has_pose_head and not t.has_results]
    unfinished = [t.folder for t in trainings if not t.run]
    if waiting:
        found.append(f"Trained but not evaluated: {', '.join(waiting)}.")
    if unfinished:
        found.append(f"Left out because training has not finished: {', '.join(unfinished)}.")
    seen = {result["data"].get("also_trained_on") for result in table.results} - {None, ""}
    if seen:
        found.append(f"NOT a test on unseen people: training also used the test subjects {'; '.join(sorted(seen))}.")
    if not drawn:
        found.append("No poses are drawn on test crops: that needs --data_dir.")
    return found


def _on_chance(table: ResultsTable) -> Iterator[str]:
    counts = {len(results) for results in table.cells.values()}
    if 1 in counts:
        which = "Every cell is" if counts == {1} else "A cell without ± is"
        yield f"{which} a single run: another seed may change it, so small differences mean nothing."
    shared = set()
    for (_, column), results in table.cells.items():
        starts = {result["run"]["before"]["name"] if result["run"]["before"] else None for result in results}
        if len(results) > 1 and len(starts) == 1 and None not in starts:
            shared.add(column)
    if shared:
        names = ", ".join(sorted(shared))
        yield f"In these columns all runs of a cell start from the same earlier run, so ± leaves out its seed: {names}."


def _on_learning(table: ResultsTable) -> Iterator[str]:
    worse = [f"{c} on {row[1]}" for row, c in table.cells if table.cell(row, c).mean >= table.mean_pose(row)]
    if worse:
        yield f"No better than the mean pose, so nothing useful was learned: {', '.join(worse)}."
    every = [run for result in table.results for run in chain(result["run"])]
    chosen = sorted({run["configuration"] for run in every if _is_chosen(run)})
    if chosen:
        names = ", ".join(chosen)
        yield f"Held-out labels, beyond those that are counted, decided which networks these runs kept: {names}."
    runs = [run for run in every if regimes.REGIMES[run["regime"]].unlabelled]
    features = {run["flags"].get("perceptual_weights") for run in runs} & OTHER_FEATURES
    if features:
        yield f"Feature loss (Eq. 3) of some runs: {', '.join(sorted(features))}; the paper uses ImageNet weights."


def _is_chosen(run):
    """Whether validation labels had a say in which networks of a run were kept."""
    flags = run["flags"]
    return flags.get("keep", "last") == "best" or int(flags.get("early_stopping", 0)) > 0


def _on_coverage(table: ResultsTable) -> Iterator[str]:
    gaps = [
        f"{column} on {row[1]}" for row in table.rows for column in table.columns if (row, column) not in table.cells
    ]
    if gaps:
        yield f"Not measured: {', '.join(gaps)}."
    if table.results[0]["data"]["max_crops"]:
        yield f"Measured on {table.results[0]['crops']:,} test crops, chosen at random, not on all of them."
    if len(table.rules) == 1:
        yield f"Only the crop rule {table.rule} was measured for all runs."


# --- how it was made ------------------------------------------------------------------------------------------------


def how_it_was_made(table: ResultsTable, trainings: Sequence[Training]) -> dict:
    """What is needed to repeat the study: shared flags, runs, commands, versions, machines, and hours of training."""
    runs = _runs(table, trainings)
    shared = set.intersection(*(set(run["flags"].items()) for run in runs.values()))
    shared = {(name, value) for name, value in shared if name not in ("regime", "seed", "workdir", "data_dir")}
    measured = {result["folder"] for result in table.results}
    subjects = table.results[0]["data"]["subjects"]
    commands = []
    for folder, run in runs.items():
        commands.append(f"hand-tf train --flagfile=shared.flags {_own_flags(folder, run, runs, shared)}")
        if folder in measured:
            commands.append(f"hand-tf evaluate --data_dir=RECORDS --run=RUNS/{folder} --subjects={subjects}")
    versions = (", ".join(f"{k} {v}" for k, v in result["versions"].items()) for result in table.results)
    machines = (result["machine"] for result in table.results)
    machines = (f"{m['platform']}, {m['cpus']} CPUs, {', '.join(m['devices'])}" for m in machines)
    return {
        "shared": sorted(f"--{name}={value}" for name, value in shared),
        "runs": [run | {"folder": folder} for folder, run in runs.items()],
        "commands": [*commands, "hand-tf report --data_dir=RECORDS --runs=RUNS"],
        "versions": list(dict.fromkeys(versions)),
        "machines": list(dict.fromkeys(machines)),
        "hours": sum(run["seconds"] for run in runs.values()) / 3600,
    }


def _runs(table, trainings):
    """All runs by folder, each after the run that it started from."""
    runs = {t.folder: t.run for t in trainings if t.run}
    runs |= {result["folder"]: result["run"] for result in table.results}
    known = {run["name"] for run in runs.values()}
    # The runs that others started from may lie outside the folder of the report.
    earlier = (before for run in list(runs.values()) for before in chain(run["before"]))
    runs |= {before["name"]: before for before in earlier if before["name"] not in known}
    return dict(sorted(runs.items(), key=lambda item: (len(list(chain(item[1]))), item[0])))


def _own_flags(folder, run, runs, shared):
    """The flags that a run does not share, as text, with folders renamed to RECORDS and RUNS."""
    own = {name: value for name, value in sorted(run["flags"].items()) if (name, value) not in shared}
    own |= {"data_dir": "RECORDS", "workdir": f"RUNS/{folder}"}
    if run["before"]:
        start = run["before"]["name"]
        own["init_from"] = "RUNS/" + next(folder for folder in runs if pathlib.Path(folder).name == start)
    return " ".join(f"--{name}={value}" for name, value in own.items())
