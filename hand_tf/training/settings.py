"""The settings of a training run: the flags of `hand_tf.train`, with their defaults, bounds and contradictions."""

import dataclasses
import functools
import pathlib

from hand_tf.core import pretrained
from hand_tf.core.setting_fields import SettingError, check, setting
from hand_tf.training import regimes

_run = functools.partial(setting, section="What to train")
_length = functools.partial(setting, section="Length and optimizer")
_kept = functools.partial(setting, section="Validation, and what is kept")
_hosts = functools.partial(setting, section="Several processes, for instance one per machine (KERAS_BACKEND=jax)")
_nets = functools.partial(setting, section="Networks")
_losses = functools.partial(setting, section="Losses")
_data = functools.partial(setting, section="Triplets and augmentation")
_logs = functools.partial(setting, section="Pose probe and pictures")

# What a resumed run may set otherwise than the run it continues.
MAY_CHANGE = ("workdir", "process_id", "coordinator", "checkpoint_every", "probe_every", "pictures_every")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """See the help text of each field. Raises SettingError for values and combinations that cannot be."""

    regime: str = _run("Training regime.", choices=tuple(regimes.REGIMES))
    data_dir: str = _run("Folder of records (hand-tf build).")
    workdir: str = _run("Folder of this run.")
    init_from: str | None = _run(
        "Folder of the run to start from (pose_head, finetune, finetune_joint, multi_view_teacher), or hands, the"
        " estimator that comes with the package.",
        None,
    )
    subjects: str = _run("Subjects whose crops may be used without labels; * for all.", "S0..S8")
    scenario: str | None = _run("Labels that may be used, such as S0:10% (see hand_tf.data.scenarios).", None)
    label_views: str = _run(
        "What a label of the scenario gives: its crop, or the crops of all views of its instant, because a 3D label"
        " belongs to the instant.",
        "one",
        choices=("one", "all"),
    )
    seed: int = _run("Seed of weights, data and augmentation.", 0, low=0)

    batch_size: int = _length("Triplets per step, and as many labelled crops.", 32, low=2)
    epochs: int = _length("Epochs of `steps_per_epoch` steps.", 100, low=1)
    steps_per_epoch: int = _length("Steps per epoch.", 1000, low=1)
    learning_rate: float = _length("Peak learning rate of Adam.", 1e-3, above=0)
    warmup_steps: int = _length("Steps of linear warm-up.", 0, low=0)
    decay: str = _length("Learning rate after the warm-up.", "cosine", choices=("cosine", "none"))
    precision: str = _length("Keras dtype policy.", "float32", choices=("float32", "mixed_bfloat16", "mixed_float16"))

    validation_share: float = _kept(
        "Share of the time of each training subject that is held out: its labels give val_mpjpe and val_n_mpjpe"
        " after each epoch. Triplets leave it out too. 0: no validation.",
        0.0,
        low=0,
        below=0.5,
    )
    validation_crops: int = _kept("Crops that validation measures, at most.", 1000, low=1)
    keep: str = _kept(
        "Which epoch's networks are kept; best: of the lowest val_n_mpjpe.", "last", choices=("last", "best")
    )
    early_stopping: int = _kept("Stop after this many epochs without a new lowest val_n_mpjpe. 0: never.", 0, low=0)
    checkpoint_every: int = _kept("Epochs between checkpoints.", 1, low=1)

    processes: int = _hosts("Processes that train together; each reads its rows of every batch.", 1, low=1)
    process_id: int = _hosts("Which of them this is; 0 writes the workdir.", 0, low=0)
    coordinator: str | None = _hosts("host:port of process 0, the same for all.", None)

    encoder: str = _nets("Encoder: ResNet-18, or a small one for phones.", "resnet18", choices=("resnet18", "mobile"))
    encoder_width: int = _nets(
        "Channels of the encoder's first stage; 64 is ResNet-18, `mobile` grows in proportion.", 64, low=1
    )
    stem: str = _nets("Encoder's stem; `small` for crops up to 64 px.", "imagenet", choices=("imagenet", "small"))
    num_points: int = _nets("N, points of the latent.", 200, low=1)
    appearance_size: int = _nets("A, size of the appearance.", 128, low=1)
    points: str = _nets(
        "How the encoder finds the points: fully connected, or as the mean places of heat maps.",
        "dense",
        choices=("dense", "heatmaps"),
    )
    normalize_points: bool = _nets("With dense: give the points of every image the same overall scale.", True)
    decoder_width: int = _nets("Channels of the decoder's last stage.", 64, low=1)
    points_to_map: str = _nets("How the decoder sees the points.", "splat", choices=("splat", "dense"))
    decoder_hidden: int = _nets("With dense: units between the points and the first map; 0 for none.", 0, low=0)
    decoder_convolutions: int = _nets("Convolutions per stage of the decoder.", 2, low=1)
    encode_once: bool = _nets(
        "Encode each picture of a batch once: it is the source of one triplet and the reference of another.", True
    )
    composite: bool = _nets("Decode a mask and blend over the background (otherwise: background features).", True)
    latent_dropout: float = _nets(
        "Share of the points that a step drops, whole, before they are rotated.", 0.0, low=0, below=1
    )
    head: str = _nets("Pose head: the equivariant linear map, or the paper's MLP.", "linear", choices=("mlp", "linear"))
    head_width: int = _nets("With mlp: units per hidden layer of the pose head.", 2048, low=1)
    head_depth: int = _nets("With mlp: hidden layers of the pose head.", 2, low=0)
    head_dropout: float = _nets("With mlp: dropout of the pose head.", 0.5, low=0, below=1)
    head_ridge: float = _nets(
        "With linear, over a frozen encoder: the head is solved in closed form, from the crops of one epoch, with a"
        " ridge that weighs as much as this number of labels.",
        6.0,
        above=0,
    )

    pixel_weight: float = _losses("Weight of the pixel loss (Eq. 2).", 1.0, low=0)
    mask_weight: float = _losses("Weight of the mask against |target - background|; 0: none.", 0.5, low=0)
    feature_weight: float = _losses("Weight of the feature loss (Eq. 3).", 1.0, low=0)
    pose_weight: float = _losses("Weight of the pose loss, lambda_F (Eq. 4).", 1.0, low=0)
    joints_2d_weight: float = _losses("Weight of the loss of the joints' places in the crop.", 0.2, low=0)
    perceptual_weights: str = _losses(
        "Weights of the feature loss: imagenet (ResNet-18, downloaded), a .safetensors or .h5 file of such a network,"
        " lite0 (EfficientNet-lite0 on ImageNet, from hand-tf fetch features), random, or none.",
        "imagenet",
    )
    perceptual_sha256: str | None = _losses(
        "SHA-256 that the file of --perceptual_weights must have. Without it, a downloaded file must stay what it was.",
        None,
    )
    foreground_weight: float = _losses("Pixel weight where target and background differ.", 6.0, low=0)
    foreground_threshold: float = _losses("Difference, of 0..1, that counts as foreground.", 0.04, low=0, high=1)
    centre_sigma: float = _losses(
        "Weights of pixels and mask fall off from the crop's centre as a Gaussian of this share of its side; 0: not.",
        0.25,
        low=0,
    )
    equal_weights: bool = _losses("Give the pixels of every crop, and of every mask, the same mean weight.", True)

    min_time_gap: float = _data("Least time between t and t', in seconds.", 1.0, low=0)
    same_view_share: float = _data("Share of triplets with i = j, in the first epoch.", 0.3, low=0, high=1)
    last_same_view_share: float | None = _data(
        "Share of triplets with i = j in the last epoch, with a straight line between. None: as in the first.",
        None,
        low=0,
        high=1,
    )
    in_plane_degrees: float = _data(
        "In-plane rotations of unlabelled views, +-degrees (pretrain_aug).", 0.0, low=0, high=180
    )
    colour_strength: float = _data("Random gains, shared by the views of a triplet.", 0.0, low=0)
    label_in_plane_degrees: float = _data("In-plane rotations of labelled crops, +-degrees.", 0.0, low=0, high=180)
    label_colour_strength: float = _data("Random gains of labelled crops.", 0.0, low=0)
    label_share: float = _data(
        "multi_view_teacher: least share of a batch that are labels, the others have fused poses. Where a larger share"
        " of the crops has a label, it is that share.",
        0.25,
        low=0,
        below=1,
    )
    empty_share: float = _data(
        "confidence: share of the crops that show the empty scene instead of a hand.", 0.25, low=0, below=1
    )
    scale_jitter: tuple[float, float] = _data(
        "Encoded crops: least and greatest side, relative to the stored crop; log-uniform between.",
        (0.6, 1.25),
        above=0,
    )
    centre_jitter: float = _data("Encoded crops: shift of the centre, +-share of the side.", 0.06, low=0, below=0.5)
    jitter_unlabelled: bool = _data("Jitter scale and centre of unlabelled sources too.", True)
    swap_background_share: float = _data(
        "Share of the encoded crops that get the empty scene behind another crop of their batch.", 0.5, low=0, high=1
    )
    shuffle_rotation: bool = _data("Control experiment: a wrong rotation for every triplet.", False)

    probe_fit: str = _logs("Subjects that fit the pose probe.", "S0..S6")
    probe_test: str = _logs("Subjects that the pose probe is measured on.", "S7+S8")
    probe_crops: int = _logs(
        "Crops that fit the probe of pre-training; half as many measure it. 0: no probe.", 2000, low=0
    )
    probe_every: int = _logs("Epochs between probes.", 1, low=1)
    pictures_every: int = _logs("Epochs between pictures.", 5, low=1)

    @property
    def start(self) -> pathlib.Path | None:
        """The folder that `init_from` stands for."""
        return pretrained.located(self.init_from) if self.init_from else None

    def __post_init__(self):
        check(self)
        regime = regimes.REGIMES[self.regime]
        if regime.needs_init and not self.init_from:
            raise SettingError(f"--regime={self.regime} starts from an earlier run: expected its folder as --init_from")
        if regime.labelled and not self.scenario and not regime.fused:
            raise SettingError(f"--regime={self.regime} learns from labels: expected --scenario, such as S0:10%")
        if self.scenario and not regime.labelled:
            raise SettingError(f"--regime={self.regime} learns without labels: expected no --scenario")
        low, high = self.scale_jitter
        if low > high:
            raise SettingError(f"--scale_jitter={low:g},{high:g}: expected the smaller number first")
        if self.probe_crops == 1:
            raise SettingError("--probe_crops=1: expected 0, or at least 2: half as many crops measure the probe")
        self._check_validation(regime)
        self._check_processes()

    def _check_validation(self, regime):
        if self.keep == "last" and not self.early_stopping:
            return
        if not regime.labelled:
            raise SettingError(f"--keep=best, --early_stopping: --regime={self.regime} has no labels to validate on")
        flag = "--keep=best" if self.keep == "best" else f"--early_stopping={self.early_stopping}"
        if not self.validation_share:
            raise SettingError(f"{flag} needs a validation set: expected --validation_share above 0, such as 0.1")
        if self.processes > 1:
            raise SettingError(f"{flag} works in one process only: expected --processes=1, not {self.processes}")

    def _check_processes(self):
        if self.batch_size % self.processes:
            raise SettingError(
                f"--batch_size={self.batch_size}: expected a multiple of --processes={self.processes}, which share it"
            )
        if self.encode_once and self.batch_size // self.processes % 2:
            raise SettingError(
                f"--encode_once: expected an even --batch_size per process, not {self.batch_size // self.processes}"
            )
        if self.process_id >= self.processes:
            raise SettingError(f"--process_id={self.process_id}: expected less than --processes={self.processes}")
        if self.processes > 1 and not self.coordinator:
            raise SettingError(f"--processes={self.processes}: expected --coordinator=host:port of process 0")
