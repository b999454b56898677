"""From a picture and a box to the joints of a hand, as hand_tf.json says: NumPy and the LiteRT runtime, no hand_tf.

    python picture_to_joints.py MODEL PICTURE X Y WIDTH HEIGHT [left]

MODEL is the folder that `hand-tf export --format=litert` or `--format=litert_int8` wrote.
"""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def cut(picture, box, contract):
    """The square crop around a box: uint8 [size, size, 3]."""
    x, y, width, height = box
    size, most = contract["crop"]["size"], contract["crop"]["samples_per_pixel"]["at_most"]
    side = contract["crop"]["margin"] * max(width, height)
    k = min(max(round(side / size), 1), most)
    offsets = (np.arange(k * size) - (k * size - 1) / 2) * side / (k * size)

    def weights(centre, length):  # [k size, length]: bilinear, black outside the picture
        return np.maximum(0, 1 - np.abs(centre + offsets[:, None] - np.arange(length)))

    rows = weights(y + (height - 1) / 2, picture.shape[0])
    columns = weights(x + (width - 1) / 2, picture.shape[1])
    samples = np.rint(np.einsum("vh,hwc,uw->vuc", rows, picture, columns, optimize=True))
    means = samples.reshape(size, k, size, k, 3).mean((1, 3))
    return np.floor(means + 0.5).astype(np.uint8)


def in_the_picture(places, box, contract):
    """Pixels [21, 2] of the crop as pixels of the picture."""
    x, y, width, height = box
    size, side = contract["crop"]["size"], contract["crop"]["margin"] * max(width, height)
    return [x + (width - 1) / 2, y + (height - 1) / 2] + (places - (size - 1) / 2) * side / size


def find_joints(model, picture, box, hand="right"):
    """The pose [21, 3] mm and the places of the joints [21, 2] px in a picture, RGB uint8 [height, width, 3]."""
    folder = pathlib.Path(model)
    contract = json.loads((folder / "hand_tf.json").read_text())
    crop = cut(picture, box, contract)
    if hand == "left":
        crop = crop[:, ::-1]
    estimate = Interpreter(str(folder / "model.tflite")).get_signature_runner(contract["signature"])
    found = estimate(image=np.ascontiguousarray(crop[None]))
    pose, places = found["pose"][0], found["joints_2d"][0]
    if hand == "left":
        pose, places = pose * [-1, 1, 1], [len(crop) - 1, 0] + places * [-1, 1]
    return pose, in_the_picture(places, box, contract)


if __name__ == "__main__":
    from PIL import Image

    image = np.asarray(Image.open(sys.argv[2]).convert("RGB"))
    pose_mm, joints_2d = find_joints(sys.argv[1], image, [float(text) for text in sys.argv[3:7]], *sys.argv[7:])
    print(json.dumps({"pose_mm": pose_mm.round(2).tolist(), "joints_2d": joints_2d.round(2).tolist()}))
