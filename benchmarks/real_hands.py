"""How far off is an estimator on real footage, with boxes from the joints and with hands that the detector finds?

    hand-tf fetch detector
    python -m benchmarks.real_hands --sequence=two_view_rig --model=MODEL

SEQUENCE is a sequence folder with joints, in the layout of Panoptic; MODEL is what `hand_tf.load_estimator` reads. For
each subject of its subjects.csv, prints N-MPJPE and PA-MPJPE in mm over the instants whose number is a multiple of
--frame_stride, and appends a line to DOCS/real_hands.jsonl:

    joints      boxes around the joints, which no detector would find better; crops as they are
    found       hands that the detector finds in the whole picture; crops as they are
    upright     the same hands; crops turned so that the hand points up, as `predict` does

A hand that is not found, or on another side, counts as missed and in no mean. Errors are means over the pictures in
which the hand was found.
"""

import dataclasses
import pathlib

import cv2
import numpy as np

from benchmarks import measurements
from hand_tf.core import command_line, geometry, video
from hand_tf.core.setting_fields import check, setting

WAYS = ("joints", "found", "upright")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealHandsSettings:
    """The flags of this command."""

    sequence: str = setting("Sequence folder with videos and joints.")
    model: tuple[str, ...] = setting("Model, or folder of a run. May be given several times.", repeated=True)
    frame_stride: int = setting("Use the instants whose number is a multiple of this.", 3, low=1)
    docs: str | None = setting("Folder of the measurements; None: print only.", "docs")

    def __post_init__(self):
        check(self)


def pictures(settings: RealHandsSettings) -> list[dict]:
    """The pictures of all cameras that show a hand with joints: image RGB, joints in camera mm, subject, and boxes."""
    from hand_tf.serving.boxes import HandBox
    from hand_tf.serving.detector_files import load_detector
    from tfrecords_tools.dump import panoptic
    from tfrecords_tools.dump.skipped import Skipped

    folder, detector, found = pathlib.Path(settings.sequence), load_detector(tiles=1, threads=2), []
    instants, _ = panoptic.read_hands(folder, 0.5, 20.0, panoptic.read_subjects(folder), Skipped())
    wanted = {each.frame: each for each in instants if each.frame % settings.frame_stride == 0}
    for camera in panoptic.read_cameras(folder):
        for number, frame in enumerate(video.read_frames(folder / "hdVideos" / f"hd_{camera.name}.mp4", threads=2)):
            if number not in wanted:
                continue
            instant, image = wanted[number], cv2.cvtColor(frame.whole(), cv2.COLOR_BGR2RGB)
            places = geometry.project(instant.joints[instant.accepted], camera)
            low, high = places.min(0), places.max(0)
            hands = [hand for hand in detector.detect(image) if hand.side == instant.side]
            boxes = {"joints": HandBox((*low.tolist(), *(high - low + 1).tolist()), instant.side)}
            if hands:
                boxes |= {"found": hands[0].hand_box(upright=False), "upright": hands[0].hand_box()}
            pose = (instant.joints - instant.joints[0]) @ camera.R.T
            found.append({"image": image, "pose": pose, "accepted": instant.accepted, "subject": instant.subject})
            found[-1]["boxes"] = boxes
    return found


def errors(model: str, shown: list[dict], way: str) -> dict[str, list[float]]:
    """{subject: [N-MPJPE, PA-MPJPE, pictures with a hand]} of one model."""
    from hand_tf.nets import metrics
    from hand_tf.serving.estimator import load_estimator
    from hand_tf.serving.pictures import InputPicture

    usable = [each for each in shown if way in each["boxes"]]
    inputs = [InputPicture(pathlib.Path("picture"), None, each["image"], [each["boxes"][way]]) for each in usable]
    poses = np.array([hand.pose_mm for (hand,) in load_estimator(model).predict_pictures(inputs)])
    truths, weights = (np.array([each[name] for each in usable], float) for name in ("pose", "accepted"))
    found = [np.asarray(metric(truths, poses, weights)) for metric in (metrics.n_mpjpe, metrics.pa_mpjpe)]
    subjects = np.array([each["subject"] for each in usable])
    return {
        str(name): [*(round(float(each[subjects == name].mean()), 2) for each in found), int((subjects == name).sum())]
        for name in np.unique(subjects)
    }


def main(settings: RealHandsSettings) -> None:
    """Measures and prints."""
    shown, rows = pictures(settings), []
    for model in settings.model:
        for way in WAYS:
            row = {"model": pathlib.Path(model).name, "way": way, "errors": errors(model, shown, way)}
            rows.append(row)
            print(f"{row['model']:40} {way:8} {row['errors']}", flush=True)
    if settings.docs:
        names = [pathlib.Path(model).name for model in settings.model]
        headline = {"sequence": pathlib.Path(settings.sequence).name, "pictures": len(shown), "models": names}
        measurements.publish(headline, rows, pathlib.Path(settings.docs) / "real_hands.jsonl")


if __name__ == "__main__":
    command_line.execute(main)
