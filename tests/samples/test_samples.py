"""The samples of docs/samples compute what this package computes, and need nothing of it."""

import functools
import http.server
import importlib.util
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import cv2
import keras
import numpy as np
import pytest
import random_run

import hand_tf
from hand_tf.serving import box_crops, export_model, model_files
from hand_tf.serving.calibration import CalibrationCrops

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are exported by TensorFlow", allow_module_level=True)

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "samples"
SIZE = random_run.SIZE
# What rounding in other steps may change: the crops are equal, to the last bit.
POSE_TOLERANCE, PLACE_TOLERANCE = 1e-3, 1e-3  # mm, px of the picture
# At k samples per pixel: 1, enlarged; 1; 3; and 2, over the border of the picture.
BOXES = [(30.5, 40.0, 14.0, 12.0), (60.0, 50.25, 20.0, 24.0), (50.0, 30.0, 58.0, 66.0), (-10.0, 90.0, 40.0, 30.0)]


def load(name):
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def picture():
    """Smooth blobs and a little noise: neighbouring pixels differ as they do in photos."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 16, 3), np.uint8)
    smooth = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(smooth + random.integers(-4, 5, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """{format: folder} of one run with random networks."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "run").mkdir()
    model = export_model.load_run(random_run.write(folder / "run"))
    random = np.random.default_rng(0)
    crops = CalibrationCrops(*random.integers(0, 256, (2, 4, SIZE, SIZE, 3), np.uint8), "noise")
    description = model_files.describe_model(SIZE, 1.5, {})
    folders = {kind: folder / kind for kind in ("savedmodel", "litert", "litert_int8")}
    for kind, output in folders.items():
        export_model.export_model(model, output, description, kind, crops)
    return folders


# --- the contract in plain NumPy ------------------------------------------------------------------------------------


def test_the_crop_in_plain_numpy_is_the_crop(models, picture):
    sample, contract = load("picture_to_joints"), json.loads((models["litert"] / "hand_tf.json").read_text())
    for box in BOXES:
        expected, _ = box_crops.cut(picture, box, SIZE, 1.5)
        assert np.ptp(expected) > 50
        np.testing.assert_array_equal(sample.cut(picture, box, contract), expected)
    assert (expected == 0).any()  # the last box leaves the picture
    expected, _ = box_crops.cut(picture, (10, 5, 140, 110), SIZE, 1.5)  # k = 7
    difference = sample.cut(picture, (10, 5, 140, 110), contract).astype(int) - expected
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("kind", ["litert", "litert_int8"])
def test_the_joints_in_plain_numpy_are_those_of_the_estimator(models, picture, kind):
    sample, estimator = load("picture_to_joints"), hand_tf.load_estimator(models[kind])
    for box in BOXES:
        for side in ("right", "left"):
            (expected,) = estimator.predict(picture, [box], side)
            pose, places = sample.find_joints(models[kind], picture, box, side)
            assert np.ptp(expected.pose_mm) > 50
            np.testing.assert_allclose(pose, expected.pose_mm, atol=POSE_TOLERANCE)
            np.testing.assert_allclose(places, expected.joints_2d, atol=PLACE_TOLERANCE)


def test_the_sample_runs_without_this_package(models, picture, tmp_path):
    cv2.imwrite(str(tmp_path / "hand.png"), picture[..., ::-1])
    arguments = ["sample", str(models["litert"]), str(tmp_path / "hand.png"), *["30", "40", "50", "36", "left"]]
    script = (
        f"import runpy, sys; sys.argv = {arguments}\n"
        f"runpy.run_path({str(SAMPLES / 'picture_to_joints.py')!r}, run_name='__main__')\n"
        "print([name for name in ('hand_tf', 'cv2', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    answer, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    (expected,) = hand_tf.load_estimator(models["litert"]).predict(picture, [(30, 40, 50, 36)], "left")
    found = json.loads(answer)
    np.testing.assert_allclose(found["pose_mm"], expected.pose_mm, atol=0.01)  # printed with two digits
    np.testing.assert_allclose(found["joints_2d"], expected.joints_2d, atol=0.01)


# --- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(models):
    server = load("rest_server").make_server(str(models["savedmodel"]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def post(url, content):
    """(status, answer) of a request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, content), timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_server_answers_what_the_model_computes(address, models):
    url = f"{address}/v1/models/hand:predict"
    for count in (2, 1, 0):
        crops = np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
        status, answer = post(url, json.dumps({"instances": crops.tolist()}).encode())
        assert status == 200 and len(answer["predictions"]) == count
        expected = hand_tf.load_estimator(models["savedmodel"]).estimate(crops)
        for found, pose in zip(answer["predictions"], expected, strict=True):
            np.testing.assert_allclose(found["pose"], pose, atol=export_model.TOLERANCE)
            assert np.shape(found["joints_2d"]) == (21, 2)


def test_the_server_says_what_is_wrong_with_a_request(address):
    url, crop = f"{address}/v1/models/hand:predict", np.zeros((SIZE, SIZE, 3)).tolist()
    wrong = [{"instances": [crop[:5]]}, {"instances": "crop"}, {"inputs": [crop]}, []]
    wrong += [{"instances": (np.zeros((1, SIZE, SIZE, 3)) + value).tolist()} for value in (-1, 256, 0.5)]
    for request in wrong:
        status, answer = post(url, json.dumps(request).encode())
        assert status == 400 and f"{SIZE} x {SIZE} x 3" in answer["error"]
    assert post(url, b"{")[0] == 400
    assert post(f"{address}/v1/models/foot:predict", b"{}")[0] == 404
    assert post(url, json.dumps({"instances": [crop]}).encode())[0] == 200


def test_the_server_needs_tensorflow_alone(models):
    script = (
        "import sys, runpy\n"
        f"names = runpy.run_path({str(SAMPLES / 'rest_server.py')!r})\n"
        f"names['make_server']({str(models['savedmodel'])!r}).server_close()\n"
        "print('hand_tf' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"


# --- in a browser ---------------------------------------------------------------------------------------------------

# Sends what the page shows, or the error that stops it, to the test.
REPORT = """<script>
const report = (text) => fetch("/report", {method: "POST", body: text});
new MutationObserver(() => report(document.getElementById("result").textContent))
  .observe(document.getElementById("result"), {childList: true});
addEventListener("error", (event) => report(`"${event.message}"`));
addEventListener("unhandledrejection", (event) => report(JSON.stringify(String(event.reason))));
</script>"""


class PageHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and puts what the page reports into the queue of the server."""

    def do_POST(self):
        self.server.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def pages(tmp_path):
    """A server of the files in `tmp_path`."""
    handler = functools.partial(PageHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        server.reports = queue.Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["litert", "litert_int8"])
def test_the_page_shows_the_joints_of_the_estimator(models, picture, tmp_path, pages, kind):
    browser, modules = shutil.which("chromium"), SAMPLES / "web" / "node_modules"
    if browser is None or not modules.is_dir():
        pytest.skip("needs chromium, and `npm install` in docs/samples/web")
    page = (SAMPLES / "web" / "index.html").read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(page.replace("</pre>", f"</pre>{REPORT}"), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(modules)
    shutil.copytree(models[kind], tmp_path / "model")
    cv2.imwrite(str(tmp_path / "hand.png"), picture[..., ::-1])
    for side, box in (("right", BOXES[1]), ("left", BOXES[2])):
        query = f"model=model&picture=hand.png&hand={side}&box={','.join(map(str, box))}"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / side}"]
        process = subprocess.Popen(
            [browser, *flags, f"http://localhost:{pages.server_address[1]}/index.html?{query}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            found = pages.reports.get(timeout=120)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        assert isinstance(found, dict), found
        (expected,) = hand_tf.load_estimator(models[kind]).predict(picture, [box], side)
        # The browser has other kernels. Those of integers round otherwise, which random networks amplify.
        pose_tolerance, place_tolerance = {"litert": (0.1, 0.02), "litert_int8": (20.0, 0.5)}[kind]
        assert np.ptp(expected.pose_mm) > 10 * pose_tolerance and np.ptp(expected.joints_2d) > 10 * place_tolerance
        np.testing.assert_allclose(found["pose_mm"], expected.pose_mm, atol=pose_tolerance)
        np.testing.assert_allclose(found["joints_2d"], expected.joints_2d, atol=place_tolerance)
