"""The tables of docs/dome.md and docs/pretraining.md, each a function of the folder with the measurements."""

import functools
import pathlib

from benchmarks import measurements
from benchmarks.measurements import markdown, newest

# From one of the real dome's calibration files, in the order of the rows of `rig`.
PANOPTIC = ("31", "2765 ± 21", "-12 .. 49", "1393 .. 1862", "0.9970 .. 0.9979", "-0.29 .. -0.17")


def rig(docs: pathlib.Path) -> str:
    """The cameras of the rig `panoptic31` beside those of the real dome."""
    found = newest(docs, "dome_figures")["headline"]["rig"]
    rows = [(*row, real) for row, real in zip(found.items(), PANOPTIC, strict=True)]
    return markdown(("", "`panoptic31`", "Panoptic Studio"), rows)


def people(docs: pathlib.Path) -> str:
    """The sizes of the dome's people beside those published."""
    line = newest(docs, "dome_figures")
    rows = []
    for row in line["rows"]:
        sizes = ("{:.1f} ± {:.2f}".format(*row[which]) for which in ("dome", "published"))
        rows.append((row["what"], *sizes))
    return markdown(("mm", f"{line['headline']['people']} people of the dome", "published"), rows)


def hidden(docs: pathlib.Path) -> str:
    """How often how much of the hand is hidden."""
    shares = newest(docs, "dome_figures")["headline"]["hidden"]
    rows = [(f"more than {float(part):.0%}", f"{share:.0%}") for part, share in shares.items()]
    return markdown(("hidden part of the hand", "views"), rows)


def background(docs: pathlib.Path) -> str:
    """How far the background that `build` finds is from the empty scene."""
    head = newest(docs, "dome_figures")["headline"]
    return f"In {head['background_error']:.1%} of the pixels the estimate is off by more than 12 grey levels."


def speed(docs: pathlib.Path, rig: str) -> str:
    """Where the time of the dome goes."""
    line = newest(docs, "dome_speed", lambda head: head["rig"] == rig)
    head, (low, high) = line["headline"], line["headline"]["range"]
    stages = [(row["stage"], f"{row['ms']:.2f}", f"{row['ms_per_crop']:.2f}") for row in line["rows"]]
    stages.append(("all", None, f"{sum(row['ms_per_crop'] for row in line['rows']):.2f}"))
    parts = [
        f"`--rig={rig}`: **{head['crops_per_second_per_core']:.0f} crops/s on one core** ({low:.0f} to {high:.0f} "
        f"across rounds). Pictures of {head['image_size']} px, crops of {head['crop_size']} px, "
        f"{head['triangles']['hand']:,} triangles per hand, {head['triangles']['all']:,} with the rest of the person.",
        markdown(("stage", "ms per call", "ms per crop"), stages),
    ]
    run = head.get("command")
    if run:
        parts.append(
            f"The whole command on all {line['machine']['cpus']} cores: {run['crops']:,} crops in "
            f"{run['seconds'] / 60:.1f} minutes ({run['crops'] / run['seconds']:.0f} crops/s), "
            f"{run['bytes'] / 1e9:.2f} GB."
        )
    arguments = [f"--rig={rig}", *(["--total_crops=N"] if run else [])]
    paths = ["--folder=FOLDER"] if run else []
    parts.append(measurements.source({"arguments": arguments} | line, "dome_speed", *paths))
    return "\n\n".join(parts)


def subjects(docs: pathlib.Path) -> str:
    """What an estimator that has learned from more or fewer people is worth on others."""
    line = newest(docs, "dome_subjects")
    rows = [(n["subjects"], n["labels"], f"{n['mean_pose']:.1f}", f"{n['n_mpjpe']:.1f}") for n in line["rows"]]
    table = markdown(("people trained on", "labels", "mean pose, mm", "estimator, mm"), rows)
    head = line["headline"]
    return f"{table}\n\n{head['note']} Measured with `{head['command']}` on {line['date']}, commit {line['commit']}."


def probe(docs: pathlib.Path) -> str:
    """The pose probe of pre-training and its controls; the best of each column is bold."""
    line = newest(docs, "pretraining")
    best = [min(column) for column in zip(*(row["n_mpjpe"] for row in line["rows"]), strict=True)]
    rows = []
    for row in line["rows"]:
        cells = [f"**{v:.1f}**" if v == low else f"{v:.1f}" for v, low in zip(row["n_mpjpe"], best, strict=True)]
        rows.append((row["encoder"], *cells))
    stages = [f"{triplets / 1000:.1f}k" for triplets in line["headline"]["triplets"]]
    head, minutes = line["headline"], [str(row["minutes"]) for row in line["rows"] if "minutes" in row]
    measured = (
        f"N-MPJPE in mm; columns are triplets seen. The probe is fitted on {head['probe_fit']} and measured on "
        f"{head['probe_test']}. Seed {head['seed']}, {head['machine']}; training took {', '.join(minutes[:-1])} and "
        f"{minutes[-1]} minutes. Collected with `python -m benchmarks.pretraining --runs=runs` on {line['date']}."
    )
    return f"{markdown(('encoder', *stages), rows)}\n\n{measured}"


TABLES = {
    "dome_rig": rig,
    "dome_people": people,
    "dome_hidden": hidden,
    "dome_background": background,
    "dome_speed_ring8": functools.partial(speed, rig="ring8"),
    "dome_speed_panoptic31": functools.partial(speed, rig="panoptic31"),
    "dome_subjects": subjects,
    "pretraining_probe": probe,
}
