"""The flags of a training run; `hand_tf.train` is the command, `hand_tf.training.trainer` does what they say."""

from absl import flags

from hand_tf.training import regimes

FLAGS = flags.FlagValues()
_define = {"flag_values": FLAGS}

# --- what to run
flags.DEFINE_enum("regime", None, list(regimes.REGIMES), "What is trained, and from what.", **_define)
flags.DEFINE_string("data_dir", None, "Folder of records (tfrecords_tools.build).", **_define)
flags.DEFINE_string("workdir", None, "Folder of this run.", **_define)
flags.DEFINE_string("init_from", None, "Workdir of the run to start from (pose_head, finetune).", **_define)
flags.DEFINE_string("subjects", "S0..S8", "Subjects whose crops may be used without labels; * for all.", **_define)
flags.DEFINE_string(
    "scenario", None, "Labels that may be used, such as S0:10% (see hand_tf.data.scenarios).", **_define
)
flags.DEFINE_integer("seed", 0, "Seed of weights, data and augmentation.", **_define)
# --- length and optimiser
flags.DEFINE_integer("batch_size", 32, "Triplets, and as many labelled crops, a step.", lower_bound=2, **_define)
flags.DEFINE_integer("epochs", 100, "Epochs of `steps_per_epoch` steps.", lower_bound=1, **_define)
flags.DEFINE_integer("steps_per_epoch", 1000, "Steps an epoch.", lower_bound=1, **_define)
flags.DEFINE_float("learning_rate", 1e-3, "Peak learning rate of Adam.", **_define)
flags.DEFINE_integer("warmup_steps", 0, "Steps of linear warm-up.", **_define)
flags.DEFINE_enum("decay", "cosine", ["cosine", "none"], "Learning rate after the warm-up.", **_define)
flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16", "mixed_float16"], "Keras policy.", **_define)
# --- several processes, such as one a machine (KERAS_BACKEND=jax)
flags.DEFINE_integer("processes", 1, "Processes that train together; each reads its rows.", lower_bound=1, **_define)
flags.DEFINE_integer("process_id", 0, "Which of them this is; 0 writes WORKDIR.", lower_bound=0, **_define)
flags.DEFINE_string("coordinator", None, "host:port of process 0, the same for all.", **_define)
# --- what is kept
flags.DEFINE_integer("checkpoint_every", 1, "Epochs between checkpoints.", lower_bound=1, **_define)
# --- networks
flags.DEFINE_enum(
    "encoder", "resnet18", ["resnet18", "mobile"], "Encoder: ResNet-18, or a small one for phones.", **_define
)
flags.DEFINE_integer(
    "encoder_width", 64, "Channels of the encoder's first stage, 64 is ResNet-18; `mobile` in proportion.", **_define
)
flags.DEFINE_enum(
    "stem", "imagenet", ["imagenet", "small"], "Encoder's stem; `small` for crops up to 64 px.", **_define
)
flags.DEFINE_integer("num_points", 200, "N, points of the latent.", **_define)
flags.DEFINE_integer("appearance_size", 128, "A, size of the appearance.", **_define)
flags.DEFINE_bool("normalize_points", True, "Give the points of every image the same overall scale.", **_define)
flags.DEFINE_integer("decoder_width", 64, "Channels of the decoder's last stage.", **_define)
flags.DEFINE_enum("points_to_map", "splat", ["splat", "dense"], "How the decoder sees the points.", **_define)
flags.DEFINE_integer("decoder_hidden", 0, "Units between points and a `dense` first map, 0 for none.", **_define)
flags.DEFINE_integer("decoder_convolutions", 2, "Convolutions of a stage of the decoder.", **_define)
flags.DEFINE_bool(
    "composite", True, "Decode a mask and blend over the background (else: background features).", **_define
)
flags.DEFINE_float("latent_dropout", 0.0, "Dropout of the points before they are turned.", **_define)
flags.DEFINE_integer("head_width", 2048, "Units of a hidden layer of the pose head.", **_define)
flags.DEFINE_integer("head_depth", 2, "Hidden layers of the pose head.", **_define)
flags.DEFINE_float("head_dropout", 0.5, "Dropout of the pose head.", **_define)
# --- losses
flags.DEFINE_float("pixel_weight", 1.0, "Weight of the pixel loss (Eq. 2).", **_define)
flags.DEFINE_float("mask_weight", 0.5, "Weight of the mask against |target - background|; 0: none.", **_define)
flags.DEFINE_float("feature_weight", 1.0, "Weight of the feature loss (Eq. 3).", **_define)
flags.DEFINE_float("pose_weight", 1.0, "Weight of the pose loss, lambda_F (Eq. 4).", **_define)
flags.DEFINE_string(
    "perceptual_weights",
    "imagenet",
    "Weights of the feature loss: imagenet (downloaded), a .safetensors or .h5 file, random, or none.",
    **_define,
)
flags.DEFINE_float("foreground_weight", 6.0, "Pixel weight where target and background differ.", **_define)
flags.DEFINE_float("foreground_threshold", 0.04, "Difference, of 0..1, that counts as foreground.", **_define)
# --- data
flags.DEFINE_float("min_time_gap", 1.0, "Seconds between t and t'.", **_define)
flags.DEFINE_float("same_view_share", 0.3, "Share of triplets with i = j.", **_define)
flags.DEFINE_float(
    "in_plane_degrees", 0.0, "In-plane rotations of unlabelled views, +-degrees (pretrain_aug).", **_define
)
flags.DEFINE_float("colour_strength", 0.0, "Random gains, shared by the views of a triplet.", **_define)
flags.DEFINE_float("label_in_plane_degrees", 0.0, "In-plane rotations of labelled crops, +-degrees.", **_define)
flags.DEFINE_float("label_colour_strength", 0.0, "Random gains of labelled crops.", **_define)
flags.DEFINE_list("scale_jitter", ["0.6", "1.25"], "Encoded crops: range of the side, log-uniform.", **_define)
flags.DEFINE_float("centre_jitter", 0.06, "Encoded crops: shift of the centre, +-share of the side.", **_define)
flags.DEFINE_bool("jitter_unlabelled", True, "Jitter scale and centre of unlabelled sources too.", **_define)
flags.DEFINE_bool("shuffle_rotation", False, "Control experiment: a wrong rotation for every triplet.", **_define)
# --- what is logged
flags.DEFINE_string("probe_fit", "S0..S6", "Subjects that fit the pose probe.", **_define)
flags.DEFINE_string("probe_test", "S7+S8", "Subjects that the pose probe is measured on.", **_define)
flags.DEFINE_integer(
    "probe_crops", 2000, "Crops that fit the probe of pre-training; half as many measure it. 0: none.", **_define
)
flags.DEFINE_integer("probe_every", 1, "Epochs between probes.", lower_bound=1, **_define)
flags.DEFINE_integer("pictures_every", 5, "Epochs between pictures.", lower_bound=1, **_define)
flags.mark_flags_as_required(["regime", "data_dir", "workdir"], flag_values=FLAGS)
