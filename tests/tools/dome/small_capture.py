"""A small capture that several tests share."""

import hashlib

from tfrecords_tools.dome import dump

SETTINGS = dict(frames=3, fps=3.0, num_cameras=2, width=64, height=64, seed=5, clutter=3)
DUMP_SETTINGS = dump.DumpSettings(jpeg_quality=90, ground_truth=True)


def digest(folder):
    """{path: SHA-256} of all files below `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
