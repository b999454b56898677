"""Draws docs/hands_strip.jpg: what `hand-tf predict` makes of a video of the dome.

    hand-tf fetch detector
    python -m benchmarks.showcase [--subject=235]

The person is one of the broad dome whom the model of the package was not trained on. The video is rendered, `predict`
finds the hand and follows it, and frames of its overlay are put side by side.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator

import cv2
import numpy as np

from benchmarks.build import write_video
from hand_tf import predict
from hand_tf.core import command_line, drawing, video
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting
from tfrecords_tools.dome import capture
from tfrecords_tools.dome.studio import render
from tfrecords_tools.dome.variety import Variety

FPS = 25


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowcaseSettings:
    """The flags of this command."""

    subject: int = setting("Number of the person.", 235, low=0)
    seed: int = setting("Seed of the dome.", 0, low=0)
    seconds: float = setting("Length of the video.", 6.0, above=0)
    frames: int = setting("Frames in the strip.", 6, low=1)
    side: int = setting("Side of a frame, px.", 320, low=64)
    reach: float = setting("Half of what a frame shows, mm.", 150.0, above=0)
    model: str = setting("Model to predict with.", "hands")
    output: str = setting("Picture to write.", "docs/hands_strip.jpg")

    def __post_init__(self):
        check(self)


def pictures(settings: ShowcaseSettings) -> Iterator[np.ndarray]:
    """The pictures, BGR, of the camera that sees most of the hand throughout."""
    sequence = dataclasses.replace(
        capture.plan(
            subjects=settings.subject + 1, frames=round(settings.seconds * FPS), fps=float(FPS), seed=settings.seed,
            width=settings.side, height=settings.side, reach=settings.reach,
            varied=Variety(arms="any", light="varied"),
        )[-1],
        subjects=(settings.subject,),
    )  # fmt: skip
    meshes = [capture.instant(sequence, frame) for frame in sequence.frame_numbers]
    cameras = capture.studio(sequence).cameras
    shares = [
        min(render.visible_share(each.mesh, capture.vertices_of(each, "right"), camera) for each in meshes[::10])
        for camera in cameras
    ]
    node = int(np.argmax(shares))
    view = capture.make_view(sequence, node)
    for number, each in enumerate(meshes):
        image = render.draw(view, each.mesh, [settings.seed, node, number])
        yield np.ascontiguousarray(image[..., ::-1])


def main(settings: ShowcaseSettings) -> None:
    """Renders, predicts and draws."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        write_video(folder / "hand.mp4", pictures(settings), (settings.side, settings.side), FPS)
        arguments = [str(folder / "hand.mp4"), f"--model={settings.model}", f"--output={folder / 'out'}"]
        if command_line.run(predict.main, arguments):
            raise InputError("predict has failed")
        drawn = [frame.whole() for frame in video.read_frames(folder / "out" / "overlays" / "hand.mp4")]
    chosen = np.linspace(0, len(drawn) - 1, settings.frames + 2).round().astype(int)[1:-1]
    images = [cv2.cvtColor(drawn[number], cv2.COLOR_BGR2RGB) for number in chosen]
    drawing.save(settings.output, drawing.grid([images]))
    print(f"{settings.output}: {len(images)} of {len(drawn)} frames")


if __name__ == "__main__":
    command_line.execute(main)
