"""The wheel alone, in an empty environment, started in an empty directory: the way from a dump to predictions.

Dependencies come from the environment of the tests, through a .pth file: what is tested is what the wheel brings.
"""

import os
import pathlib
import subprocess
import sys
import venv

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of programs of an environment that holds the wheel, and nothing else of this project."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    source = folder / "source"
    # A copy of what git tracks, so that a folder `build` of earlier wheels adds nothing.
    listing = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*build, str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--prefix", folder / "env"]
    subprocess.run([*install, "--ignore-installed", "--no-warn-script-location", wheel], check=True)
    others = [path for path in sys.path if path.endswith("site-packages")]
    # After our own packages on the path; .pth files of that environment, such as an editable install, do not count.
    (packages / "dependencies.pth").write_text("\n".join(others))
    script = folder / "env" / "bin" / "hand-tf"
    text = script.read_text().splitlines(keepends=True)
    script.write_text(f"#!{folder / 'env' / 'bin' / 'python'}\n" + "".join(text[1:]))
    return folder / "env" / "bin"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return tmp_path_factory.mktemp("empty")


@pytest.fixture
def run(installed, empty):
    def run(*arguments, program="hand-tf"):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [installed / program, *arguments]
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout, done.stderr

    return run


def test_it_is_the_wheel_that_is_imported(run, installed):
    code = "import hand_tf, tfrecords_tools; print(hand_tf.__file__, tfrecords_tools.__file__)"
    where, _ = run("-c", code, program="python")
    assert all(path.startswith(str(installed.parent)) for path in where.split())


def test_the_whole_way(run, empty):
    dome = ["--output=dump", "--subjects=3", "--frames=8", "--fps=5", "--num_cameras=3", "--image_size=96"]
    run("dome", *dome, "--workers=1")
    run("build", "--input=dump", "--output=records", "--crop_size=32", "--fps=5", "--workers=1")
    shared = ["--flagfile=smoke", "--epochs=1", "--data_dir=records", "--subjects=S0+S1"]
    out, errors = run("train", "--flagfile=pretrain_aug", *shared, "--workdir=runs/pre")
    assert "runs/pre: finished" in out and errors == ""  # no start-up message of TensorFlow either
    labelled = ["--scenario=S0:8", "--validation_share=0.2", "--keep=best", "--init_from=runs/pre"]
    out, _ = run("train", "--flagfile=pose_head", *shared, *labelled, "--workdir=runs/head")
    assert "val_n_mpjpe" in out and "kept the networks of epoch 1" in out
    run("evaluate", "--data_dir=records", "--run=runs/head", "--subjects=S2")
    run("export", "--run=runs/head", "--output=model")
    picture = next((empty / "dump").rglob("*.jpg"))
    run("predict", "--model=model", "--box=20,20,40,40", picture.relative_to(empty))
    assert (empty / "predictions" / "predictions.json").is_file()


def test_modules_run_as_programs_too(run):
    out, _ = run("-m", "hand_tf.train", "--help", program="python")
    assert "--regime" in out
