"""A pose estimator: from pictures and boxes of hands to joints.

A left hand's crop is flipped, so that it shows a right hand, and its pose is flipped back (M = diag(-1, 1, 1); rows are
joints). With the camera's intrinsics, the pose is rotated from the virtual camera's frame into the camera's:

    P' = P M                   left hands
    P_camera = P' R_virtual    with intrinsics: x right, y down, z away from the camera
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from hand_tf.core import crops, geometry, pretrained, reading, run_folder, skeleton
from hand_tf.core.errors import InputError
from hand_tf.nets import parts
from hand_tf.serving import box_crops, boxes, litert, model_files
from hand_tf.serving.boxes import Box, HandBox, parse_box
from hand_tf.serving.hand_detector import DetectedHand
from hand_tf.serving.intrinsics import camera_of, read_camera
from hand_tf.serving.pictures import InputPicture


@dataclasses.dataclass(frozen=True, eq=False)
class HandPose:
    """An estimated hand.

    `pose_mm` [21, 3] is relative to the wrist, in the frame of the camera if its intrinsics are known, otherwise in
    that of the crop's virtual camera; x right, y down, z away from the camera. It is right up to its scale, because one
    camera cannot tell a small near hand from a large far one. `joints_2d` [21, 2] px is where the model sees the joints
    in the picture; for models of version 0.2.0, the pose laid over the `box` (x, y, width, height) px. `side` is right
    or left. Joints that no label of the model had are NaN. `score` and `track` are those of the hand's `HandBox`.

    `joint_error_mm` [21] is how far off the model expects each joint to be, after the best scale (as N-MPJPE counts),
    for a hand as large as those that it learned from. It is large, too, where there is no hand. None for a model that
    has not learned it (`train --regime=confidence`).
    """

    pose_mm: np.ndarray
    joints_2d: np.ndarray
    box: Box
    side: str
    score: float | None = None
    track: int | None = None
    joint_error_mm: np.ndarray | None = None


class PoseEstimator:
    """A model that estimates poses; `load_estimator` makes one.

    `image_size` is the side of the crops that the model reads, px, and `box_margin` the side of a crop over the longer
    side of the hand's box.
    """

    def __init__(
        self,
        model: Callable[[np.ndarray], dict[str, np.ndarray]],
        image_size: int,
        box_margin: float,
        unlabelled_joints: Sequence[int] = (),
    ):
        """`model` maps crops of right hands, uint8 [n, size, size, 3] RGB, to `pose` [n, 21, 3] mm, and `joints_2d`
        [n, 21, 2] px of the crop and `joint_error` [n, 21] mm if it knows them. What it says of `unlabelled_joints`
        means nothing.
        """
        self._model, self.image_size, self.box_margin = model, image_size, box_margin
        self._unlabelled = list(unlabelled_joints)

    def _estimates(self, crops):
        """The model's outputs as float64, NaN for joints that it does not know."""
        found = {name: np.array(value, np.float64) for name, value in self._model(crops).items()}
        for value in found.values():
            value[:, self._unlabelled] = np.nan
        return found

    def estimate(self, crops: np.ndarray) -> np.ndarray:
        """Poses float64 [n, 21, 3] mm, each in the frame of its crop's virtual camera, relative to the wrist.

        `crops` are uint8 [n, size, size, 3] RGB, of right hands. Joints that no label of the model had are NaN.
        """
        return self._estimates(crops)["pose"]

    def predict(
        self,
        image: np.ndarray,
        boxes: Sequence[Sequence[float]] | Sequence[DetectedHand] | np.ndarray | None = None,
        side: str | Sequence[str] = "right",
        intrinsics: str | os.PathLike | np.ndarray | geometry.Camera | None = None,
    ) -> list[HandPose]:
        """The poses of the hands in a picture, one per box.

        Args:
            image: uint8 [height, width, 3] RGB.
            boxes: [n, 4], x, y, width, height px, tight around the joints of each hand; or the hands that
                `hand_tf.load_detector` finds, which know their sides, and whose crops are turned so that they point up.
                Without boxes, one hand is taken to fill the largest square in the centre of the picture.
            side: which hand the boxes show, right or left (the person's own right and left), or one for each box.
            intrinsics: of the camera: K [3, 3] px of a picture without distortion, a file (`serving.intrinsics`), or
                a camera.

        Raises ValueError for an image of another type, wrong boxes or sides, boxes outside the picture, and a picture
        of another size than the intrinsics are for.
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"image: expected RGB uint8 [height, width, 3], got {image.dtype} {list(image.shape)}")
        picture = InputPicture(pathlib.Path("image"), None, image, _hands_of(boxes, side))
        return self.predict_pictures([picture], _as_camera(intrinsics, image))[0]

    def predict_pictures(
        self, pictures: Sequence[InputPicture], camera: geometry.Camera | None = None, margin: float | None = None
    ) -> list[list[HandPose]]:
        """For each picture the poses of its hands; the crops of all pictures go through the model together.

        Args:
            camera: that took the pictures, from `serving.intrinsics`.
            margin: replaces the model's own `box_margin`.

        Raises ValueError for a picture of another size than the camera's, and for a box outside its picture.
        """
        margin = margin or self.box_margin
        cuts = [_cut(picture, hand, self.image_size, margin, camera) for picture in pictures for hand in picture.hands]
        if not cuts:
            return [[] for _ in pictures]
        outputs = self._estimates(np.stack([c.image for c in cuts]))
        places, errors = (outputs.get(name, [None] * len(cuts)) for name in ("joints_2d", "joint_error"))
        every = zip(outputs["pose"], places, errors, cuts, strict=True)
        found = iter([_hand_pose(*each, camera) for each in every])
        return [[next(found) for _ in picture.hands] for picture in pictures]


# --- from box to pose -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _HandCrop:
    """The crop `image` [size, size, 3] of a `hand`, flipped for a left one, with its box and R_virtual [3, 3].

    `margin` is the side of the crop over the longer side of the box, which is that of the hand, if it is known.
    """

    image: np.ndarray
    hand: HandBox
    box: Box
    R_virtual: np.ndarray
    margin: float

    @property
    def side(self):
        return self.hand.side


def _cut(picture, hand, size, margin, camera):
    """The crop of `hand`; if its box is unknown, the square in the centre of the picture."""
    height, width = picture.image.shape[:2]
    if camera and (width, height) != (camera.width, camera.height):
        raise InputError(f"{picture.name}: {width}x{height} px, the intrinsics are for {camera.width}x{camera.height}")
    box = hand.box
    if box is None:
        box = boxes.centre_square(width, height, margin)
    else:
        boxes.check_box(hand.crop_box or box, width, height, camera, picture.name)
    crop, R_virtual = box_crops.cut(picture.image, hand.crop_box or box, size, margin, camera, hand.angle)
    return _HandCrop(crop[:, ::-1] if hand.side == "left" else crop, hand, box, R_virtual, margin)


def _hand_pose(pose, places, errors, crop, camera):
    """The pose [21, 3], places [21, 2] and errors [21] that a model estimated from `crop`, as a `HandPose`.

    A model of version 0.2.0 does not know the places.
    """
    size, left = len(crop.image), crop.side == "left"
    pose = pose @ skeleton.MIRROR if left else pose
    if places is None:
        flat = pose if camera else pose @ crop.R_virtual  # turned as the picture is
        joints_2d = box_crops.lay_over_box(flat, crop.box, camera, crop.R_virtual)
    else:
        places = places * [-1, 1] + [size - 1, 0] if left else places
        box = crop.hand.crop_box or crop.box
        joints_2d = box_crops.to_picture(places, box, size, crop.margin, camera, crop.hand.angle)
    hand = crop.hand
    return HandPose(pose @ crop.R_virtual, joints_2d, crop.box, crop.side, hand.score, hand.track, errors)


def _hands_of(boxes, side):
    """`PoseEstimator.predict`'s boxes as hands; without boxes, one whose place is unknown."""
    if boxes is not None and all(isinstance(box, DetectedHand) for box in boxes):
        return [box.hand_box() for box in boxes]
    parsed = [None] if boxes is None else [parse_box(box, f"boxes[{i}]") for i, box in enumerate(boxes)]
    sides = [side] * len(parsed) if isinstance(side, str) else list(side)
    if not set(sides) <= set(skeleton.SIDES) or len(sides) != len(parsed):
        raise InputError(f"side: {side!r}, expected right or left, or one of them for each of {len(parsed)} boxes")
    return [HandBox(box, each) for box, each in zip(parsed, sides, strict=True)]


def _as_camera(intrinsics, image):
    """`PoseEstimator.predict`'s intrinsics as a camera, or None."""
    if intrinsics is None:
        return None
    if isinstance(intrinsics, geometry.Camera):  # wherever it stands: poses are in its own frame
        return dataclasses.replace(intrinsics, R=np.eye(3), t=np.zeros(3))
    if isinstance(intrinsics, str | os.PathLike):
        return read_camera(intrinsics)
    K = reading.numbers({"K": intrinsics}, "K", (3, 3), "intrinsics")
    return camera_of(K, np.zeros(5), image.shape[1], image.shape[0])


# --- loading --------------------------------------------------------------------------------------------------------


def load_estimator(path: str | os.PathLike = "hands") -> PoseEstimator:
    """The estimator in `path`: the folder of an exported model, its .tflite file, or the folder of a finished run.

    "hands" is the model that comes with the package (docs/model_card.md).

    Only what the model needs is loaded: for LiteRT no TensorFlow, for a run the backend that Keras is set to.
    Raises FileNotFoundError if there is nothing, ValueError for something else or a damaged model.
    """
    if pretrained.is_name(path):
        return load_exported(path)
    folder = pathlib.Path(path)
    if run_folder.summary_path(folder).is_file():
        return load_run(folder)
    if folder.is_dir() and not model_files.is_exported_model(folder):
        raise InputError(f"{folder}: neither an exported model nor the folder of a finished run")
    return load_exported(path)


def load_exported(path: str | os.PathLike) -> PoseEstimator:
    """The estimator of an exported model; `path` and errors as in `model_files.find_model`.

    Raises ValueError, too, if the model is damaged or not what hand_tf.json says it is.
    """
    description, file = model_files.read_description(path), model_files.find_model(path)
    model_files.check_files(file.parent, description)
    kind = "LiteRT model" if file.suffix == ".tflite" else "SavedModel"
    try:
        if file.suffix == ".tflite":
            # Models of versions before 0.3.0 read one crop at a time; their description does not mention batches.
            model = litert.LiteRTModel(file.read_bytes(), batches="batch" in description)
        else:
            from hand_tf.serving import saved_model  # TensorFlow, which a LiteRT model does not need

            model = saved_model.SavedModel(file.parent)
    except ValueError as error:
        raise InputError(f"{file}: this {kind} cannot be used ({error})") from error
    size = description["image_size"]
    if model.shape[1:] != [size, size, 3]:
        raise InputError(f"{file}: reads {model.shape}, but {model_files.DESCRIPTION} has image_size {size}")
    return PoseEstimator(model, size, description["box_margin"], description.get("unlabelled_joints", ()))


def load_run(folder: str | os.PathLike) -> PoseEstimator:
    """The estimator of a finished run, with Keras on whatever backend it is set to; errors as in `parts.load_part`."""
    for name in ("encoder", "pose_head"):
        parts.find_part(folder, name)  # before Keras is loaded, which an exported model does not need
    from hand_tf.nets import keras_settings

    with keras_settings.ours():
        model = parts.load_estimator(folder)

    def estimate(images):
        with keras_settings.ours():
            return model.predict_on_batch({"source": images})

    summary = reading.read_json_object(run_folder.summary_path(folder))
    missing = summary.get("unlabelled_joints", ())
    return PoseEstimator(estimate, model.inputs[0].shape[1], crops.BOX_MARGIN, missing)
