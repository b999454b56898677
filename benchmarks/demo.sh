#!/bin/sh
# The whole path on the synthetic dome, from a camera dump to a report and an exported estimator. `make demo` runs it.
#     sh benchmarks/demo.sh FOLDER
# Finished steps are kept, so running it again continues. $PYTHON may name the interpreter.
set -eu
OUT=${1:?usage: demo.sh FOLDER}
PYTHON=${PYTHON:-python}
HERE=$(dirname "$0")
say() { printf '\n--- %s\n' "$*"; }

say "1/6 The dome: 11 people, 8 cameras, 1320 instants, written as a camera dump"
$PYTHON -m tfrecords_tools.dome --output="$OUT/dump" --frames=120 --fps=3 --image_size=192

say "2/6 From the dump to records: virtual-camera crops of 64 px and empty backgrounds"
$PYTHON -m tfrecords_tools.build --input="$OUT/dump" --output="$OUT/records" --crop_size=64 --fps=3
$PYTHON -m tfrecords_tools.inspect "$OUT/records" --output="$OUT/records.png"

say "3/6 Pre-training on novel views without labels, then few and more labels, tested on unseen people"
$PYTHON -m hand_tf.study --data_dir="$OUT/records" --output="$OUT/runs" --sizes=demo --noreport --grid="
    pretrain_aug;
    S0:64 = supervised, pose_head, multi_view_teacher;
    S0..S4:640 = supervised, pose_head, multi_view_teacher"

say "4/6 Export of the estimator that learned from 64 labels and all views as a SavedModel"
$PYTHON -m hand_tf.export --overwrite --run="$OUT/runs/multi_view_teacher-S0_64-seed0" --output="$OUT/model"

say "5/6 Prediction on pictures of people that nothing was trained on"
$PYTHON "$HERE/dome_boxes.py" --dump="$OUT/dump/dome_pose3" --output="$OUT/boxes.csv"
$PYTHON -m hand_tf.predict --model="$OUT/model" --boxes="$OUT/boxes.csv" --output="$OUT/predictions" --overwrite

say "6/6 Results"
$PYTHON -m hand_tf.report --runs="$OUT/runs" --data_dir="$OUT/records" --output="$OUT/report"
