"""Keras knows our layers once both are imported, in either order, and `import hand_tf` alone loads no framework."""

import json
import os
import subprocess
import sys
import zipfile

import default_networks
import keras
import pytest

from hand_tf.core import keras_registration
from hand_tf.nets import layers, point_layers, pose_layers

# The names of the layers stand in the .keras files of all versions: none may change.
LAYERS = {
    *("RotatePoints", "NormalizePoints", "CentrePoints", "PlacePoints", "DropPoints", "HeatmapPoints", "SplatPoints"),
    *("SwapPartners", "LinearPose", "JointsInCrop", "UnstandardizePose", "ExpectedError"),
    *("CompositeBackground", "NormalizeImage", "BatchNorm"),
}
# These stand in the files of compiled models.
LOSSES_AND_METRICS = {"PixelL1", "MaskBCE", "FeatureL1", "PoseMSE", "JointsMSE", "ExpectedErrorNLL", "MPJPE", "NMPJPE"}


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """An encoder in a .keras file, whose config names the modules where version 0.2.0 had its classes."""
    folder = tmp_path_factory.mktemp("part")
    default_networks.encoder(32, width=8, num_points=16, appearance_size=8).save(folder / "new.keras")
    with zipfile.ZipFile(folder / "new.keras") as source, zipfile.ZipFile(folder / "old.keras", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                assert b'"hand_tf.nets.layers"' in content and b'"hand_tf.nets.point_layers"' in content
                for module in (b"layers", b"point_layers"):
                    content = content.replace(b'"hand_tf.nets.%s"' % module, b'"hand_tf.layers"')
            target.writestr(name, content)
    return folder / "old.keras"


def output_of(script, **environment):
    """What a fresh Python prints that runs `script`, as lines."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


THREADS = """
import hand_tf, importlib, threading
names = ["keras", "hand_tf.nets.models", "keras.saving", "hand_tf.training.losses"]
threads = [threading.Thread(target=importlib.import_module, args=[name]) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
import keras
"""


@pytest.mark.parametrize(
    ("backend", "imports"),
    [
        ("numpy", "import hand_tf, keras"),  # NumPy, because it loads fastest
        ("numpy", "import keras, hand_tf"),
        ("numpy", THREADS),
        ("tensorflow", "import tensorflow, hand_tf, keras"),
        ("tensorflow", "import hand_tf, tensorflow as tf; tf.keras.layers; import keras"),
    ],
)
def test_keras_loads_our_files_after_any_order_of_imports(part, backend, imports):
    script = f"{imports}\nprint(sorted(keras.saving.load_model({str(part)!r}, compile=False).output))"
    assert output_of(script, KERAS_BACKEND=backend)[-1] == "['appearance', 'points']"


def test_keras_knows_our_layers_on_jax_without_tensorflow():
    pytest.importorskip("jax")
    script = (
        "import hand_tf, keras, sys\n"
        "print(keras.saving.get_registered_object('hand_tf>BatchNorm').__name__, keras.backend.backend())\n"
        "print('tensorflow' in sys.modules)"
    )
    assert output_of(script, KERAS_BACKEND="jax") == ["BatchNorm jax", "False"]


def test_hand_tf_alone_loads_no_framework():
    script = (
        "import sys, hand_tf\n"
        "print([name for name in ('tensorflow', 'keras', 'jax', 'torch', 'matplotlib', 'cv2') if name in sys.modules])"
    )
    assert output_of(script) == ["[]"]


def test_the_import_system_works_as_before():
    """The finder answers for Keras alone, and leaves nothing behind in its module."""
    script = """
import hand_tf, importlib.util, inspect, sys
spec = importlib.util.find_spec("keras")
assert spec.origin.endswith("__init__.py") and "import" in spec.loader.get_source("keras")
assert "keras" not in sys.modules
assert importlib.util.find_spec("no_such_module") is None
import keras
assert type(keras.__loader__).__name__ == type(keras.__spec__.loader).__name__ == "SourceFileLoader"
assert {"hand_tf.nets.layers", "hand_tf.nets.point_layers", "hand_tf.nets.pose_layers"} <= set(sys.modules)
assert inspect.getsource(keras)
layer = keras.saving.get_registered_object("hand_tf>RotatePoints")
importlib.reload(keras)
assert keras.saving.get_registered_object("hand_tf>RotatePoints") is layer
importlib.reload(hand_tf)
print(sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path))
"""
    assert output_of(script, KERAS_BACKEND="numpy") == ["1"]


def test_keras_that_is_not_installed_is_not_found(monkeypatch):
    finder = keras_registration._Finder(["no.such.module"])
    monkeypatch.setattr(sys, "meta_path", [finder])
    assert finder.find_spec("keras", None) is None


@pytest.mark.parametrize("name", sorted(LAYERS | LOSSES_AND_METRICS))
def test_registered_names_do_not_change(name):
    found = keras.saving.get_registered_object(f"hand_tf>{name}")
    assert found.__name__ == name and keras.saving.get_registered_name(found) == f"hand_tf>{name}"


def test_every_layer_of_ours_has_a_pinned_name():
    ours = {
        name
        for module in (layers, point_layers, pose_layers)
        for name, each in vars(module).items()
        if isinstance(each, type) and each.__module__ == module.__name__
    }
    assert ours == LAYERS


def test_files_name_the_layers_as_registered(part):
    with zipfile.ZipFile(part) as archive:
        config = json.loads(archive.read("config.json"))
    found = {layer["registered_name"] for layer in config["config"]["layers"] if layer["module"] == "hand_tf.layers"}
    assert found == {"hand_tf>NormalizeImage", "hand_tf>BatchNorm", "hand_tf>NormalizePoints"}
