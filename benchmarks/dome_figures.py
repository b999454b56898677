"""Pictures of the dome for docs/dome.md, and figures of its cameras, its people and what hides their hands.

    python -m benchmarks.dome_figures
    python -m benchmarks.docs_tables

Writes OUTPUT/dome_*.jpg and appends the figures to OUTPUT/dome_figures.jsonl.
"""

import dataclasses
import functools
import pathlib

import cv2
import numpy as np

from benchmarks import measurements
from hand_tf.core import command_line, crops, drawing
from hand_tf.core.setting_fields import check, setting
from tfrecords_tools.dome import __main__ as dome_command
from tfrecords_tools.dome import capture, dump, records
from tfrecords_tools.dome.person import people
from tfrecords_tools.dome.studio import render, rig
from tfrecords_tools.records import backgrounds, crop_views

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]
HIDDEN = (0.1, 0.5, 0.9)
PEOPLE, VIEWS = 400, 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomeFiguresSettings:
    """The flags of this command."""

    output: str = setting("Folder of the pictures and figures.", "docs")
    seed: int = setting("Seed of the capture.", 0, low=0)

    def __post_init__(self):
        check(self)


# --- pictures -------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _view(sequence, node):
    return capture.make_view(sequence, node)


def _picture(sequence, node, frame):
    key = [sequence.seed, sequence.index, node, frame]
    return render.draw(_view(sequence, node), capture.instant(sequence, frame).mesh, key)


def _small_picture(sequence, node, frame, width):
    return cv2.resize(_picture(sequence, node, frame), (width, width), interpolation=cv2.INTER_AREA)


def _crop(sequence, node, frame, with_joints=False, size=160):
    """One crop as in records, on request with its joints."""
    shown = records.Instants(sequence)[frame - capture.FIRST_FRAME]
    crop = crop_views.crop_of(shown, _view(sequence, node).camera, 1.3, size)
    image = crops.render(_picture(sequence, node, frame), crops.sampling_maps(crop), size)
    if not with_joints:
        return image
    return drawing.draw_joints(image, crops.project(shown.joints, crop.rotation, crop.K, crop.centre))


def _joints(sequence, frame):
    number, step = sequence.place(frame)
    return capture.joints_of(sequence, number, "right")[step]


def _in_rows(cells, columns):
    return drawing.grid([cells[i : i + columns] for i in range(0, len(cells), columns)])


def people_sheet(sequences: list) -> np.ndarray:
    """Each person with an open hand, from a camera in front of the palm and one behind it."""
    cells = []
    for sequence in sequences:
        for number in sequence.subjects:
            own = [frame for frame in sequence.frame_numbers if sequence.place(frame)[0] == number]
            open_hands = sorted(own, key=lambda frame: -_spread(sequence, frame))[:6]
            shots = sorted((_facing(sequence, frame, node), frame, node) for frame in open_hands for node in range(8))
            (_, front_frame, front), (_, back_frame, back) = shots[-1], shots[0]
            pair = [_crop(sequence, front, front_frame), _crop(sequence, back, back_frame)]
            cells.append(drawing.caption(np.vstack(pair), f"S{number}"))
    return _in_rows(cells, 6)


def _spread(sequence, frame):
    """How far the fingertips are from the wrist, mm, summed."""
    joints = _joints(sequence, frame)
    return np.linalg.norm(joints[[4, 8, 12, 16, 20]] - joints[0], axis=1).sum()


def _facing(sequence, frame, node):
    """Cosine between the palm's normal and the way to the camera: 1 faces the palm, -1 the back of the hand."""
    joints = _joints(sequence, frame)
    palm = np.cross(joints[5] - joints[0], joints[17] - joints[0])
    to_camera = capture.studio(sequence).cameras[node].centre - joints[0]
    return float(palm @ to_camera / np.linalg.norm(palm) / np.linalg.norm(to_camera))


def all_views_sheet(sequence: capture.CaptureSequence, frame: int) -> np.ndarray:
    """One instant from all cameras."""
    cameras = enumerate(capture.studio(sequence).cameras)
    return _in_rows([drawing.caption(_small_picture(sequence, node, frame, 160), c.name) for node, c in cameras], 8)


def motion_sheet(sequence: capture.CaptureSequence, node: int, frames: list[int]) -> np.ndarray:
    """Several instants from one camera."""
    return _in_rows([_small_picture(sequence, node, frame, 150) for frame in frames], 8)


def crops_sheet(sequences: list, seed: int, with_joints: bool) -> np.ndarray:
    """Twenty crops drawn at random."""
    rng = np.random.default_rng([seed, 20])
    return _in_rows([_crop(*_random_view(sequences, rng), with_joints) for _ in range(20)], 5)


def _random_view(sequences, rng):
    """A sequence, the number of a camera, and a frame."""
    sequence = sequences[rng.integers(len(sequences))]
    frame, node = int(rng.choice(sequence.frame_numbers)), int(rng.integers(8))
    return sequence, node, frame


# --- figures --------------------------------------------------------------------------------------------------------


def rig_figures(seed: int) -> dict[str, str]:
    """The cameras of the rig `panoptic31` at full size."""
    _, cameras = rig.make_cameras("panoptic31", seed, 0, (1920, 1080), rig.FULL_REACH)
    offsets = np.stack([camera.centre for camera in cameras]) - rig.meeting_point(cameras)
    distance = np.linalg.norm(offsets, axis=1)
    elevation = np.rad2deg(np.arcsin(-offsets[:, 1] / distance))
    K = np.stack([camera.K for camera in cameras])
    aspect, k1 = K[:, 1, 1] / K[:, 0, 0], np.array([camera.dist[0] for camera in cameras])
    return {
        "cameras": f"{len(cameras)}",
        "distance to where the axes meet, mm": f"{distance.mean():.0f} ± {distance.std():.0f}",
        "elevation, degrees": f"{elevation.min():.0f} .. {elevation.max():.0f}",
        "fx, px": f"{K[:, 0, 0].min():.0f} .. {K[:, 0, 0].max():.0f}",
        "fy / fx": f"{aspect.min():.4f} .. {aspect.max():.4f}",
        "k1": f"{k1.min():.2f} .. {k1.max():.2f}",
    }


def people_figures(seed: int) -> list[dict]:
    """Mean and standard deviation of each measure of the dome's people, beside those published; mm."""
    return [
        {"what": what, "dome": [round(float(mean), 4), round(float(sd), 4)], "published": [float(m), float(s)]}
        for what, _, mean, sd, m, s in people.statistics(seed, PEOPLE)
    ]


def hidden_figures(sequences: list, seed: int) -> dict[str, float]:
    """The shares of views in which more than a tenth, a half and nine tenths of the hand are hidden."""
    rng, hidden = np.random.default_rng([seed, 21]), []
    for _ in range(VIEWS):
        sequence, node, frame = _random_view(sequences, rng)
        view, instant = _view(sequence, node), capture.instant(sequence, frame)
        own = instant.mesh.triangles[(instant.mesh.triangles < instant.hand_vertices).all(1)]
        alone = instant._replace(mesh=instant.mesh._replace(triangles=own))
        free = dump.hand_mask(view._replace(depth=np.full_like(view.depth, 1e5)), alone)
        seen = dump.hand_mask(view, instant)
        hidden.append(1 - seen.sum(dtype=float) / max(free.sum(dtype=float), 1))
    return {str(part): round(float(np.mean(np.array(hidden) > part)), 4) for part in HIDDEN}


def background_error(sequence: capture.CaptureSequence, nodes: tuple = (0, 3, 6), level: int = 12) -> float:
    """The share of pixels in which the background of `build` differs from the empty scene by more than `level`."""
    shares = []
    for node in nodes:
        view = _view(sequence, node)
        hidden, pictures = [], []
        for frame in backgrounds.sample_frames(list(sequence.frame_numbers), view.camera):
            hands = [(_joints(sequence, frame), np.ones(21, bool))]
            hidden.append(backgrounds.hand_rectangles(view.camera, hands, ()))
            pictures.append(_picture(sequence, node, frame))
        background, _ = backgrounds.masked_median(pictures, hidden)
        shares.append(np.mean(np.abs(background.astype(int) - view.scene).max(2) > level))
    return round(float(np.mean(shares)), 5)


def broad_sheet(seed: int) -> np.ndarray:
    """Twenty crops of the dome of flags/broad_dome.flags, drawn at random."""
    flags = ["--flagfile=broad_dome", "--records=unused"]
    varied = command_line.parse(dome_command.DomeSettings, flags).varied
    size = {"width": 384, "height": 384}
    return crops_sheet(capture.plan(subjects=60, frames=40, fps=1.0, seed=seed, varied=varied, **size), seed, False)


def main(settings: DomeFiguresSettings) -> None:
    """Writes the pictures and the figures."""
    folder, seed = pathlib.Path(settings.output), settings.seed
    folder.mkdir(parents=True, exist_ok=True)
    plan = functools.partial(capture.plan, subjects=11, seed=seed, frames=60, fps=2.0)
    sequences, dome = plan(width=384, height=384), plan(width=256, height=256, rig="panoptic31")[0]
    sheets = {
        "crops": crops_sheet(sequences, seed, with_joints=False),
        "joints": crops_sheet(sequences, seed, with_joints=True),
        "views": all_views_sheet(dome, dome.frame_numbers[9]),
        "motion": motion_sheet(sequences[1], 2, list(sequences[1].frame_numbers)[8:24]),
        "subjects": people_sheet(sequences),
        "broad": broad_sheet(seed),
    }
    for name, image in sheets.items():
        path = folder / f"dome_{name}.jpg"
        if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG):
            raise OSError(f"{path}: the picture cannot be written")
    headline = {
        "seed": seed,
        "rig": rig_figures(seed),
        "people": PEOPLE,
        "hidden": hidden_figures(sequences, seed),
        "background_error": background_error(sequences[0]),
    }
    measurements.publish(headline, people_figures(seed), folder / "dome_figures.jsonl")


if __name__ == "__main__":
    command_line.execute(main)
