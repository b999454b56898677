"""The networks of a run: each sub-model from scratch or from an earlier run, wired and compiled for its regime."""

import functools

import keras

from hand_tf.data import labelled_crops
from hand_tf.data.fused_labels import FusedPoses
from hand_tf.nets import feature_networks, metrics, models, parts
from hand_tf.training import closed_form, wiring
from hand_tf.training.regimes import Regime
from hand_tf.training.settings import TrainingSettings


def comes_from_earlier(settings: TrainingSettings, name: str) -> bool:
    """Whether the run to start from, `init_from`, has the sub-model `name`."""
    return settings.start is not None and (settings.start / f"{name}.keras").is_file()


def make_parts(settings: TrainingSettings, regime: Regime, crop_size: int) -> dict[str, keras.Model]:
    """The regime's sub-models by name: each from the run `init_from` if that has it, otherwise from scratch.

    Raises ValueError if the earlier encoder reads crops of another size than `crop_size` px.
    """
    made = {"encoder": _encoder(settings, crop_size)}
    # The encoder decides, which may come from a run with other flags.
    num_points, appearance_size = (made["encoder"].output[name].shape[1] for name in ("points", "appearance"))
    fresh = {
        "decoder": functools.partial(
            models.decoder,
            crop_size,
            width=settings.decoder_width,
            num_points=num_points,
            appearance_size=appearance_size,
            points_to_map=settings.points_to_map,
            hidden=settings.decoder_hidden,
            convolutions=settings.decoder_convolutions,
            composite=settings.composite,
        ),
        "pose_head": functools.partial(
            models.pose_head,
            num_points,
            crop_size,
            kind=settings.head,
            places=models.places_points(made["encoder"]),
            width=settings.head_width,
            depth=settings.head_depth,
            dropout=settings.head_dropout,
        ),
        "confidence": functools.partial(models.confidence, num_points, appearance_size),
    }
    for name in ("decoder", "pose_head", "confidence"):
        if name in regime.parts:
            earlier = comes_from_earlier(settings, name)
            made[name] = parts.load_part(settings.start, name) if earlier else fresh[name]()
    return made


def is_solved(settings: TrainingSettings, regime: Regime, made: dict[str, keras.Model]) -> bool:
    """Whether the run solves its pose head in closed form: a new linear one over a frozen encoder."""
    linear = "pose_head" in made and closed_form.is_linear(made["pose_head"])
    return linear and "encoder" in regime.frozen and not comes_from_earlier(settings, "pose_head")


def _encoder(settings, crop_size):
    if not comes_from_earlier(settings, "encoder"):
        return models.encoder(
            crop_size,
            backbone=settings.encoder,
            width=settings.encoder_width,
            num_points=settings.num_points,
            appearance_size=settings.appearance_size,
            stem=settings.stem,
            points=settings.points,
            normalize_points=settings.normalize_points,
        )
    return parts.load_part(settings.start, "encoder", crop_size)


def compile_model(
    settings: TrainingSettings,
    regime: Regime,
    made: dict[str, keras.Model],
    crop_size: int,
    labels: dict | None,
    fused: FusedPoses | None = None,
) -> keras.Model:
    """The model that the regime trains, wired out of `made` and compiled.

    `labels` from `run_data.load_run_labels`, `fused` from `teacher.fused_poses`; None where the regime has none.
    """
    statistics = labelled_crops.pose_statistics(labels) if labels else None
    if fused is not None and not labels:
        statistics = fused.statistics()
    if labels and not comes_from_earlier(settings, "pose_head"):
        made["pose_head"].get_layer("pose").set_statistics(*statistics)
    model = wiring.wire(regime, made, settings.latent_dropout, settings.encode_once)
    feature_model = None
    if regime.unlabelled and settings.perceptual_weights != "none":
        feature_model = feature_networks.feature_model(
            crop_size, settings.perceptual_weights, settings.seed, settings.perceptual_sha256
        )
    losses, weights = wiring.compiled_losses(
        regime,
        pixel_weight=settings.pixel_weight,
        mask_weight=settings.mask_weight if settings.composite else 0.0,
        feature_weight=settings.feature_weight,
        pose_weight=settings.pose_weight,
        joints_2d_weight=settings.joints_2d_weight if "joints_2d" in model.output else 0.0,
        crop_size=crop_size,
        feature_model=feature_model,
        pose_std=statistics[1] if statistics else None,
    )
    model.compile(
        _optimizer(settings),
        losses,
        weights,
        weighted_metrics={"pose": [metrics.MPJPE(), metrics.NMPJPE()]} if regime.labelled else None,
        # On a CPU, XLA slows TensorFlow down; JAX without it runs a step one operation at a time.
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def _optimizer(settings):
    rate, warmup = settings.learning_rate, settings.warmup_steps
    if settings.decay == "cosine" or warmup:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(settings.epochs * settings.steps_per_epoch - warmup, 1),
            alpha=0.0 if settings.decay == "cosine" else 1.0,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    return keras.optimizers.Adam(rate)
