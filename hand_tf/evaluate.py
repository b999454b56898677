"""Measures a trained run on subjects it has not seen, and writes the numbers as JSON.

    hand-tf evaluate --data_dir=RECORDS --run=WORKDIR

Every labelled crop of the subjects counts once. All errors are in mm, of poses relative to the wrist, in the frame of
the crop's virtual camera. A mean over joints is over all 21 (accepted) joints, including the wrist, whose error is 0;
without the wrist, errors are 21/20 of that. A mean over crops gives each crop the same weight.

    mpjpe      mean joint distance                  pck     share of joints within 0, 1, ..., 50 mm, poses not scaled
    n_mpjpe    after the best scale per crop        auc_*   area under pck over 0-50 mm and over 20-50 mm, in 0..1
    pa_mpjpe   after the best similarity            reference   the same numbers for the labels' mean pose

    joints_2d_px   mean distance of the joints' places in the crop, in px; null for runs of version 0.2.0
    fused          errors of the poses that all measured views of an instant give together, turned into the world;
                   null if no instant has two of them. agreed_and_wrong: of the half of the instants on which the
                   views agree most, the worst ones

There are two crop rules: `box2d`, cut around the tight 2D box of the joints, which is what a detector would find, and
`joints3d`, the crops as built (around the 3D joints, at one metric scale).

WORKDIR/results.json holds {run, data, crops, results: {rule: numbers}, versions, machine}; `hand-tf report` reads it.
"""

import dataclasses
import pathlib

from hand_tf.core import atomic, command_line, crops, folder_lock, pretrained
from hand_tf.core.setting_fields import check, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """The flags of `evaluate`; see the help text of each."""

    data_dir: str = setting("Folder of records (hand-tf build).")
    run: str = setting("Workdir of a finished run that has a pose head, or hands, the model of the package.")
    subjects: str = setting("Subjects to test on; * for all.", "S9+S10")
    crop: str = setting("Crop rule, see above.", "both", choices=(*crops.CROP_RULES, "both"))
    box_margin: float = setting(
        "For box2d: side of the crop over the longer side of the joints' box.", crops.BOX_MARGIN, low=1
    )
    max_crops: int = setting("Number of crops to test on, always the same ones; 0: all.", 0, low=0)
    batch_size: int = setting("Crops per step; does not affect the results.", 64, low=1)
    output: str | None = setting("File to write, instead of WORKDIR/results.json.", None)

    def __post_init__(self):
        check(self)


def main(settings: EvaluateSettings) -> None:
    """Evaluates the run, writes results.json and prints it as a table."""
    from hand_tf.core import records_folder
    from hand_tf.results import evaluation, results_table

    workdir = pathlib.Path(settings.run)  # for a model of the package, a folder of its name receives the results
    result = evaluation.evaluate(
        pretrained.located(settings.run),
        records_folder.open_records(settings.data_dir),
        subjects=settings.subjects,
        rules=crops.CROP_RULES if settings.crop == "both" else (settings.crop,),
        box_margin=settings.box_margin,
        max_crops=settings.max_crops,
        batch_size=settings.batch_size,
    )
    output = pathlib.Path(settings.output or workdir / results_table.RESULTS_FILE)
    output.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock.holding(output.parent, output.name):
        atomic.write_sealed_json(output, result)
    if result["data"]["also_trained_on"]:
        print(f"warning: not a test on unseen people: training also used {result['data']['also_trained_on']}")
    print(evaluation.as_text(result))
    print(f"{output}: written; next: hand-tf report --runs={workdir.parent} --data_dir={settings.data_dir}")


if __name__ == "__main__":
    command_line.execute(main)
