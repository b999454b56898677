"""A regime as Keras sees it: one model out of its sub-models, and the losses of that model's outputs."""

import keras
import numpy as np

from hand_tf.nets import models
from hand_tf.training import losses
from hand_tf.training.regimes import Regime


def wire(
    regime: Regime, parts: dict[str, keras.Model], latent_dropout: float, encode_once: bool = False
) -> keras.Model:
    """The model that `regime` trains, out of `parts`, its sub-models by name; freezes what is to be frozen.

    `latent_dropout` and `encode_once`: see `models.novel_view`.
    """
    for name in regime.parts:
        parts[name].trainable = name not in regime.frozen
    # Without novel views the appearance is unused; if trainable, it would have no gradient.
    parts["encoder"].get_layer("appearance_dense").trainable = regime.unlabelled
    if "confidence" in regime.parts:
        return models.judged_estimator(parts["encoder"], parts["pose_head"], parts["confidence"])
    if regime.unlabelled and regime.labelled:
        return models.joint(parts["encoder"], parts["decoder"], parts["pose_head"], latent_dropout, encode_once)
    if regime.unlabelled:
        return models.novel_view(parts["encoder"], parts["decoder"], latent_dropout, encode_once)
    return models.pose_estimator(parts["encoder"], parts["pose_head"], frozen_encoder="encoder" in regime.frozen)


def compiled_losses(
    regime: Regime,
    *,
    pixel_weight: float,
    mask_weight: float,
    feature_weight: float,
    pose_weight: float,
    joints_2d_weight: float = 0.0,
    crop_size: int | None = None,
    feature_model: keras.Model | None = None,
    pose_std: np.ndarray | None = None,
) -> tuple[dict[str, keras.losses.Loss], dict[str, float]]:
    """Losses and their weights for the outputs of `wire`: (losses, weights), two dicts by output name.

    Args:
        pixel_weight, feature_weight, pose_weight: weights of Eq. 2, Eq. 3 (w_f) and Eq. 4 (lambda_F).
        mask_weight: of the mask against |target - background|; 0 leaves it out. Needs a compositing decoder.
        feature_model: from `feature_networks.feature_model`; None leaves the feature loss out.
        joints_2d_weight: of the joints' places in crops of `crop_size` px; 0 leaves it out.
        pose_std: standard deviation [21, 3] mm of the labels; needed where the regime has labels.
    """
    chosen, weights = {}, {}
    if regime.unlabelled:
        chosen["image"], weights["image"] = losses.PixelL1(), pixel_weight
        if mask_weight:
            chosen["mask"], weights["mask"] = losses.MaskBCE(), mask_weight
        if feature_model is not None:
            chosen["features"], weights["features"] = losses.FeatureL1(feature_model), feature_weight
    if regime.labelled:
        chosen["pose"], weights["pose"] = losses.PoseMSE(pose_std), pose_weight
        if joints_2d_weight:
            chosen["joints_2d"], weights["joints_2d"] = losses.JointsMSE(crop_size), joints_2d_weight
    if "confidence" in regime.parts:
        chosen["judged"], weights["judged"] = losses.ExpectedErrorNLL(), 1.0
    return chosen, weights
