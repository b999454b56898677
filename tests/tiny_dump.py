"""Writes a small sequence folder in Panoptic's layout: a still scene with coloured markers at the joints of two hands.

The markers lie where `geometry.project` sees the joints, so that a reader of the pictures can be tested on them.
"""

import csv
import json

import cv2
import numpy as np

from hand_tf.core import geometry, skeleton

WIDTH, HEIGHT, FPS = 480, 360, 25.0
# {joint: RGB} of the joints with a marker; nothing else in a picture has a colour like these.
MARKERS = {0: (255, 0, 0), 4: (0, 255, 0), 8: (0, 0, 255), 12: (255, 255, 0), 20: (255, 0, 255)}


def right_hand():
    """Joints [21, 3] mm of an open right hand, wrist at 0, palm length 90, slightly bent."""
    joints = np.zeros((21, 3))
    for finger, (x, y, step) in enumerate([(45, 30, 26), (30, 85, 25), (0, 90, 28), (-22, 82, 25), (-45, 70, 20)]):
        for i in range(4):
            joints[1 + 4 * finger + i] = [x * (1 + 0.25 * i), y + step * i, -4.0 * i * i]
    return joints


def rotation_about(axis, degrees):
    """The rotation [3, 3] about `axis` [3] by `degrees` times the length of the axis."""
    return cv2.Rodrigues(np.deg2rad(degrees) * np.asarray(axis, float))[0]


def cameras():
    """Three distorted cameras about 700 mm away that look at the origin from -30, 0 and 35 degrees."""
    result = []
    for node, degrees in enumerate((-30.0, 0.0, 35.0)):
        K = np.array([[400.0 + 5 * node, 0, 236.0], [0, 402.0, 182.5], [0, 0, 1]])
        dist = np.array([-0.12, 0.05, 0.001, -0.002, 0.01])
        R = rotation_about([1, 0, 0], 6.0 * node) @ rotation_about([0, 1, 0], degrees)
        result.append(geometry.Camera(f"00_{node:02d}", WIDTH, HEIGHT, K, dist, R, np.array([10.0, -5 * node, 700.0])))
    return result


def joints_at(frame, side):
    """World joints [21, 3] mm of one hand at one frame. Both hands keep moving, each in its own way."""
    hand, centre = right_hand() - [0, 80, 0], np.array([130.0, 0, 0])
    if side == "left":
        hand, centre = hand @ skeleton.MIRROR, -centre
    rotation = rotation_about([0.1, 0.2, 1.0], (23.0 if side == "right" else -31.0) * frame)
    return hand @ rotation.T + centre + [6.0 * (frame % 3), 8.0 * (frame % 4) - 10, 5.0 * frame % 40]


def scene(camera):
    """The empty scene [height, width, 3]: a smooth grey picture, different for each camera."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    grey = 110 + 25 * np.sin(x / 37 + int(camera.name[-2:])) + 20 * np.cos(y / 29)
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)


def picture(camera, hands, radius=5):
    """The scene with a disc at each marked joint of `hands`, a list of joints [21, 3]."""
    image = scene(camera)
    for joints in hands:
        pixels = geometry.project(joints, camera)
        for joint, colour in MARKERS.items():
            centre = tuple(int(v) for v in np.round(pixels[joint] * 256))
            cv2.circle(image, centre, radius * 256, colour, -1, cv2.LINE_AA, 8)
    return image


def hand_json(joints):
    """One hand entry, in centimetres, all joints accepted."""
    return {
        "landmarks": (joints / 10).ravel().tolist(),
        "averageScore": [0.9] * 21,
        "averageReproError": [1.0] * 21,
        "validity": [1] * 21,
        "visibility": [[0, 1, 2]] * 21,
    }


def calibration_entry(camera, type="hd"):
    """One camera of the calibration file, in centimetres."""
    panel, node = map(int, camera.name.split("_"))
    entry = {
        "name": camera.name,
        "type": type,
        "resolution": [camera.width, camera.height],
        "panel": panel,
        "node": node,
    }
    entry |= {"K": camera.K.tolist(), "distCoef": camera.dist.tolist(), "R": camera.R.tolist()}
    return entry | {"t": (camera.t / 10)[:, None].tolist()}


def write_hands(folder, frame, people):
    """One hand file; `people` as in the format."""
    path = folder / "hdHand3d" / f"handRecon3D_hd{frame:08d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 0.5, "people": people}))
    return path


def write_calibration(folder, entries):
    """The calibration file of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"calibration_{folder.name}.json"
    path.write_text(json.dumps({"calibDataSource": "test", "cameras": entries}))
    return path


def write_csv(path, header, rows):
    """A table."""
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write(folder, frames=8, sides=("left", "right"), video=False, extension="png"):
    """Writes the dump to `folder` (its name is the sequence's); returns the cameras."""
    rig = cameras()
    write_calibration(folder, [calibration_entry(camera) for camera in rig])
    for frame in range(frames):
        write_hands(folder, frame, [{"id": 0} | {f"{s}_hand": hand_json(joints_at(frame, s)) for s in sides}])
    for camera in rig:
        pictures = [picture(camera, [joints_at(frame, side) for side in sides]) for frame in range(frames)]
        if video:
            write_video(folder / "hdVideos" / f"hd_{camera.name}.mp4", pictures)
            continue
        (folder / "hdImgs" / camera.name).mkdir(parents=True)
        for frame, image in enumerate(pictures):
            path = folder / "hdImgs" / camera.name / f"{camera.name}_{frame:08d}.{extension}"
            cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    return rig


def write_video(path, pictures):
    """An MP4 of RGB pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (width, height))
    for image in pictures:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
