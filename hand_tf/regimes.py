"""The regimes of training (Paper: Sec. 3.2), as data.

A regime says which sub-models train, which are frozen, which streams it reads and whether it starts from an earlier
run. `wire` turns that into one model, `losses` into the losses of its outputs. `pretrain_aug` is `pretrain` with
in-plane rotations and therefore a flagfile, not a regime.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Regime:
    """Which of the sub-models `encoder`, `decoder`, `pose_head` train or are frozen, and from what."""

    name: str
    trained: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    unlabelled: bool = False
    labelled: bool = False
    needs_init: bool = False

    @property
    def parts(self):
        """Names of all sub-models that the regime uses."""
        return self.trained + self.frozen


REGIMES = {
    regime.name: regime
    for regime in (
        Regime("supervised", trained=("encoder", "pose_head"), labelled=True),
        Regime("pretrain", trained=("encoder", "decoder"), unlabelled=True),
        Regime("pose_head", trained=("pose_head",), frozen=("encoder",), labelled=True, needs_init=True),
        Regime("semi_supervised", trained=("encoder", "decoder", "pose_head"), unlabelled=True, labelled=True),
        Regime("finetune", trained=("encoder", "pose_head"), labelled=True, needs_init=True),
        # Ours: keeps the novel views while the labels come in, so that few labels cannot pull the points apart.
        Regime(
            "finetune_joint",
            trained=("encoder", "decoder", "pose_head"),
            unlabelled=True,
            labelled=True,
            needs_init=True,
        ),
    )
}


def wire(regime, parts, latent_dropout=0.0):
    """The model that `regime` trains, out of `parts`, its sub-models by name; freezes what is to be frozen."""
    from hand_tf import models  # Keras: the names of the regimes, which every --help lists, do without

    for name in regime.parts:
        parts[name].trainable = name not in regime.frozen
    # Nothing asks for the appearance where there are no novel views; left trainable, it would have no gradient.
    parts["encoder"].get_layer("appearance_dense").trainable = regime.unlabelled
    if regime.unlabelled and regime.labelled:
        return models.joint(parts["encoder"], parts["decoder"], parts["pose_head"], latent_dropout)
    if regime.unlabelled:
        return models.novel_view(parts["encoder"], parts["decoder"], latent_dropout)
    return models.pose_estimator(parts["encoder"], parts["pose_head"], frozen_encoder="encoder" in regime.frozen)


def losses(
    regime, *, pixel_weight=1.0, mask_weight=0.0, feature_weight=1.0, pose_weight=1.0, feature_model=None, pose_std=None
):
    """Losses and their weights for the outputs of `wire(regime)`: (losses, weights), two dicts by output name.

    Args:
        pixel_weight, feature_weight, pose_weight: weights of Eq. 2, Eq. 3 (w_f) and Eq. 4 (lambda_F).
        mask_weight: of the mask against |target - background|; 0 leaves it out. Needs a compositing decoder.
        feature_model: from `resnet.feature_model`; None leaves the feature loss out.
        pose_std: standard deviation [21, 3] mm of the labels; needed where the regime has labels.
    """
    from hand_tf import losses as hand_losses  # Keras

    chosen, weights = {}, {}
    if regime.unlabelled:
        chosen["image"], weights["image"] = hand_losses.PixelL1(), pixel_weight
        if mask_weight:
            chosen["mask"], weights["mask"] = hand_losses.MaskBCE(), mask_weight
        if feature_model is not None:
            chosen["features"], weights["features"] = hand_losses.FeatureL1(feature_model), feature_weight
    if regime.labelled:
        chosen["pose"], weights["pose"] = hand_losses.PoseMSE(pose_std), pose_weight
    return chosen, weights
