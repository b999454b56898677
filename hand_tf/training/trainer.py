"""What `hand_tf.train` does: wires the regime of the flags, feeds it, and writes its workdir."""

import contextlib
import functools
import json
import os
import pathlib
import platform
import random
import types

import keras
import tensorflow as tf

from hand_tf.core import records_folder, run_folder
from hand_tf.data import batching, labelled_crops, scenarios, triplets
from hand_tf.nets import models, resnet
from hand_tf.training import callbacks, checkpoints, multi_host, probe, regimes, wiring
from hand_tf.training.settings import FLAGS


def run():
    """Trains the regime of the flags, or goes on with it. Raises ValueError or OSError with one line for bad input."""
    multi_host.rows(FLAGS.batch_size, FLAGS.processes)
    multi_host.join(FLAGS.processes, FLAGS.process_id, FLAGS.coordinator)
    data = records_folder.load_manifest(FLAGS.data_dir)
    with batching.damage_named(FLAGS.data_dir, data):
        _train(pathlib.Path(FLAGS.workdir), regimes.REGIMES[FLAGS.regime], data)


def _train(folder, regime, data):
    labels = _labels(regime, data)
    if run_folder.claim(folder, FLAGS.flags_into_string(), data.content, write=FLAGS.process_id == 0):
        print(f"{folder}: this run has finished; nothing to do")
        return
    random.seed(FLAGS.seed)  # from which Keras seeds initialisers and dropout
    keras.mixed_precision.set_global_policy(FLAGS.precision)

    # The order matters: parts first from an earlier run or from scratch, then a checkpoint of this run over them.
    with strategy().scope():
        parts = _parts(regime, data)
        if regime.labelled and not _from_earlier("pose_head"):
            parts["pose_head"].get_layer("pose").set_statistics(*labelled_crops.pose_statistics(labels))
        model = wiring.wire(regime, parts, FLAGS.latent_dropout)
        # On a CPU, XLA slows TensorFlow down; JAX without it runs a step one operation at a time.
        model.compile(_optimizer(), *_losses(regime, data, labels), jit_compile=keras.backend.backend() == "jax")
    # Before a checkpoint is restored: one of the probe's references is the encoder at the start.
    referee = _probe(parts["encoder"], data) if _probed(regime) else None
    with strategy().scope():  # restoring makes the optimizer's variables
        first_epoch = checkpoints.restore(folder / "checkpoints", model)
    batches = _batches(regime, data, labels, first_epoch)
    print(f"{regime.name}: epochs {first_epoch + 1} to {FLAGS.epochs} of {FLAGS.steps_per_epoch} steps", flush=True)

    model.fit(
        batches,
        initial_epoch=first_epoch,
        epochs=FLAGS.epochs,
        steps_per_epoch=FLAGS.steps_per_epoch,
        callbacks=_callbacks(regime, parts, data, labels, first_epoch, referee),
        shuffle=False,
        verbose=0,
    )
    if FLAGS.process_id:
        return
    facts = _facts(regime, data, labels)
    run_folder.finish(folder, parts, facts)
    print(f"{folder}: finished after {facts['seconds']:.0f} s of training")
    if regime.labelled:
        print(f"next: python -m hand_tf.evaluate --data_dir={FLAGS.data_dir} --run={folder}")


def _facts(regime, data, labels):
    rows = callbacks.read_history(pathlib.Path(FLAGS.workdir) / "history.csv")
    return {
        "regime": regime.name,
        "scenario": FLAGS.scenario,
        "labels": 0 if labels is None else len(labels["pose"]),
        "init_from": FLAGS.init_from,
        "steps": FLAGS.epochs * FLAGS.steps_per_epoch,
        "batch_size": FLAGS.batch_size,
        "seconds": round(sum(row["seconds"] for row in rows), 1),  # of all sessions of a resumed run
        "records": data.content,
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "flags": {name: _text(value) for name, value in FLAGS.flag_values_dict().items() if value is not None},
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }


def _text(value):
    """A flag's value as one would type it."""
    return ",".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)


@functools.cache  # one a process: several would crash in their collectives
def strategy():
    """MirroredStrategy over all visible GPUs (or logical CPUs); on other backends than TensorFlow, nothing."""
    if keras.backend.backend() != "tensorflow":
        tf.config.set_visible_devices([], "GPU")  # TensorFlow only feeds the data and must not take the memory
        return types.SimpleNamespace(scope=contextlib.nullcontext)
    return tf.distribute.MirroredStrategy()


# --- parts of the model ---------------------------------------------------------------------------------------------


def _from_earlier(name):
    return FLAGS.init_from is not None and (pathlib.Path(FLAGS.init_from) / f"{name}.keras").is_file()


def _load(name):
    return keras.models.load_model(pathlib.Path(FLAGS.init_from) / f"{name}.keras", compile=False, safe_mode=True)


def _encoder(data):
    if not _from_earlier("encoder"):
        return models.encoder(
            data.crop_size,
            backbone=FLAGS.encoder,
            width=FLAGS.encoder_width,
            num_points=FLAGS.num_points,
            appearance_size=FLAGS.appearance_size,
            stem=FLAGS.stem,
            normalize_points=FLAGS.normalize_points,
        )
    part = _load("encoder")
    if part.input.shape[1] != data.crop_size:
        raise ValueError(
            f"{FLAGS.init_from}: its encoder reads {part.input.shape[1]} px,"
            f" the records of {FLAGS.data_dir} hold {data.crop_size} px"
        )
    return part


def _parts(regime, data):
    """The regime's sub-models by name: each from the run `init_from` if that has it, otherwise from scratch."""
    parts = {"encoder": _encoder(data)}
    # The encoder decides, which may come from a run with other flags.
    latent = {"num_points": parts["encoder"].output["points"].shape[1]}
    look = {"appearance_size": parts["encoder"].output["appearance"].shape[1]}
    if "decoder" in regime.parts:
        sizes = {"width": FLAGS.decoder_width, "hidden": FLAGS.decoder_hidden}
        sizes |= {"convolutions": FLAGS.decoder_convolutions, "composite": FLAGS.composite}
        make = functools.partial(models.decoder, data.crop_size, points_to_map=FLAGS.points_to_map)
        parts["decoder"] = _load("decoder") if _from_earlier("decoder") else make(**sizes, **latent, **look)
    if "pose_head" in regime.parts:
        sizes = {"width": FLAGS.head_width, "depth": FLAGS.head_depth, "dropout": FLAGS.head_dropout}
        parts["pose_head"] = _load("pose_head") if _from_earlier("pose_head") else models.pose_head(**sizes, **latent)
    return parts


def _optimizer():
    total = FLAGS.epochs * FLAGS.steps_per_epoch
    rate = FLAGS.learning_rate
    if FLAGS.decay == "cosine" or FLAGS.warmup_steps:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if FLAGS.warmup_steps else rate,
            max(total - FLAGS.warmup_steps, 1),
            alpha=0.0 if FLAGS.decay == "cosine" else 1.0,
            warmup_target=rate if FLAGS.warmup_steps else None,
            warmup_steps=FLAGS.warmup_steps,
        )
    return keras.optimizers.Adam(rate)


def _losses(regime, data, labels):
    feature_model = None
    if regime.unlabelled and FLAGS.perceptual_weights != "none":
        feature_model = resnet.feature_model(data.crop_size, FLAGS.perceptual_weights, FLAGS.seed)
    return wiring.compiled_losses(
        regime,
        pixel_weight=FLAGS.pixel_weight,
        mask_weight=FLAGS.mask_weight if FLAGS.composite else 0.0,
        feature_weight=FLAGS.feature_weight,
        pose_weight=FLAGS.pose_weight,
        feature_model=feature_model,
        pose_std=None if labels is None else labelled_crops.pose_statistics(labels)[1],
    )


# --- data -----------------------------------------------------------------------------------------------------------


def _labels(regime, data):
    """The labels that the scenario allows; checks the flags that belong to the regime."""
    if regime.needs_init and not FLAGS.init_from:
        raise ValueError(f"--regime={regime.name} starts from an earlier run: pass its workdir as --init_from")
    if regime.needs_init and not _from_earlier("encoder"):
        raise ValueError(f"--init_from={FLAGS.init_from}: no encoder.keras there; has that run finished?")
    if not regime.labelled:
        return None
    if regime.needs_init:
        _check_earlier_labels()
    if not FLAGS.scenario:
        raise ValueError(f"--regime={regime.name} learns from labels: say which with --scenario, such as S0:10%")
    index = records_folder.read_index(FLAGS.data_dir)
    return labelled_crops.load_labels(
        FLAGS.data_dir, scenarios.choose_labels(FLAGS.scenario, index, data.subjects), index
    )


def _check_earlier_labels():
    """Raises ValueError if the run to start from knows labels of another scenario: they would count, uncounted."""
    path = pathlib.Path(FLAGS.init_from) / "run.json"
    before = json.loads(path.read_text(encoding="utf-8"))["scenario"] if path.is_file() else None
    if before not in (None, FLAGS.scenario):
        raise ValueError(f"{path}: that run learned from the labels of {before}, this one may use {FLAGS.scenario}")


def _stream_arguments(first_epoch):
    return {
        "batch_size": multi_host.rows(FLAGS.batch_size, FLAGS.processes),
        "steps": FLAGS.steps_per_epoch,
        "seed": multi_host.seed_of(FLAGS.seed, FLAGS.process_id),
        "first_epoch": first_epoch,
    }


def _jitter():
    """Ranges of scale and centre. Raises ValueError for a scale that is not two growing numbers."""
    try:
        low, high = (float(value) for value in FLAGS.scale_jitter)
    except ValueError as error:
        raise ValueError(f"--scale_jitter={','.join(FLAGS.scale_jitter)}: expected two numbers") from error
    if not 0 < low <= high:
        raise ValueError(f"--scale_jitter={low},{high}: expected 0 < low <= high")
    return {"scale_jitter": (low, high), "centre_jitter": FLAGS.centre_jitter}


def _unlabelled(data, first_epoch):
    jitter = _jitter() if FLAGS.jitter_unlabelled else {}
    return triplets.unlabelled(
        FLAGS.data_dir,
        data,
        scenarios.parse_subjects(FLAGS.subjects, data.subjects),
        min_time_gap=FLAGS.min_time_gap,
        same_view_share=FLAGS.same_view_share,
        in_plane_degrees=FLAGS.in_plane_degrees,
        colour_strength=FLAGS.colour_strength,
        foreground_weight=FLAGS.foreground_weight,
        foreground_threshold=FLAGS.foreground_threshold,
        shuffle_rotation=FLAGS.shuffle_rotation,
        **jitter,
        **_stream_arguments(first_epoch),
    )


def _labelled(data, labels, first_epoch):
    return labelled_crops.batches(
        labels,
        data.crop_size,
        in_plane_degrees=FLAGS.label_in_plane_degrees,
        colour_strength=FLAGS.label_colour_strength,
        **_jitter(),
        **_stream_arguments(first_epoch),
    )


def _batches(regime, data, labels, first_epoch):
    if regime.unlabelled and regime.labelled:
        return triplets.joint(_unlabelled(data, first_epoch), _labelled(data, labels, first_epoch))
    return _unlabelled(data, first_epoch) if regime.unlabelled else _labelled(data, labels, first_epoch)


# --- callbacks ------------------------------------------------------------------------------------------------------


def _probed(regime):
    return FLAGS.probe_crops and not regime.labelled and FLAGS.process_id == 0


def _probe(encoder, data):
    """The pose probe's callback and its references, measured now; None where its subjects have no labels."""
    index, sets = records_folder.read_index(FLAGS.data_dir), []
    for subjects, count in ((FLAGS.probe_fit, FLAGS.probe_crops), (FLAGS.probe_test, FLAGS.probe_crops // 2)):
        try:
            every = scenarios.choose_labels(f"{subjects}:all", index, data.subjects)
        except ValueError as error:
            print(f"no pose probe: {error} (--probe_fit, --probe_test)")
            return None
        sets.append(probe.decode(labelled_crops.load_labels(FLAGS.data_dir, every[:count], index)))
    references = {"probe_mean_pose": probe.mean_pose(sets[0]["pose"], sets[1]["pose"])}
    references["probe_start"] = probe.measure(encoder, *sets)
    values = " / ".join(f"{value:.1f}" for value in references.values())
    print(f"pose probe on {FLAGS.probe_test}, N-MPJPE mm: mean pose / encoder at the start {values}")
    return callbacks.Probe(encoder, *sets, FLAGS.probe_every, references)


def _pictures(regime, parts, data, labels):
    """Sheets of novel views and of poses, always of the same batch."""

    def first_of(stream, *arguments):  # made when the first sheet is due: it would hold up the first step for seconds
        return functools.cache(lambda: next(iter(stream(*arguments)))[:2])

    draw = {}
    if regime.unlabelled:
        triplets = first_of(_unlabelled, data, 0)
        draw["novel_views"] = lambda: callbacks.novel_view_sheet(parts, triplets())
    if regime.labelled:
        crops = first_of(_labelled, data, labels, 0)
        estimator = models.pose_estimator(parts["encoder"], parts["pose_head"])
        draw["poses"] = lambda: callbacks.pose_sheet(estimator, crops())
    return callbacks.Pictures(FLAGS.workdir, draw, FLAGS.pictures_every)


def _callbacks(regime, parts, data, labels, first_epoch, referee):
    if FLAGS.process_id:
        return []
    return [
        callbacks.Progress(),
        *([referee] if referee else []),
        _pictures(regime, parts, data, labels),
        callbacks.History(FLAGS.workdir, first_epoch),
        checkpoints.Checkpoint(pathlib.Path(FLAGS.workdir) / "checkpoints", FLAGS.checkpoint_every),
    ]
