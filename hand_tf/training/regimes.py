"""The regimes of training (Paper: Sec. 3.2), as data.

A regime says which sub-models train, which are frozen, which streams it reads and whether it starts from an earlier
run. `wiring` turns that into one model and the losses of its outputs. `pretrain_aug` is `pretrain` with in-plane
rotations and therefore a flagfile, not a regime.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Regime:
    """Which of the sub-models `encoder`, `decoder`, `pose_head`, `confidence` train or are frozen, and from what.

    `empty`: some labelled crops are replaced by their empty scenes, in which there is no hand.
    `unlabelled`: triplets; `labelled`: the labels of the scenario; `fused`: the poses that an earlier estimator gives
    all crops, fused over the views of an instant. Where they are, the scenario may be left out.
    """

    name: str
    trained: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    unlabelled: bool = False
    labelled: bool = False
    fused: bool = False
    needs_init: bool = False
    empty: bool = False

    @property
    def sees_unlabelled(self) -> bool:
        """Whether it learns from crops without labels, as novel views or by the poses that a teacher gives them."""
        return self.unlabelled or self.fused

    @property
    def parts(self) -> tuple[str, ...]:
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
        # Ours: goes on learning novel views, so that a few labels cannot undo what the points have learned.
        Regime(
            "finetune_joint",
            trained=("encoder", "decoder", "pose_head"),
            unlabelled=True,
            labelled=True,
            needs_init=True,
        ),
        # Ours: the views of an instant correct each other; the student learns what they agree on. See `teacher`.
        Regime("multi_view_teacher", trained=("encoder", "pose_head"), labelled=True, fused=True, needs_init=True),
        # Ours: learns how far off a finished estimator is, on people whom that estimator was not trained on.
        Regime(
            "confidence",
            trained=("confidence",),
            frozen=("encoder", "pose_head"),
            labelled=True,
            needs_init=True,
            empty=True,
        ),
    )
}
