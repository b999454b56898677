"""Exports a finished run as a model that runs without the code of this project.

    hand-tf export --run=WORKDIR --output=MODEL
    hand-tf export --run=WORKDIR --output=MODEL --format=litert
    hand-tf export --run=WORKDIR --output=MODEL --format=litert_int8 --data_dir=RECORDS

    savedmodel      MODEL is a TensorFlow SavedModel
    litert          MODEL/model.tflite, float32; needs only the LiteRT runtime (ai-edge-litert)
    litert_int8     the same in 8-bit integers: a quarter of the size and several times faster; joints move by some mm,
                    accuracy hardly changes

Input and output of the signature `serving_default`:

    image    uint8   [batch, size, size, 3]   RGB crops of right hands; size is the run's crop size. Batches have
                                              any size; LiteRT models start with 1
    pose     float32 [batch, 21, 3]           mm, relative to the wrist, in the frame of the crop's virtual camera:
                                              x right, y down, z away from the camera
    joints_2d   float32 [batch, 21, 2]        px, where the joints are in the crop; runs of version 0.2.0 lack it
    joint_error float32 [batch, 21]           mm, how far off each joint is expected to be; only from runs that have
                                              learned it (train --regime=confidence)

MODEL/hand_tf.json is all that a program needs to know to use the model without this package: how a crop follows from a
box, left hands, input, outputs, frames, joints; and what the run learned from. docs/serving.md explains it. One camera
cannot tell a small near hand from a large far one, so a pose is right up to its scale. In Python:

    estimate = tf.saved_model.load(MODEL).signatures["serving_default"]
    pose = estimate(image=tf.constant(crops))["pose"]

    estimate = ai_edge_litert.interpreter.Interpreter(f"{MODEL}/model.tflite").get_signature_runner()
    pose = estimate(image=crops)["pose"]

Before MODEL appears, the new file is read back and compared with the run's own networks: they must agree to 1e-4 mm, in
LiteRT to 1e-3 mm. An integer model cannot agree as closely. The ranges of its integers are set on crops of the subjects
that the run has seen; on other crops of these subjects, its distance to the float model is measured, printed, and kept
in hand_tf.json. Networks trained in half precision are exported in float32. The export itself needs Keras' TensorFlow
backend; the run may have been trained on any backend.
"""

import dataclasses
import os

from hand_tf.core import command_line, crops, pretrained, reading, records_folder, run_folder
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError, check, setting
from hand_tf.nets import parts
from hand_tf.serving import model_files

FORMATS = ("savedmodel", "litert", "litert_int8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """The flags of `export`; see the help text of each."""

    run: str = setting("Workdir of a finished run that has a pose head, or hands, the model of the package.")
    output: str = setting("Folder to write the model to.")
    format: str = setting("Format of the model.", "savedmodel", choices=FORMATS)
    data_dir: str | None = setting("For litert_int8: folder of the records that the run learned from.", None)
    box_margin: float = setting(
        "Side of a crop over the longer side of the hand's box, as it was evaluated.", crops.BOX_MARGIN, low=1
    )
    overwrite: bool = setting("Replace a model that is already there.", False)

    def __post_init__(self):
        check(self)
        if self.format == "litert_int8" and not self.data_dir:
            raise SettingError(
                "--format=litert_int8 sets the ranges of its integers on crops of the run's records: pass --data_dir"
            )


def main(settings: ExportSettings) -> None:
    """Exports the run."""
    # All that can be wrong is looked at before TensorFlow, which takes seconds to load.
    model_files.check_output(settings.output, settings.overwrite)
    run = pretrained.located(settings.run)
    summary = read_summary(run)
    records = None
    if settings.format == "litert_int8":
        records = records_of_run(settings.data_dir, run, summary)

    from hand_tf.nets import keras_settings

    with keras_settings.ours():
        _export(settings, run, summary, records)


def _export(settings, run, summary, records):
    from hand_tf.serving import calibration, export_model

    crops = calibration.training_crops(run, records, settings.box_margin) if records else None
    model = export_model.load_run(run)
    size = model.inputs[0].shape[1]
    description = model_files.describe_model(size, settings.box_margin, summary, list(model.output))
    found = export_model.export_model(model, settings.output, description, settings.format, crops, settings.overwrite)
    print(f"{settings.output}: written, reads crops of {size} px; {found}")
    print(f"next: hand-tf predict --model={settings.output} IMAGE...")


def read_summary(run: str | os.PathLike) -> dict:
    """The content of a run's run.json.

    Raises FileNotFoundError unless the run has finished and has learned poses, ValueError for damaged files.
    """
    path = run_folder.summary_path(run)
    if not path.is_file():
        raise FileNotFoundError(f"--run={run}: no run.json there; is this the workdir of a finished run?")
    summary = reading.read_json_object(path)
    for name in ("encoder", "pose_head"):
        parts.find_part(run, name)
    return summary


def records_of_run(data_dir: str | os.PathLike, run: str | os.PathLike, summary: dict) -> records_folder.Records:
    """The records in `data_dir`. Raises ValueError if the run with this summary has learned from others."""
    records = records_folder.open_records(data_dir)
    if summary.get("records") != records.manifest.digest:
        raise InputError(f"--data_dir={data_dir}: not the records that {run} learned from")
    return records


if __name__ == "__main__":
    command_line.execute(main)
