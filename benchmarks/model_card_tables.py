"""The tables of docs/model_card.md, each a function of the folder with the measurements."""

import pathlib

from benchmarks.learning_tables import WAYS
from benchmarks.measurements import markdown, newest, source

MODEL = "hands"


def on_the_dome(docs: pathlib.Path) -> str:
    """Errors on people of the dome, by group."""
    line = newest(docs, "model_card", lambda head: head["model"] == MODEL)
    head, rows = line["headline"], []
    for row in line["rows"]:
        name = f"{row['heading']}: {row['group']}" if row["group"] else row["heading"]
        errors = (row[key] for key in ("n_mpjpe", "pa_mpjpe", "n_mpjpe_constant", "pa_mpjpe_constant"))
        rows.append((name, f"{row['crops']:,}", *(f"{error:.1f}" for error in errors)))
    header = ("crops", "number", "N-MPJPE", "PA-MPJPE", "constant pose, N-MPJPE", "constant pose, PA-MPJPE")
    about = f"mm, on {head['crops']:,} crops of {head['people']} people ({head['subjects']}) who were not trained on. "
    return "\n\n".join([markdown(header, rows), about + source(line, "model_card", "--data_dir=broad")])


def on_real_footage(docs: pathlib.Path) -> str:
    """Errors on the recording of two cameras."""
    line = newest(docs, "real_hands", lambda head: head.get("models") == [MODEL])
    rows = []
    for row in line["rows"]:
        cells = (f"{row['errors'][subject][metric]:.1f}" for subject in ("early", "late") for metric in (0, 1))
        rows.append((WAYS[row["way"]], *cells))
    header = ("crops", *(f"{part}, {metric}" for part in ("early", "late") for metric in ("N-MPJPE", "PA-MPJPE")))
    return "\n\n".join(
        [
            markdown(header, rows),
            f"mm, {line['headline']['pictures']} pictures. " + source(line, "real_hands", "--sequence=two_view_rig"),
        ]
    )


def confidence(docs: pathlib.Path) -> str:
    """Expected and observed errors of joints, and how well hands are told from crops without one."""
    line = newest(docs, "confidence", lambda head: head["model"] == MODEL)
    head, rows = line["headline"], line["rows"]
    names = ["the surest tenth", *(f"{number}." for number in range(2, len(rows))), "the least sure tenth"]
    cells = [
        (name, f"{row['expected_mm']:.1f}", f"{row['observed_mm']:.1f}") for name, row in zip(names, rows, strict=True)
    ]
    told = (
        f"AUROC of hands against crops without a hand, by the mean expected error: {head['auroc_dome']:.4f} on the dome"
    )
    if "auroc_real" in head:
        told += f", {head['auroc_real']:.4f} on the real footage ({head['real_hands']} of each)"
    about = f"Joints of {head['subjects']}, whom neither the estimator nor its confidence was trained on; mm. {told}. "
    arguments = ("--data_dir=broad", "--sequence=two_view_rig")
    table = markdown(("joints", "expected error", "observed error"), cells)
    return "\n\n".join([table, about + source(line, "confidence", *arguments)])


TABLES = {"confidence": confidence, "model_card_dome": on_the_dome, "model_card_real": on_real_footage}
