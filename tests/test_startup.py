"""Commands answer before they load what takes seconds."""

import json
import pathlib
import subprocess
import sys

import hand_tf

ROOT = pathlib.Path(hand_tf.__file__).resolve().parents[1]
HEAVY = {"tensorflow", "keras", "jax", "torch", "matplotlib"}
# Runs a command's --help as `python -m` does and says which modules are loaded then.
HELP = """
import contextlib, io, json, runpy, sys
found = {}
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    found[name] = len(said.getvalue()), sorted(set(sys.modules) & set(%r))
print(json.dumps(found))
"""


def commands():
    """Dotted names of all modules that are commands."""
    files = [*ROOT.glob("hand_tf/*.py"), *ROOT.glob("tfrecords_tools/**/*.py")]
    found = [path for path in files if "__main__" in path.stem or '__name__ == "__main__"' in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found]
    return sorted(name.removesuffix(".__main__") for name in names)


def test_functions_are_there_in_a_fresh_interpreter():
    """Whichever module is the first to load Keras: it is imported while Keras' import imports our layers."""
    script = "import hand_tf; print(hand_tf.mpjpe.__name__, hand_tf.load_estimator.__name__)"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "mpjpe load_estimator\n"


def test_help_loads_no_framework():
    names = commands()
    assert {"hand_tf.train", "hand_tf.predict", "tfrecords_tools.build", "tfrecords_tools.dome"} <= set(names)
    arguments = [sys.executable, "-c", HELP % sorted(HEAVY), *names]
    said = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name, (length, loaded) in json.loads(said).items():
        assert length > 200, f"{name} --help says nothing"
        assert not loaded, f"{name} --help, or that of a command before it, loads {loaded}"
