"""Serves a SavedModel over HTTP with TensorFlow alone, in the shape of TensorFlow Serving's predict API.

python rest_server.py MODEL [PORT]

POST /v1/models/hand:predict    {"instances": [CROP, ...]}    CROP: size x size x 3 numbers 0..255, see hand_tf.json
200                             {"predictions": [{"pose": ..., "joints_2d": ...}, ...]}
400, 404                        {"error": "..."}
"""

import http.server
import json
import sys

import numpy as np
import tensorflow as tf

PATH = "/v1/models/hand:predict"


def predict(estimate, request):
    """The response to a request. Raises ValueError for a request of another form."""
    size = estimate.structured_input_signature[1]["image"].shape[1]
    try:
        images = np.array(request["instances"], np.float64).reshape(-1, size, size, 3)
    except (KeyError, TypeError, ValueError):
        images = np.array([np.nan])
    if not np.all((images >= 0) & (images <= 255) & (images == np.rint(images))):
        raise ValueError(f"instances: expected crops of {size} x {size} x 3 whole numbers 0..255")
    found = {name: values.numpy() for name, values in estimate(image=tf.constant(images, tf.uint8)).items()}
    return {"predictions": [{name: found[name][i].tolist() for name in found} for i in range(len(images))]}


def make_server(model, port=0):
    """A server of the SavedModel in the folder `model` on this computer; port 0 is any free one."""
    loaded = tf.saved_model.load(model)
    estimate = loaded.signatures["serving_default"]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                answer = (
                    (200, predict(estimate, json.loads(body)))
                    if self.path == PATH
                    else (404, {"error": "no such model"})
                )
            except ValueError as error:  # also what is no JSON
                answer = (400, {"error": str(error)})
            content = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("localhost", port), Handler)
    server.model = loaded  # a signature does not keep its model alive
    return server


if __name__ == "__main__":
    make_server(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8501).serve_forever()
