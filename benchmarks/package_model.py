"""Makes a finished run a model of the package.

    python -m benchmarks.package_model --run=RUN --data_dir=RECORDS

writes hand_tf/pretrained/hands: the encoder and the pose head with weights in half precision and compressed, run.json
with the run's flags and what its records were made with, and the LiteRT model in 8-bit integers. Keras reads such files
as any other. Prints how large they are, and how far the poses move by both roundings.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
import zipfile

import numpy as np

from hand_tf.core import atomic, command_line, crops, pretrained, reading, records_folder, run_folder
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting

MOST = 8e6  # bytes that all models of the package may take
_PATHS = ("workdir", "data_dir", "init_from")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackageSettings:
    """The flags of this command."""

    run: str = setting("Folder of the finished `confidence` run; that of its estimator lies beside it.")
    data_dir: str = setting("The records that it learned from.")
    name: str = setting("Name of the model.", "hands", choices=pretrained.NAMES)
    folder: str = setting("Folder of the models of the package.", str(pretrained.FOLDER))

    def __post_init__(self):
        check(self)


def main(settings: PackageSettings) -> None:
    """Writes the model into the package, in place of an older one."""
    records = records_folder.open_records(settings.data_dir)
    target = pathlib.Path(settings.folder) / settings.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = pathlib.Path(scratch) / settings.name
        _write(settings, records, made)
        sizes = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
        if sum(sizes.values()) > MOST:
            raise InputError(f"{settings.run}: {sum(sizes.values()) / 1e6:.1f} MB, at most {MOST / 1e6:g} MB expected")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(made, target)
    print(f"{target}: {sum(sizes.values()) / 1e6:.2f} MB; {json.dumps(sizes)}")


def _write(settings, records, made):
    from hand_tf.nets import parts
    from hand_tf.serving import calibration, export_model, model_files

    made.mkdir()
    found = parts.load_parts(settings.run, records.manifest.crop_size)
    sample = calibration.training_crops(settings.run, records, crops.BOX_MARGIN)
    exact = export_model.load_run(settings.run).predict({"source": sample.held_out}, verbose=0)["pose"]
    for name, part in found.items():
        _save_in_half(part, made / f"{name}.keras")
    summary = _summary(settings, records)
    files = {path.name: atomic.sha256(path) for path in sorted(made.glob("*.keras"))}
    atomic.write_sealed_json(run_folder.summary_path(made), summary | {"files": files})
    rounded = export_model.load_run(made)
    moved = np.linalg.norm(rounded.predict({"source": sample.held_out}, verbose=0)["pose"] - exact, axis=-1).mean()
    print(f"half precision moves joints by {moved:.3f} mm")
    size = rounded.inputs[0].shape[1]
    description = model_files.describe_model(size, crops.BOX_MARGIN, summary["estimator"], list(rounded.output))
    with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
        export = pathlib.Path(scratch) / "model"
        print(export_model.export_model(rounded, export, description, "litert_int8", sample))
        for path in export.iterdir():
            shutil.move(path, made / path.name)


def _save_in_half(part, path):
    """Saves a model whose weights are rounded to half precision, compressed: the bits that are 0 take no place."""
    weights = [weight.astype("float16").astype(weight.dtype) for weight in part.get_weights()]
    if not all(np.isfinite(weight).all() for weight in weights):
        raise InputError(f"{path.name}: weights beyond the range of half precision")
    part.set_weights(weights)
    plain = path.with_name(f"plain.{path.name}")
    part.save(plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for member in source.infolist():
            target.writestr(zipfile.ZipInfo(member.filename), source.read(member), zipfile.ZIP_DEFLATED, 9)
    plain.unlink()


def _summary(settings, records):
    """The run's run.json without paths, with that of the estimator that it started from, and with what the records
    were made with.
    """
    summary = _without_paths(settings.run)
    start = pathlib.Path(settings.run).parent / pathlib.Path(summary["init_from"]).name
    earlier = {"init_from": None, "estimator": _without_paths(start), "data": _data(records.manifest.build_flags)}
    return summary | earlier


def _without_paths(run):
    summary = reading.read_json_object(run_folder.summary_path(run))
    flags = {name: value for name, value in summary["flags"].items() if name not in _PATHS}
    return {name: value for name, value in summary.items() if name not in ("files", atomic.SEAL)} | {"flags": flags}


def _data(made_with):
    """What the records were made with; of all sequences what they have in common."""
    sequences = made_with["sequences"]
    common = {name: value for name, value in sequences[0].items() if all(each[name] == value for each in sequences)}
    subjects = sum(len(each["subjects"]) for each in sequences)
    rest = {name: value for name, value in made_with.items() if name not in ("sequences", "output")}
    return rest | {"sequences": len(sequences), "subjects": subjects, "each_sequence": common}


if __name__ == "__main__":
    command_line.execute(main)
