"""Every file that is read, with hundreds of seeded faults: it is read, or one of our errors names the file."""

import json
import random

import mutations
import pytest
import tiny_dump

from hand_tf.core import command_line, reading, records_folder
from hand_tf.core.errors import InputError
from hand_tf.results import page, results_table, trainings
from hand_tf.serving import boxes, intrinsics, model_files
from hand_tf.serving.left_out import LeftOut
from hand_tf.training import callbacks, runs
from hand_tf.training.settings import TrainingSettings
from tfrecords_tools.dump import boxes as dump_boxes
from tfrecords_tools.dump import panoptic
from tfrecords_tools.dump.skipped import Skipped

CASES = 120  # of each kind


class Files:
    """One sound file of each kind, in folders of their own, and how each is read."""

    def __init__(self, folder, records):
        self.folder = folder
        self.sequence = folder / "pose1"
        tiny_dump.write(self.sequence, frames=2)
        (self.sequence / "subjects.csv").write_text(
            "sequence,first_frame,last_frame,person_id,subject\npose1,0,0,*,S0\npose1,1,9,0,S1\n"
        )
        (self.sequence / "boxes.csv").write_text(
            "frame,camera,person,side,x,y,width,height\n0,00_00,0,left,10,12,50,40\n0,00_01,0,left,20,22,50,40\n"
        )
        self._write_run()
        for name in ("manifest.json", "index.csv"):
            content = (records / name).read_bytes()
            (folder / name).write_bytes(content)
        manifest = reading.read_json_object(folder / "manifest.json")  # without its seal: as of version 0.2.0
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "boxes.csv").write_text("file,x,y,width,height,hand\na.png,1,2,30,40,left\nb.png,1,2,3,4,\n")
        camera = tiny_dump.cameras()[0]
        (folder / "camera.json").write_text(
            json.dumps({"K": camera.K.tolist(), "distCoef": camera.dist.tolist(), "resolution": [480, 360]})
        )
        (folder / "hand_tf.json").write_text(
            json.dumps({"image_size": 32, "box_margin": 1.5, "scale": "", "files": {"model.tflite": "0" * 64}})
        )
        (folder / "model.tflite").touch()
        (folder / "my.flags").write_text("# flags\n--regime=pretrain\n--data_dir=x\n--workdir=y\n--batch_size=8\n")

    def _write_run(self):
        self.run = self.folder / "runs" / "supervised"
        self.run.mkdir(parents=True)
        flags = {"regime": "supervised", "seed": "0", "in_plane_degrees": "0.0", "subjects": "*", "test": "x"}
        summary = {"regime": "supervised", "scenario": "S0:4", "labels": 4, "init_from": None, "steps": 20}
        summary |= {"batch_size": 4, "seconds": 9.0, "backend": "tensorflow", "flags": flags, "files": {}}
        (self.run / "run.json").write_text(json.dumps(summary))
        (self.run / "history.csv").write_text("epoch,loss,probe\n1,0.5,70\n2,0.25,60\n")
        numbers = {"n_mpjpe": 40.0, "mpjpe": 50.0, "pa_mpjpe": 20.0, "auc_0_50": 0.5, "auc_20_50": 0.5}
        numbers |= {"per_joint": {}, "per_subject": {}, "pck": [0.0] * 51}
        data = {"subjects": "S9", "max_crops": 0, "box_margin": 1.5, "crop_size": 32, "index_sha256": "0"}
        result = {"run": runs.describe(self.run), "data": data, "crops": 9, "versions": {}, "machine": {}}
        result |= {"results": {"box2d": numbers | {"reference": numbers}}}
        (self.run / "results.json").write_text(json.dumps(result))

    def read_hands(self, path):
        """All hands of the sequence, for every person a subject."""
        panoptic.read_hands(self.sequence, 0.5, 20.0, lambda frame, person: "S0", Skipped())

    def read_subjects(self, path):
        """Who is who."""
        panoptic.read_subjects(self.sequence)(0, 0)

    def read_results(self, path):
        """The tables of the report."""
        table = results_table.ResultsTable(results_table.load_results(self.run.parent))
        page.as_text(page.table_1(table), table.rule)
        page.table_2(table)
        page.in_short(table)

    def read_dump_boxes(self, path):
        """Hands without joints."""
        dump_boxes.read_instants(self.sequence, tiny_dump.cameras(), lambda *_: "S0", [], Skipped())

    def read_flags(self, path):
        """Flags of a training."""
        command_line.parse(TrainingSettings, [f"--flagfile={path}"])

    def kinds(self):
        """{kind: (file, how it is changed, how it is read)}."""
        json_file, table = mutations.mutate_json, mutations.mutate_table
        hands = self.sequence / "hdHand3d" / "handRecon3D_hd00000001.json"
        return {
            "calibration": (panoptic.calibration_path(self.sequence), json_file, panoptic.read_calibration),
            "hand file": (hands, json_file, self.read_hands),
            "subjects": (self.sequence / "subjects.csv", table, self.read_subjects),
            "boxes of a dump": (self.sequence / "boxes.csv", table, self.read_dump_boxes),
            "boxes": (self.folder / "boxes.csv", table, lambda path: boxes.read_boxes(path, "left", LeftOut())),
            "intrinsics": (self.folder / "camera.json", json_file, intrinsics.read_camera),
            "model": (self.folder / "hand_tf.json", json_file, lambda path: model_files.read_description(path.parent)),
            "manifest": (self.folder / "manifest.json", json_file, lambda path: records_folder._read_manifest(path)),
            "index": (self.folder / "index.csv", table, lambda path: records_folder.read_index(path.parent)),
            "run": (self.run / "run.json", json_file, lambda path: runs.describe(path.parent)),
            "results": (self.run / "results.json", json_file, self.read_results),
            "history": (self.run / "history.csv", table, callbacks.read_history),
            "runs": (self.run / "history.csv", table, lambda path: trainings.load_trainings(self.run.parent)),
            "flags": (self.folder / "my.flags", mutations.mutate_bytes, self.read_flags),
        }


KINDS = (
    *("calibration", "hand file", "subjects", "boxes of a dump", "boxes", "intrinsics", "model", "manifest", "index"),
    *("run", "results", "history", "runs", "flags"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory, records):
    return Files(tmp_path_factory.mktemp("files"), records)


@pytest.mark.filterwarnings("ignore::hand_tf.core.remarks.Remark")
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_harmless_or_named(files, kind, record_property):
    path, change, read = files.kinds()[kind]
    sound, failures, named = path.read_bytes(), [], 0
    read(path)
    try:
        for case in range(CASES):
            path.write_bytes(change(random.Random(f"{kind} {case}"), sound))
            try:
                read(path)
            except (InputError, OSError) as error:
                named += 1
                # A wrong flag is named instead: it could stand on the command line just as well.
                if kind != "flags" and path.name not in str(error) and path.parent.name not in str(error):
                    failures.append(f"case {case}: does not name the file: {error}")
                if "\n" in str(error):
                    failures.append(f"case {case}: more than one line: {error}")
            except Exception as error:
                failures.append(f"case {case}: {type(error).__name__}: {error} ({path.read_bytes()[:300]})")
    finally:
        path.write_bytes(sound)
    assert not failures, f"{len(failures)} of {CASES}:\n" + "\n".join(failures[:12])
    for name, value in {"group": "mutated", "what": kind, "faults": CASES, "named": named}.items():
        record_property(name, value)
