"""The loader of model parts: what it loads is what was saved, and what it cannot load it names in one line."""

import json
import subprocess
import sys
import zipfile

import default_networks
import keras
import numpy as np
import pytest

from hand_tf.nets import models, parts

SIZE = 32


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with all three parts, freshly initialised."""
    folder = tmp_path_factory.mktemp("run")
    default_networks.encoder(SIZE, width=8, num_points=16, appearance_size=8).save(folder / "encoder.keras")
    default_networks.decoder(SIZE, width=8, num_points=16, appearance_size=8).save(folder / "decoder.keras")
    default_networks.pose_head(16, width=8).save(folder / "pose_head.keras")
    return folder


def with_members(source, target, **changes):
    """`source`, a .keras file, written to `target` with members replaced, or left out where the value is None."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert changes.keys() <= members.keys()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in (members | changes).items():
            if content is not None:
                archive.writestr(name, content)


def test_a_loaded_part_computes_what_the_saved_one_did(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    saved = default_networks.encoder(SIZE, width=8, num_points=16, appearance_size=8)
    saved.save(tmp_path / "encoder.keras")
    loaded = parts.load_part(tmp_path, "encoder", SIZE)
    for name, expected in saved.predict_on_batch(image).items():
        np.testing.assert_allclose(loaded.predict_on_batch(image)[name], expected, atol=1e-6)
    assert not loaded.compiled


def test_all_parts_load(run):
    assert parts.load_part(run, "decoder").name == "decoder"
    found = parts.load_parts(run)
    assert list(found) == ["encoder", "pose_head"]
    assert (
        models.pose_estimator(**{f"{name}_model": part for name, part in found.items()}).output["pose"].shape[1] == 21
    )


def test_a_missing_part_says_what_to_do(run, tmp_path):
    for name, advice in (
        ("encoder", "finished run"),
        ("decoder", "novel views"),
        ("pose_head", f"--regime=pose_head --init_from={tmp_path}"),
    ):
        with pytest.raises(FileNotFoundError, match=f"no {name}.keras there; .*{advice}"):
            parts.load_part(tmp_path, name)
    (tmp_path / "encoder.keras").write_bytes((run / "encoder.keras").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no pose_head\.keras there"):
        parts.load_parts(tmp_path)


def test_another_crop_size_is_refused(run):
    assert set(parts.load_parts(run, SIZE)) == {"encoder", "pose_head"}
    with pytest.raises(ValueError, match=r"encoder\.keras: .* crops of 32 px, not of 64 px"):
        parts.load_parts(run, 64)


def test_damage_is_one_line_that_names_the_file(run, tmp_path):
    whole, path = (run / "pose_head.keras").read_bytes(), tmp_path / "pose_head.keras"
    half = len(whole) // 2
    for content, found in (
        (b"", "not a file that Keras has written"),
        (b"version https://git-lfs.github.com/spec/v1", "not a file that Keras has written"),
        (whole[:-100], "cut short, or damaged"),
        (whole[:half], "cut short, or damaged"),
        (whole[:half] + bytes(500) + whole[half + 500 :], "damaged, or not a model of hand_tf"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^\S*pose_head\.keras: {found}.*$"):
            parts.load_part(tmp_path, "pose_head")
    for changes in (
        {"config.json": None},
        {"config.json": b"{"},
        {"config.json": b"[]"},
        {"model.weights.h5": None},
        {"model.weights.h5": b"x"},
    ):
        with_members(run / "pose_head.keras", path, **changes)
        with pytest.raises(ValueError, match=r"^\S*pose_head\.keras: damaged.*$"):
            parts.load_part(tmp_path, "pose_head")


def test_a_file_of_another_keras_says_so(run, tmp_path):
    metadata = json.dumps({"keras_version": "9.9.9"}).encode()
    path = tmp_path / "pose_head.keras"
    with_members(run / "pose_head.keras", path, **{"metadata.json": metadata, "config.json": b"{}"})
    with pytest.raises(
        ValueError, match=rf"pose_head\.keras: Keras 9\.9\.9 has .*, and this is Keras {keras.__version__}"
    ):
        parts.load_part(tmp_path, "pose_head")


def test_code_in_a_file_is_not_run(tmp_path):
    points = keras.Input((16, 3))
    keras.Model(points, keras.layers.Lambda(lambda x: x + 1)(points)).save(tmp_path / "pose_head.keras")
    with pytest.raises(ValueError, match=r"^\S*pose_head\.keras: .*Lambda.*$"):
        parts.load_part(tmp_path, "pose_head")


def test_looking_for_files_loads_no_framework(run):
    script = (
        "import sys; from hand_tf.nets import parts\n"
        f"print(parts.find_part({str(run)!r}, 'encoder').name)\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["encoder.keras", "[]"]
