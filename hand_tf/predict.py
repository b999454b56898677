"""Predicts poses on images and videos with an exported model; needs that alone, no run and no records.

    python -m hand_tf.predict --model=MODEL --box=310,120,180,200 --output=OUT photo.jpg
    python -m hand_tf.predict --model=MODEL --boxes=boxes.csv --output=OUT [FOLDER]
    python -m hand_tf.predict --model=MODEL --box=.. --intrinsics=camera.json --output=OUT clip.mp4

Inputs are images, folders of images and videos. A box is x, y, width, height in pixels, tight about the hand's joints.
boxes.csv has the columns file (relative to the table), x, y, width, height and perhaps hand (right or left, instead of
--hand), one line a hand; without inputs all its files are taken, with inputs those of them that have a line. Without
boxes the hand is taken to fill the square in the picture's centre. A video has the same box in all frames.

The crop is a square about the box's centre, `box_margin` times the longer side wide. With --intrinsics it is what a
virtual camera sees that looks straight at that centre (R_virtual), free of distortion; otherwise a plain cut. A left
hand's crop is flipped and its pose flipped back (M = diag(-1, 1, 1); rows are joints):

    P' = P M                   left hands
    P_camera = P' R_virtual    with intrinsics: x right, y down, z away from the camera as it stood

OUT/predictions.json  poses [21, 3] mm relative to the wrist, in the camera's frame if its intrinsics are given, else in
                      the virtual camera's ("pose_frame"); up to scale, since one camera cannot tell a small near hand
                      from a large far one. joints_2d [21, 2] px of the picture: weak perspective, the pose's extent
                      laid over the box
OUT/overlays/         the pictures with skeletons, under their own names; for a video a folder of frames

The model may be of any format of hand_tf.export; a LiteRT model needs `pip install hand_tf[litert]`, and no TensorFlow
is loaded.

An intrinsics file is {"K": 3x3 px, "distCoef": 5 numbers (optional), "resolution": [width, height]}, or a Panoptic
calibration file together with --camera.
"""

import functools
import json
import os
import pathlib
import sys

import cv2
import numpy as np
from absl import flags

from hand_tf.core import atomic, command_line, crops, drawing, geometry, skeleton
from hand_tf.serving import litert, picture_inputs

FLAGS = flags.FlagValues()
_define = {"flag_values": FLAGS}

flags.DEFINE_string("model", None, "Folder of the model (hand_tf.export).", **_define)
flags.DEFINE_string("output", "predictions", "Folder of the results.", **_define)
flags.DEFINE_bool("overwrite", False, "Replace the results of an earlier call.", **_define)
flags.DEFINE_list("box", None, "x,y,width,height px of the hand in every input.", **_define)
flags.DEFINE_string("boxes", None, "Table of boxes: file,x,y,width,height[,hand].", **_define)
flags.DEFINE_float(
    "box_margin", None, "Side of the crop over the longer side of the box; by default the model's own.", 0.1, **_define
)
flags.DEFINE_enum("hand", "right", list(skeleton.SIDES), "Which hand is seen (anatomical side).", **_define)
flags.DEFINE_string("intrinsics", None, "Intrinsics of the camera, or a Panoptic calibration file.", **_define)
flags.DEFINE_string("camera", None, "Name of the camera in a Panoptic calibration file, such as 00_07.", **_define)
flags.DEFINE_integer("frame_stride", 1, "Take every n-th frame of a video.", lower_bound=1, **_define)
flags.DEFINE_integer("batch_size", 16, "Crops a step.", lower_bound=1, **_define)
flags.DEFINE_bool("overlays", True, "Draw the skeletons.", **_define)
flags.mark_flags_as_required(["model"], flag_values=FLAGS)

_MAX_SHRINK = 8


def main(positional):
    output = pathlib.Path(FLAGS.output)
    if (output / "predictions.json").exists() and not FLAGS.overwrite:
        raise ValueError(f"--output={output}: holds predictions already; choose another folder or pass --overwrite")
    problems = []
    # What can be wrong is asked for before TensorFlow, which takes seconds to load.
    facts, camera, work = read_facts(FLAGS.model), _camera(), _plan(positional, problems)
    margin = FLAGS.box_margin or facts["box_margin"]
    estimate = load(FLAGS.model, facts)

    predictions = []
    base = os.path.commonpath([path.resolve().parent for path in work])
    for pictures in _batches(picture_inputs.read(work, problems, FLAGS.frame_stride)):
        results = predict(estimate, pictures, facts["image_size"], margin, camera)
        for picture, hands in zip(pictures, results, strict=True):
            if FLAGS.overlays:
                _save_overlay(output / "overlays" / picture.file.resolve().relative_to(base), picture, hands)
            predictions += hands
    if not predictions:
        raise ValueError(f"nothing could be predicted; {problems[0]}")
    content = _head(facts, margin) | {"predictions": predictions}
    output.mkdir(parents=True, exist_ok=True)
    atomic.write_text(output / "predictions.json", json.dumps(content, allow_nan=False))
    _report(output, content, problems)


def _report(output, content, problems):
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    pictures = {(hand["file"], hand["frame"]) for hand in content["predictions"]}
    print(
        f"{len(pictures)} pictures, {len(content['predictions'])} hands, {len(problems)} problems -> "
        f"{output}/predictions.json{' and overlays/' * FLAGS.overlays}; mm relative to the wrist, up to scale, "
        f"in the {content['pose_frame']}'s frame; boxes: {content['boxes']}"
    )


def _head(facts, margin):
    """What predictions.json says of all predictions."""
    return {
        "model": FLAGS.model,
        "units": "mm, relative to the wrist",
        "scale": facts["scale"],
        "pose_frame": "camera" if FLAGS.intrinsics else "virtual camera",
        "boxes": "given" if FLAGS.box or FLAGS.boxes else "none given, the hand is taken to fill the centre square",
        "box_margin": margin,
        "joint_names": skeleton.JOINT_NAMES,
    }


# --- what to predict ------------------------------------------------------------------------------------------------


def _camera():
    if FLAGS.camera and not FLAGS.intrinsics:
        raise ValueError(f"--camera={FLAGS.camera}: pass the calibration file, too, as --intrinsics")
    return picture_inputs.read_camera(FLAGS.intrinsics, FLAGS.camera) if FLAGS.intrinsics else None


def _plan(positional, problems):
    """{file: [Hand]}; inputs without a box are left out and go to `problems`."""
    if FLAGS.box and FLAGS.boxes:
        raise ValueError("--box and --boxes: pass one of them")
    if not positional and not FLAGS.boxes:
        raise ValueError("nothing to do: name images, folders of images or videos, or pass --boxes")
    if not FLAGS.boxes:
        box = picture_inputs.parse_box(FLAGS.box, f"--box={','.join(FLAGS.box)}") if FLAGS.box else None
        return {path: [picture_inputs.Hand(box, FLAGS.hand)] for path in picture_inputs.list_files(positional)}
    table = picture_inputs.read_boxes(FLAGS.boxes, FLAGS.hand)
    files = picture_inputs.list_files(positional or table)
    table = {path.resolve(): hands for path, hands in table.items()}
    work = {path: table[path.resolve()] for path in files if path.resolve() in table}
    if not work:
        raise ValueError(f"--boxes={FLAGS.boxes}: no line is about any of the {len(files)} inputs; nothing to do")
    problems += [f"{path}: no line in {FLAGS.boxes}; left out" for path in files if path not in work]
    return work


def _batches(pictures):
    """Lists of pictures that hold `batch_size` hands, or a few more to keep a picture's hands together."""
    batch = []
    for picture in pictures:
        batch.append(picture)
        if sum(len(p.hands) for p in batch) >= FLAGS.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


# --- the model ------------------------------------------------------------------------------------------------------


def read_facts(folder):
    """hand_tf.json of an exported model. Raises FileNotFoundError or ValueError if `folder` is none."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"--model={folder}: no such folder; python -m hand_tf.export makes one")
    models = ("saved_model.pb", litert.FILE)
    if not (folder / "hand_tf.json").is_file() or not any((folder / name).is_file() for name in models):
        raise ValueError(
            f"--model={folder}: hand_tf.json and {' or '.join(models)} expected, as hand_tf.export writes them"
        )
    facts = picture_inputs.read_json(folder / "hand_tf.json")
    missing = sorted({"image_size", "box_margin", "scale"} - facts.keys())
    if missing:
        raise ValueError(f"{folder / 'hand_tf.json'}: field {missing[0]}: missing")
    return facts


def load(folder, facts):
    """The exported model as a function: crops uint8 [n, size, size, 3] RGB -> poses [n, 21, 3] mm, right hands.

    Raises ValueError if the model is damaged or not what hand_tf.json says it is.
    """
    folder = pathlib.Path(folder)
    shape, estimate = _load_litert(folder) if (folder / litert.FILE).is_file() else _load_saved_model(folder)
    if shape[1:] != [facts["image_size"], facts["image_size"], 3]:
        raise ValueError(f"--model={folder}: reads {shape}, but hand_tf.json has image_size {facts['image_size']}")
    return lambda crops: estimate(crops).astype(np.float64)


def _load_litert(folder):
    """Input shape and function of a LiteRT model."""
    try:
        estimate = litert.Estimator((folder / litert.FILE).read_bytes())
    except (ValueError, KeyError) as error:
        raise ValueError(f"--model={folder}: {litert.FILE} cannot be used ({error})") from error
    return estimate.shape, estimate


def _load_saved_model(folder):
    """Input shape and function of a SavedModel."""
    import tensorflow as tf

    try:
        signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
        shape = signature.structured_input_signature[1]["image"].shape.as_list()
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"--model={folder}: the SavedModel cannot be used ({reason})") from error
    return shape, lambda crops: signature(image=tf.constant(crops))["pose"].numpy()


# --- from box to pose -----------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _virtual_view(camera, box, size, margin):
    """R_virtual and the maps of a box's virtual view; cached because a video asks for the same in every frame."""
    crop = crops.box_crop(camera, box, size, margin)
    return crop.R_virtual, crops.crop_maps(crop)


def cut(image, box, size, margin, camera=None):
    """The square crop [size, size, 3] about `box`, and its R_virtual [3, 3], the identity without a `camera`."""
    x, y, width, height = box
    side = margin * max(width, height)
    # As in the records: every pixel averages k x k bilinear samples; a single one would alias in large pictures.
    k = int(np.clip(round(side / size), 1, _MAX_SHRINK))
    if camera is None:
        step, R_virtual = side / (k * size), np.eye(3)
        first = (k * size - 1) / 2 * step
        to_image = np.array([[step, 0, x + (width - 1) / 2 - first], [0, step, y + (height - 1) / 2 - first]])
        crop = cv2.warpAffine(image, to_image, (k * size, k * size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    else:
        R_virtual, maps = _virtual_view(camera, box, k * size, margin)
        crop = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return (crop if k == 1 else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)), R_virtual


def weak_perspective(pose, box, camera=None, R_virtual=None):
    """Pixels [21, 2] of a `pose` [21, 3] (virtual camera's frame): its extent is laid over the longer side of `box`.

    With a `camera`, what lies across the line of sight is mapped to the picture as it is at the box's centre.
    """
    x, y, width, height = box
    flat, centre = pose[:, :2], np.array([x + (width - 1) / 2, y + (height - 1) / 2])
    if camera is not None:
        step = 0.5 / camera.K[0, 0]  # half a pixel, about
        rays = np.array([[step, 0, 1], [-step, 0, 1], [0, step, 1], [0, -step, 1]])
        right, left, down, up = geometry.project(rays @ R_virtual, camera)
        flat = flat @ np.array([right - left, down - up])
    low, high = flat.min(0), flat.max(0)
    scale = (max(width, height) - 1) / max((high - low).max(), 1e-6)
    return (flat - (low + high) / 2) * scale + centre


def predict(estimate, pictures, size, margin, camera=None):
    """For each of `pictures` (`picture_inputs.Picture`) a list with a dict a hand: what predictions.json says of it.

    Args:
        estimate: crops of right hands -> poses; see `load`.
        size, margin: px of a crop, and its side over the longer side of the box.
        camera: from `picture_inputs.read_camera`, or None.

    Raises ValueError for a picture of another size than the camera's, and for a box outside of its picture.
    """
    hands = [(picture, hand) for picture in pictures for hand in picture.hands]
    boxes = [picture_inputs.locate(hand, picture, margin, camera) for picture, hand in hands]
    cuts = [cut(picture.image, box, size, margin, camera) for (picture, _), box in zip(hands, boxes, strict=True)]
    crops = [crop[:, ::-1] if hand.side == "left" else crop for (_, hand), (crop, _) in zip(hands, cuts, strict=True)]
    results = {picture: [] for picture in pictures}
    poses = estimate(np.stack(crops))
    for (picture, hand), box, (_, R_virtual), pose in zip(hands, boxes, cuts, poses, strict=True):
        pose = pose @ skeleton.MIRROR if hand.side == "left" else pose
        result = {"file": str(picture.file), "frame": picture.frame, "hand": hand.side, "box": box}
        result["pose_mm"] = np.round(pose @ R_virtual, 3).tolist()
        result["joints_2d"] = np.round(weak_perspective(pose, box, camera, R_virtual), 2).tolist()
        results[picture].append(result)
    return list(results.values())


def _save_overlay(path, picture, hands):
    """Draws `hands` (dicts of predictions.json) on the picture; a video's `path` becomes a folder of frames."""
    path = path if picture.frame is None else path / f"{picture.frame:08d}.jpg"
    image, thickness = picture.image.copy(), max(1, round(max(picture.image.shape) / 500))
    for hand in hands:
        x, y, width, height = hand["box"]
        corners = np.round([[x, y], [x + width - 1, y + height - 1]]).astype(int).tolist()
        cv2.rectangle(image, *corners, (255, 255, 255), thickness)
        image = drawing.draw_joints(image, np.array(hand["joints_2d"]), thickness=thickness)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial.{path.name}")  # OpenCV tells the format by the suffix
    drawing.save(partial, image)
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
