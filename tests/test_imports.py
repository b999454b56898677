"""Imports go one way, and only where TensorFlow is needed does it come along."""

import ast
import itertools
import pathlib
import subprocess
import sys

import pytest

import hand_tf

ROOT = pathlib.Path(hand_tf.__file__).resolve().parents[1]
# The packages in the order of architecture: a package may import those before it; those of one row do not know each
# other. `commands` are the modules that lie beside the packages.
ORDER = {
    "hand_tf": (("core",), ("data", "nets"), ("training",), ("results", "serving"), ("commands",)),
    "tfrecords_tools": (("dump",), ("records",), ("commands", "dome")),
    "tfrecords_tools.dome": (("random_keys", "variety"), ("person", "studio"), ("commands",)),
}
# Model mathematics knows no backend; `kernels` holds the one shortcut, `parts` and `feature_networks` read files.
BACKEND_FREE = [*(ROOT / "hand_tf" / "nets").glob("*.py"), *(ROOT / "hand_tf" / "training").glob("*.py")]
_MATHEMATICS = ("layers", "point_layers", "pose_layers", "resnet", "mobile", "lite0")
_MATHEMATICS += ("weight_files", "models", "metrics")
BACKEND_FREE = [path for path in BACKEND_FREE if path.stem in _MATHEMATICS]
BACKEND_FREE += [ROOT / "hand_tf" / "training" / f"{name}.py" for name in ("losses", "regimes", "wiring")]
FRAMEWORKS = {"tensorflow", "keras", "jax", "torch", "matplotlib"}


def modules(package):
    """Paths of the modules of a package, at any depth."""
    return sorted(path for path in (ROOT / package.replace(".", "/")).rglob("*.py") if path.stem != "__init__")


def imported(path):
    """Everything that a file imports, inside functions too, as dotted names: `from a import b` gives `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(name, package):
    """The part of `package` that a dotted name belongs to, None for names of other packages."""
    rest = name.removeprefix(f"{package}.")
    if rest == name:
        return None
    part = rest.split(".")[0]
    return part if part in set(itertools.chain(*ORDER[package])) else "commands"


def outside(found):
    """The packages among dotted names that belong neither to Python nor to this project."""
    return {name.split(".")[0] for name in found} - set(sys.stdlib_module_names) - {"hand_tf", "tfrecords_tools"}


@pytest.mark.parametrize("package", ORDER)
def test_imports_go_one_way(package):
    height = {part: n for n, row in enumerate(ORDER[package]) for part in row}
    folders = {path.name for path in (ROOT / package.replace(".", "/")).iterdir() if (path / "__init__.py").is_file()}
    assert folders <= set(height), "a package without its place in the order"
    for path in modules(package):
        own = place(".".join(path.relative_to(ROOT).with_suffix("").parts), package)
        for name in imported(path):
            other = place(name, package)
            # Commands and the modules of dome/ that lie side by side may use each other.
            allowed = other is None or other == own or height[other] < height[own]
            assert allowed, f"{path.relative_to(ROOT)} must not import {name}"


def test_hand_tf_does_not_need_the_tools():
    for path in modules("hand_tf"):
        assert not {name.split(".")[0] for name in imported(path)} & {"tfrecords_tools", "benchmarks", "tests"}, path


def test_tools_use_the_core_alone():
    for path in modules("tfrecords_tools"):
        wrong = {name for name in imported(path) if name.startswith("hand_tf.") and not name.startswith("hand_tf.core")}
        assert not wrong, f"{path.relative_to(ROOT)} must not import {wrong}"


def test_the_packages_themselves_import_no_framework():
    for path in [*ROOT.glob("hand_tf/**/__init__.py"), *ROOT.glob("tfrecords_tools/**/__init__.py")]:
        assert not outside(imported(path)) & FRAMEWORKS, path


@pytest.mark.parametrize("path", BACKEND_FREE, ids=lambda path: path.stem)
def test_model_mathematics_is_backend_free(path):
    found = imported(path)
    assert outside(found) <= {"keras", "numpy"} | ({"h5py", "safetensors"} if path.stem == "weight_files" else set())
    ours = {".".join(name.split(".")[:3]) for name in found if name.startswith("hand_tf.")}
    known = {f"hand_tf.{each.parent.name}.{each.stem}" for each in BACKEND_FREE}
    known |= {"hand_tf.core.errors", "hand_tf.core.skeleton"}
    assert ours <= known | ({"hand_tf.nets.kernels"} if path.stem == "layers" else set())


def test_tensorflow_stays_in_its_rooms():
    """Elsewhere Keras is enough, so that models train on every backend."""
    rooms = {"core/schema", "data", "training/trainer", "training/callbacks", "training/run_data", "serving"}
    rooms |= {"core/tensorflow_errors", "nets/kernels", "results/evaluation"}
    for path in modules("hand_tf"):
        name = path.relative_to(ROOT / "hand_tf").with_suffix("").as_posix()
        if "tensorflow" in outside(imported(path)):
            assert name in rooms or name.split("/")[0] in rooms, name


def test_light_modules_load_no_framework():
    with_tensorflow = {"schema", "tensorflow_errors"}
    light = [path for path in modules("hand_tf") if path.parent.name == "core" and path.stem not in with_tensorflow]
    light += [ROOT / "hand_tf" / name for name in ("data/scenarios.py", "training/settings.py", "training/runs.py")]
    names = ", ".join(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in light)
    code = f"import sys, {names}; print(*({FRAMEWORKS!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_only_the_command_line_knows_absl():
    """A library function that reads a flag could not be called by another program."""
    for path in [*modules("hand_tf"), *modules("tfrecords_tools"), *modules("benchmarks")]:
        assert ("absl" in outside(imported(path))) == (path.stem == "command_line"), path


def test_the_tree_shows_commands_and_six_packages():
    folder = ROOT / "hand_tf"
    commands = {"fetch", "train", "evaluate", "study", "report", "export", "predict"}
    assert {path.stem for path in folder.glob("*.py")} == commands | {"__init__"}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert packages == {"core", "data", "nets", "training", "results", "serving"}
