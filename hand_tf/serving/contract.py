"""What a program must know to run an exported model without this package: the fields of hand_tf.json that say so.

docs/serving.md explains them, and docs/samples follows them.
"""

from collections.abc import Sequence

from hand_tf.core import crops, skeleton

OUTPUTS = ("pose", "joints_2d")


def contract(image_size: int, box_margin: float, outputs: Sequence[str] = OUTPUTS) -> dict:
    """Input, crop, outputs, joints and batches of a model, as structured fields with short sentences.

    Args:
        image_size: side of the crops that the model reads, px.
        box_margin: side of a crop over the longer side of the hand's box.
        outputs: names of the model's outputs: `OUTPUTS`, and `joint_error` if the model has learned it.
    """
    described = {"pose": _pose(), "joints_2d": _joints_2d(image_size), "joint_error": _joint_error()}
    return {
        "signature": "serving_default",
        "input": _input(image_size),
        "crop": _crop(image_size, box_margin),
        "left_hands": {
            "crop": "flip it horizontally (column u becomes column size - 1 - u), so that it shows a right hand",
            "pose": "change the sign of x",
            "joints_2d": "u becomes size - 1 - u",
        },
        "outputs": {name: described[name] for name in outputs},
        "joints": {
            "count": skeleton.NUM_JOINTS,
            "order": "the same 21 joints in the same order as MediaPipe Hands and OpenPose, see joint_names",
            "parents": list(skeleton.PARENTS),
            "unlabelled": "what the outputs say of the joints in unlabelled_joints means nothing",
        },
        "batch": {
            "SavedModel": "any number of crops, 0 included",
            "LiteRT": "1 crop as loaded; for n crops, resize the input tensor to n before the tensors are allocated",
        },
    }


def _input(image_size):
    return {
        "name": "image",
        "dtype": "uint8",
        "shape": ["batch", image_size, image_size, 3],
        "layout": "rows from the top, columns from the left, then colours",
        "colours": "RGB",
        "range": [0, 255],
        "normalisation": "none: the model does it. 8-bit models read the same bytes; their scales are internal",
    }


def _crop(image_size, box_margin):
    return {
        "box": {
            "fields": ["x", "y", "width", "height"],
            "units": "px; the centre of the picture's first pixel is (0, 0)",
            "rule": "tight around the 21 joints; x, y is its first pixel, x + width - 1, y + height - 1 its last",
        },
        "centre": ["x + (width - 1) / 2", "y + (height - 1) / 2"],
        "margin": box_margin,
        "side": "margin * max(width, height), in px of the picture; the crop is a square",
        "picture_from_crop": "centre + (pixel - (size - 1) / 2) * side / size",
        "size": image_size,
        "interpolation": "bilinear",
        "samples_per_pixel": {
            "rule": "k = side / size, rounded to a whole number, at least 1: sample the crop k times as wide and high,"
            " and take the mean of k x k samples, because single samples alias; round the samples and the mean",
            "at_most": crops.MAX_SHRINK,
        },
        "border": "0 (black) outside the picture",
    }


def _pose():
    return {
        "dtype": "float32",
        "shape": ["batch", skeleton.NUM_JOINTS, 3],
        "units": "mm",
        "origin": "the wrist (joint 0)",
        "frame": "a camera that looks straight at the centre of the box: x right, y down, z away from the camera",
        "scale": "right up to one factor per hand: one camera cannot tell a small near hand from a large far one",
        "in_the_camera": "with intrinsics K, r = K^-1 (centre, 1) and R the smallest rotation that takes r to +z,"
        " the pose in the camera's own frame is pose R (joints are rows)",
    }


def _joints_2d(image_size):
    return {
        "dtype": "float32",
        "shape": ["batch", skeleton.NUM_JOINTS, 2],
        "units": f"px of the crop, (u, v) from the centre of its first pixel; its last is at {image_size - 1}."
        " Joints may lie outside",
        "in_the_picture": "crop.picture_from_crop, after the flip of left hands",
    }


def _joint_error():
    return {
        "dtype": "float32",
        "shape": ["batch", skeleton.NUM_JOINTS],
        "units": "mm",
        "meaning": "how far off the model expects each joint of the pose to be, after the best scale (N-MPJPE), for a"
        " hand as large as those that it learned from; large, too, where the crop shows no hand",
    }
