"""Imports go one way, and only where TensorFlow is needed does it come along."""

import ast
import pathlib
import subprocess
import sys

import pytest

import hand_tf

PACKAGE = pathlib.Path(hand_tf.__file__).parent
TOOLS = PACKAGE.parent / "tfrecords_tools"

# A module may import those of the rows above its own.
LAYERS = (
    {"skeleton"},
    {"schema", "geometry", "manifest", "scenarios", "drawing", "figures", "command", "litert", "kernels"},
    {"layers", "losses", "metrics", "augment", "streams", "inputs", "workdir", "processes"},
    {"resnet", "mobile", "pipeline", "labelled", "probe", "checkpoints"},
    {"models"},
    {"regimes", "summaries"},
    {"settings", "study", "provenance"},
    {"trainer"},
    {"train", "evaluate", "export", "predict"},
    {"overlays"},
    {"report"},  # reads what the other commands wrote, and loads models as `evaluate` does
)
COMMANDS = {"train", "evaluate", "export", "predict", "report"}
HEIGHT = {name: height for height, row in enumerate(LAYERS) for name in row}
BACKEND_FREE = {"layers", "losses", "metrics", "resnet", "mobile", "models", "regimes"}
LIGHT = {"skeleton", "geometry", "manifest", "scenarios", "drawing", "command"}


def names(folder):
    return {path.stem for path in folder.glob("*.py")} - {"__init__"}


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


def siblings(found):
    """The modules of `hand_tf` among dotted names."""
    return {name.split(".")[1] for name in found if name.startswith("hand_tf.")}


def outside(found):
    """The packages among dotted names that belong neither to Python nor to this project."""
    return {name.split(".")[0] for name in found} - set(sys.stdlib_module_names) - {"hand_tf", "tfrecords_tools"}


def test_every_module_has_its_place():
    assert names(PACKAGE) <= set(HEIGHT)


@pytest.mark.parametrize("module", sorted(names(PACKAGE) & set(HEIGHT)))
def test_imports_go_one_way(module):
    found = imported(PACKAGE / f"{module}.py")
    wrong = {name for name in siblings(found) if HEIGHT[name] >= HEIGHT[module]}
    assert not wrong, f"{module} must not import {wrong}"
    assert not {name.split(".")[0] for name in found} & {"tfrecords_tools", "benchmarks", "tests"}


def test_the_package_itself_imports_nothing_of_its_own():
    found = imported(PACKAGE / "__init__.py")
    assert not siblings(found) and not outside(found)


@pytest.mark.parametrize("module", sorted(names(TOOLS)))
def test_tools_use_what_the_records_need_and_no_more(module):
    allowed = {"skeleton", "schema", "geometry", "manifest", "drawing", "command"}
    assert siblings(imported(TOOLS / f"{module}.py")) <= allowed


@pytest.mark.parametrize("module", sorted(BACKEND_FREE))
def test_model_mathematics_is_backend_free(module):
    allowed = {"keras", "numpy"} | ({"h5py", "safetensors"} if module == "resnet" else set())
    found = imported(PACKAGE / f"{module}.py")
    assert outside(found) <= allowed
    assert siblings(found) <= BACKEND_FREE | {"skeleton"} | ({"kernels"} if module == "layers" else set())


@pytest.mark.parametrize("module", sorted(LIGHT))
def test_light_modules_name_no_framework(module):
    assert not outside(imported(PACKAGE / f"{module}.py")) & {"tensorflow", "keras", "jax", "torch"}


def test_light_modules_load_no_framework():
    modules = ", ".join(f"hand_tf.{name}" for name in sorted(LIGHT))
    code = f"import sys, {modules}; print(*({{'tensorflow', 'keras', 'jax'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_only_commands_define_flags():
    for module in names(PACKAGE) - COMMANDS - {"command", "settings"}:  # `settings` are those of `train`
        assert "absl" not in outside(imported(PACKAGE / f"{module}.py")), module
