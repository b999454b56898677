"""Training: one regime from the records to finished networks. `run` is the whole of it, in order.

labels, networks, probe, checkpoint, batches, fit, and what the run folder keeps
"""

import contextlib
import functools
import pathlib
import platform
import random
import types

import keras
import tensorflow as tf

import hand_tf
from hand_tf.core import folder_lock, records_folder, run_folder, skeleton
from hand_tf.core.errors import InputError
from hand_tf.core.processors import usable_cores
from hand_tf.core.setting_fields import as_texts
from hand_tf.data import batching, labelled_crops, scenarios
from hand_tf.nets import keras_settings, models
from hand_tf.training import (
    callbacks,
    checkpoints,
    closed_form,
    multi_host,
    networks,
    probe,
    run_data,
    runs,
    sheets,
    teacher,
    validation,
)
from hand_tf.training.regimes import REGIMES
from hand_tf.training.settings import MAY_CHANGE, TrainingSettings

BACKENDS = ("tensorflow", "jax")


def run(settings: TrainingSettings) -> None:
    """Trains the regime of the settings, or continues it. Raises ValueError or OSError with one line for bad input."""
    if keras.backend.backend() not in BACKENDS:
        raise InputError(f"KERAS_BACKEND={keras.backend.backend()}: expected {' or '.join(BACKENDS)} to train on")
    multi_host.join(settings.processes, settings.process_id, settings.coordinator)
    records = records_folder.open_records(settings.data_dir)
    with batching.damage_named(records), keras_settings.ours(settings.precision):
        _train(settings, records)


def _train(settings, records):
    regime, folder = REGIMES[settings.regime], pathlib.Path(settings.workdir)
    leads = settings.process_id == 0  # of several processes, one writes
    if settings.init_from and not networks.comes_from_earlier(settings, "encoder"):
        raise InputError(f"--init_from={settings.init_from}: no encoder.keras there; has that run finished?")
    if (regime.fused or regime.empty) and not networks.comes_from_earlier(settings, "pose_head"):
        raise InputError(
            f"--init_from={settings.init_from}: no pose_head.keras there, and --regime={regime.name} starts from an"
            " estimator of poses"
        )
    labels, held_out = run_data.load_run_labels(settings, records)
    if run_folder.look_at_run_folder(folder, settings, records.manifest.digest, MAY_CHANGE):
        print(f"{folder}: this run has finished; nothing to do")
        return
    with folder_lock.holding(folder) if leads else contextlib.nullcontext():
        if leads and run_folder.claim_run_folder(folder, settings, records.manifest.digest, MAY_CHANGE):
            return  # another process has finished it since
        _train_networks(settings, records, labels, held_out)


def _train_networks(settings, records, labels, held_out):
    """Trains in a folder that is this run's."""
    regime, folder, leads = REGIMES[settings.regime], pathlib.Path(settings.workdir), settings.process_id == 0
    crop_size = records.manifest.crop_size
    num_labels = run_data.num_labels(settings, records, labels)
    missing = run_data.unlabelled_joints(settings, labels)
    origin = runs.identity(settings.start) if settings.start else None
    random.seed(settings.seed)  # from which Keras seeds initialisers and dropout

    # The order matters: parts first from an earlier run or from scratch, then a checkpoint of this run over them.
    with strategy().scope():
        parts = networks.make_parts(settings, regime, crop_size)
    fused = before = None
    if regime.fused:
        fused = teacher.fused_poses(settings, records, parts, labels).without(missing)
        before = teacher.quality_of_teacher(settings, records, parts, held_out) if leads else {}
    with strategy().scope():
        model = networks.compile_model(settings, regime, parts, crop_size, labels, fused)
    # Before a checkpoint is restored: one of the probe's references is the encoder before training.
    probing = [_probe(settings, records, parts["encoder"])] if leads and settings.probe_crops else []
    with strategy().scope():  # restoring makes the optimizer's variables
        solved = networks.is_solved(settings, regime, parts)  # in one go: there is nothing to continue
        first_epoch = 0 if solved else checkpoints.restore_newest(folder / "checkpoints", model)

    history = callbacks.History(folder, first_epoch) if leads else None
    if not leads or not validation.should_stop(history.rows, settings.early_stopping):
        _say_what_runs(settings, labels, num_labels, held_out, first_epoch, solved)
        if missing:
            names = ", ".join(skeleton.JOINT_NAMES[joint] for joint in missing)
            print(f"warning: no label has {names}; this run does not estimate them", flush=True)
        watching = [callbacks.StopAtNonFinite()]  # in every process: the loss is that of all
        if leads:
            watching += _callbacks(settings, records, parts, labels, fused, held_out, history, probing)
        batches = run_data.batches(settings, records, labels, fused, first_epoch)
        if solved:
            _solve(settings, parts, model, batches, watching, num_labels)
        else:
            with _naming_what_is_lost(settings):
                model.fit(
                    batches,
                    initial_epoch=first_epoch,
                    epochs=settings.epochs,
                    steps_per_epoch=settings.steps_per_epoch,
                    callbacks=watching,
                    shuffle=False,
                    verbose=0,
                )
    if leads:
        _finish(settings, records, parts, model, num_labels, missing, held_out, history.rows, before, origin)


def _solve(settings, parts, model, batches, watching, num_labels):
    """In place of `fit`: solves the pose head over one epoch of batches; the callbacks see that epoch."""
    watching = keras.callbacks.CallbackList(watching, model=model, epochs=1, steps=settings.steps_per_epoch)
    watching.on_train_begin()
    watching.on_epoch_begin(0)
    steps = settings.steps_per_epoch
    closed_form.solve(parts["encoder"], parts["pose_head"], batches.take(steps), settings.head_ridge / num_labels)
    # Its errors on some of these crops are enough to be shown.
    watching.on_epoch_end(0, model.evaluate(batches, steps=min(steps, 20), verbose=0, return_dict=True))
    watching.on_train_end()


@contextlib.contextmanager
def _naming_what_is_lost(settings):
    """Says, if the training is stopped, after which epoch the same command continues."""
    try:
        yield
    except KeyboardInterrupt as stop:
        kept = max(checkpoints.epochs_of(pathlib.Path(settings.workdir) / "checkpoints"), default=0)
        after = f"after epoch {kept} of {settings.epochs}" if kept else "from the start"
        stop.args = (f"{settings.workdir}: stopped; the same command continues {after}",)
        raise


def _say_what_runs(settings, labels, num_labels, held_out, first_epoch, solved):
    devices = ", ".join(keras.distribution.list_devices())
    learns = f"{num_labels} labels" if labels else "no labels"
    if labels and settings.label_views == "all":
        learns += f" that give {len(labels['pose'])} crops of all views"
    if labels:
        learns += f", {len(held_out['pose'])} more to validate" if held_out else ", no validation (--validation_share)"
    epochs = f"epochs {first_epoch + 1} to {settings.epochs} of {settings.steps_per_epoch} steps"
    if solved:
        epochs = f"solved in closed form, from {settings.steps_per_epoch * settings.batch_size} augmented crops"
    earlier = [name for name in REGIMES[settings.regime].parts if networks.comes_from_earlier(settings, name)]
    fresh = [name for name in REGIMES[settings.regime].parts if name not in earlier]
    print(f"{settings.regime}: {learns}; {epochs}; on {devices}", flush=True)
    if settings.init_from:
        origin = f"{' and '.join(earlier)} from {settings.init_from}; from scratch: {', '.join(fresh) or 'nothing'}"
        print(origin, flush=True)


@functools.cache  # one per process: several would crash in their collectives
def strategy():
    """MirroredStrategy over all visible GPUs (or logical CPUs); on other backends than TensorFlow, nothing."""
    if keras.backend.backend() != "tensorflow":
        tf.config.set_visible_devices([], "GPU")  # TensorFlow only feeds the data and must not take the memory
        return types.SimpleNamespace(scope=contextlib.nullcontext)
    return tf.distribute.MirroredStrategy()


def _finish(settings, records, parts, model, num_labels, missing, held_out, rows, before, origin):
    """Saves the networks of the epoch that is kept, and the summary of the run.

    `missing` are the joints without any label; `before` is the quality of the teacher on held-out stretches, if there
    is one; `origin` is the identity of the run of --init_from.
    """
    folder, regime = pathlib.Path(settings.workdir), REGIMES[settings.regime]
    num_epochs = int(rows[-1]["epoch"]) if rows else settings.epochs  # somebody may have removed history.csv
    kept_epoch = validation.best_epoch(rows) if settings.keep == "best" else num_epochs
    if not kept_epoch:
        raise InputError(f"{folder}: no epoch has a finite {validation.MONITOR}; the training has diverged")
    if kept_epoch != num_epochs:
        checkpoints.restore(checkpoints.path_of(folder / "checkpoints", kept_epoch, "best"), model)
    seconds = round(sum(row["seconds"] for row in rows), 1)  # of all parts of a resumed run
    summary = {
        "regime": regime.name,
        "scenario": settings.scenario,
        "labels": num_labels,
        "validation_labels": len(held_out["pose"]) if held_out else 0,
        "unlabelled_joints": missing,
        "init_from": settings.init_from,
        "init_from_sha256": origin,
        "hand_tf": hand_tf.__version__,
        "steps": num_epochs * settings.steps_per_epoch,
        "kept_epoch": kept_epoch,
        "batch_size": settings.batch_size,
        "seconds": seconds,
        "records": records.manifest.digest,
        "machine": f"{usable_cores()} CPU cores, {platform.machine()}",
        "flags": as_texts(settings),
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }
    if before:
        after = teacher.quality(settings, records, parts, held_out)
        summary |= {"held_out": {"teacher": before, "student": after}}
        print(teacher.compare(before, after))
    run_folder.finish(folder, parts, summary)
    print(f"{folder}: finished after {seconds:.0f} s of training; kept the networks of epoch {kept_epoch}")
    if regime.labelled:
        print(f"next: hand-tf evaluate --data_dir={settings.data_dir} --run={folder}")


# --- callbacks ------------------------------------------------------------------------------------------------------


def _callbacks(settings, records, parts, labels, fused, held_out, history, probing):
    folder, validating = pathlib.Path(settings.workdir), []
    if held_out:
        validating.append(validation.Validation(parts, probe.with_images(held_out, whole_only=False)))
    keeping = []
    if settings.keep == "best":
        keeping.append(validation.KeepBest(folder, history))
    if settings.early_stopping:
        keeping.append(validation.EarlyStopping(settings.early_stopping, history))
    return [
        callbacks.Progress(),
        callbacks.MetricNames(),
        *filter(None, probing),
        *validating,
        history,
        *keeping,
        _pictures(settings, records, parts, labels, fused),
        checkpoints.Checkpoint(folder / "checkpoints", settings.checkpoint_every),
    ]


def _probe(settings, records, encoder):
    """The pose probe's callback, its references measured now; None for regimes with labels, or without any to probe."""
    if REGIMES[settings.regime].labelled:
        return None
    sets, subjects = [], records.manifest.subjects
    for names, count in ((settings.probe_fit, settings.probe_crops), (settings.probe_test, settings.probe_crops // 2)):
        try:
            chosen = scenarios.choose_labels(f"{names}:all", records.index, subjects)
        except ValueError as error:
            print(f"no pose probe: {error} (--probe_fit, --probe_test)")
            return None
        sets.append(probe.with_images(labelled_crops.load_labels(records, chosen[:count])))
    references = {"probe_mean_pose": probe.mean_pose(sets[0]["pose"], sets[1]["pose"])}
    references["probe_start"] = probe.measure(encoder, *sets)
    values = " / ".join(f"{value:.1f}" for value in references.values())
    print(f"pose probe on {settings.probe_test}, N-MPJPE mm: mean pose / encoder before training {values}")
    return callbacks.Probe(encoder, *sets, settings.probe_every, references)


def _pictures(settings, records, parts, labels, fused):
    """The callback that draws sheets of novel views and of poses, always of the same batch."""
    regime, draw = REGIMES[settings.regime], {}

    def first_batch(make):  # made when the first sheet is due: it would delay the first step by seconds
        return functools.cache(lambda: next(iter(make()))[:2])

    if regime.unlabelled:
        triplets = first_batch(lambda: run_data.unlabelled(settings, records, 0))
        draw["novel_views"] = lambda: sheets.novel_view_sheet(parts, triplets())
    if regime.labelled:
        crops = first_batch(lambda: run_data.labelled(settings, records, labels, 0, fused))
        estimator = models.pose_estimator(parts["encoder"], parts["pose_head"])
        draw["poses"] = lambda: sheets.pose_sheet(estimator, crops())
    return callbacks.Pictures(pathlib.Path(settings.workdir), draw, settings.pictures_every)
