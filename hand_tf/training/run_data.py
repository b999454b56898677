"""What a run learns from: the labels of its scenario, the crops held out for validation, the batches of its regime."""

import numpy as np
import tensorflow as tf

from hand_tf.core import reading, run_folder, skeleton
from hand_tf.core.errors import InputError
from hand_tf.core.records_folder import Records
from hand_tf.data import fused_labels, held_out, labelled_crops, scenarios, triplets
from hand_tf.data.fused_labels import FusedPoses
from hand_tf.training import multi_host, networks, runs
from hand_tf.training.regimes import REGIMES
from hand_tf.training.settings import TrainingSettings

Labels = dict[str, np.ndarray]


def load_run_labels(settings: TrainingSettings, records: Records) -> tuple[Labels | None, Labels | None]:
    """The labels that the scenario allows, and those of the held-out stretches; None where there are none.

    Raises ValueError for a scenario that the records cannot fill, or where the run to start from learned from the
    labels of another scenario: they would be used without being counted.
    """
    regime = REGIMES[settings.regime]
    if not regime.labelled:
        return None, None
    if regime.needs_init:
        _check_earlier_labels(settings, records)
    if not settings.scenario:
        return None, None
    chosen = choose_labels(settings, records)
    if settings.label_views == "all":
        keys = {key for key, _ in chosen}
        chosen = [(row["key"], name) for row in records.index if row["key"] in keys for name in row["cameras"]]
    labels = labelled_crops.load_labels(records, chosen)
    if not settings.validation_share:
        return labels, None
    subjects, held = records.manifest.subjects, held_out.held_out_keys(records.index, settings.validation_share)
    names = settings.scenario.partition(":")[0]
    try:
        chosen = scenarios.choose_labels(f"{names}:all", [row for row in records.index if row["key"] in held], subjects)
    except ValueError as error:
        raise InputError(
            f"--validation_share={settings.validation_share:g}: no label of {names} lies in the held-out stretches;"
            " take a larger share, or 0 for no validation"
        ) from error
    return labels, labelled_crops.load_labels(records, chosen[: settings.validation_crops])


def choose_labels(settings: TrainingSettings, records: Records) -> list[tuple[str, str]]:
    """The labels of the scenario as (record key, camera), none of them in the held-out stretches."""
    held = held_out.held_out_keys(records.index, settings.validation_share)
    rows = [row for row in records.index if row["key"] not in held]
    return scenarios.choose_labels(settings.scenario, rows, records.manifest.subjects)


def unlabelled_joints(settings: TrainingSettings, labels: Labels | None) -> list[int]:
    """The joints that no label of the run has, and that an earlier pose head, if it starts from one, does not know.

    What a network says of them means nothing.
    """
    missing = set(range(skeleton.NUM_JOINTS))
    if networks.comes_from_earlier(settings, "pose_head"):
        path = run_folder.summary_path(settings.start)
        summary = reading.read_json_object(path) if path.is_file() else {}
        missing &= set(summary.get("unlabelled_joints", []))
    if labels:
        missing -= set(np.flatnonzero(labels["pose_weight"].any(axis=0)).tolist())
    return sorted(missing) if REGIMES[settings.regime].labelled else []


def num_labels(settings: TrainingSettings, records: Records, labels: Labels | None) -> int:
    """How many labels the scenario gave; with --label_views=all, each of them gave several of the crops `labels`."""
    if labels is None:
        return 0
    return len(labels["pose"]) if settings.label_views == "one" else len(choose_labels(settings, records))


def _check_earlier_labels(settings, records):
    """The earlier run may have used the labels of this scenario and no others, or they would not be counted.

    Labels of other records are another matter: those of the dome, say, for an estimator of a rig without labels.
    """
    path = run_folder.summary_path(settings.start)
    if not path.is_file():
        return
    earlier = reading.read_json_object(path, ["scenario", "flags", "records"])
    if REGIMES[settings.regime].empty and earlier["records"] == records.manifest.digest:
        _check_other_people(settings, records)
        return
    if earlier["scenario"] is None:
        return
    if earlier["records"] != records.manifest.digest:
        print(f"{settings.init_from} learned from the labels of {earlier['scenario']} of other records", flush=True)
        return
    if earlier["scenario"] != settings.scenario:
        raise InputError(
            f"{path}: that run learned from the labels of {earlier['scenario']}: expected"
            f" --scenario={earlier['scenario']}, so that they are counted, not {settings.scenario}"
        )
    # Version 0.2.0 held nothing out.
    share = float(earlier["flags"].get("validation_share", 0.0))
    if share != settings.validation_share:
        raise InputError(
            f"{path}: that run was trained with --validation_share={share:g}, this one has"
            f" {settings.validation_share:g}: one would learn from labels that the other holds out"
        )


def _check_other_people(settings, records):
    """The people on whom a confidence is learned may not be those of the estimator, which it knows too well."""
    known = records.manifest.subjects
    seen = runs.subjects_seen(runs.describe(settings.start), known)
    both = [name for name in scenarios.expand_subjects(settings.scenario.partition(":")[0], known) if name in seen]
    if both:
        raise InputError(
            f"--scenario={settings.scenario}: {settings.init_from} was trained on {scenarios.in_words(both)}, too;"
            " a confidence has to be learned on other people"
        )


def batches(
    settings: TrainingSettings, records: Records, labels: Labels | None, fused: FusedPoses | None, first_epoch: int
) -> tf.data.Dataset:
    """The endless batches of the regime, from `first_epoch` on: (x, y, sample_weight).

    `labels` from `load_run_labels`, `fused` from `teacher.fused_poses`; None where the regime has none.
    """
    regime = REGIMES[settings.regime]
    if regime.unlabelled and regime.labelled:
        return triplets.joint(
            unlabelled(settings, records, first_epoch), labelled(settings, records, labels, first_epoch)
        )
    if regime.unlabelled:
        return unlabelled(settings, records, first_epoch)
    return labelled(settings, records, labels, first_epoch, fused)


def unlabelled(settings: TrainingSettings, records: Records, first_epoch: int) -> tf.data.Dataset:
    """Batches of triplets; see `triplets.unlabelled`. Without compositing, no mask is decoded, nor asked for."""
    batches = triplets.unlabelled(
        records,
        scenarios.parse_subjects(settings.subjects, records.manifest.subjects),
        min_time_gap=settings.min_time_gap,
        same_view_share=settings.same_view_share,
        partners=settings.encode_once,
        last_same_view_share=settings.last_same_view_share,
        epochs=settings.epochs,
        held_out=held_out.held_out_keys(records.index, settings.validation_share),
        in_plane_degrees=settings.in_plane_degrees,
        colour_strength=settings.colour_strength,
        swap_background_share=settings.swap_background_share,
        foreground_weight=settings.foreground_weight,
        foreground_threshold=settings.foreground_threshold,
        centre_sigma=settings.centre_sigma,
        equal_weights=settings.equal_weights,
        shuffle_rotation=settings.shuffle_rotation,
        scale_jitter=settings.scale_jitter if settings.jitter_unlabelled else (1.0, 1.0),
        centre_jitter=settings.centre_jitter if settings.jitter_unlabelled else 0.0,
        **_shared(settings, first_epoch),
    )
    return batches if settings.composite else batches.map(_without_mask)


def _without_mask(x, y, weights):
    return x, *({name: value for name, value in each.items() if name != "mask"} for each in (y, weights))


def labelled(
    settings: TrainingSettings,
    records: Records,
    labels: Labels | None,
    first_epoch: int,
    fused: FusedPoses | None = None,
) -> tf.data.Dataset:
    """Batches of labelled crops, mixed with crops of `fused` poses if there are any; see `labelled_crops`."""
    shared, others, share = _shared(settings, first_epoch), None, 1.0
    if fused is not None:
        share = _label_share(settings, records, labels, fused)
    if share < 1:
        count = shared["batch_size"] * shared["steps"]
        others = fused_labels.crops(
            records,
            scenarios.parse_subjects(settings.subjects, records.manifest.subjects),
            fused,
            count=count - labelled_crops.num_labelled(count, share),
            seed=shared["seed"],
            first_epoch=first_epoch,
        )
    return labelled_crops.training_batches(
        labels,
        records.manifest.crop_size,
        in_plane_degrees=settings.label_in_plane_degrees,
        colour_strength=settings.label_colour_strength,
        swap_background_share=settings.swap_background_share,
        foreground_threshold=settings.foreground_threshold,
        scale_jitter=settings.scale_jitter,
        centre_jitter=settings.centre_jitter,
        others=others,
        share=share,
        empty_share=settings.empty_share if REGIMES[settings.regime].empty else None,
        **shared,
    )


def _label_share(settings, records, labels, fused):
    """The share of labels in a batch: that of the crops, so that all are seen alike, but not below the setting."""
    if labels is None:
        return 0.0
    fused_keys = set(fused.keys)
    crops = sum(len(row["cameras"]) for row in records.index if row["key"] in fused_keys)
    return min(max(settings.label_share, len(labels["pose"]) / crops), 1.0)


def _shared(settings, first_epoch):
    return {
        "batch_size": settings.batch_size // settings.processes,
        "steps": settings.steps_per_epoch,
        "seed": multi_host.seed_of(settings.seed, settings.process_id),
        "first_epoch": first_epoch,
    }
