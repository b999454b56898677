"""Settings shared by all commands that write records, with their defaults."""

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordsSettings:
    """How records are cut, encoded and split into shards.

    Attributes:
        output: folder of the records.
        crop_size: side of a crop, px.
        margin: side of a crop divided by the hand's diameter.
        jpeg_quality: of crops and background crops, 1 to 100.
        min_views: instants that fewer cameras see are left out.
        records_per_shard: records in one shard at most.
        seed: decides the random order of the records.
    """

    output: pathlib.Path
    crop_size: int = 128
    margin: float = 1.3
    jpeg_quality: int = 95
    min_views: int = 2
    records_per_shard: int = 1000
    seed: int = 0
