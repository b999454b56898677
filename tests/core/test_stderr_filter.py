"""Start-up messages are left out; everything else that is written to descriptor 2 arrives, whatever happens."""

import os
import subprocess
import sys

import pytest

START = "import os, sys; from hand_tf.core import stderr_filter; stderr_filter.start(); "
NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795655756.145981    2177 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will"
    " not be used.",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate"
    " compiler flags.",
    "E0000 00:00:1795656163.987508    3665 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed"
    " call to cuInit: UNKNOWN ERROR (303)",
    "I0000 00:00:1795655862.442479    2668 service.cc:161]   StreamExecutor [0]: Host, Default Version",
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
    "fully_quantize: 0, inference_type: 6, input_inference_type: FLOAT32, output_inference_type: FLOAT32",
)
ERRORS = (
    "E0000 00:00:1795656163.987508    3665 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_NO_DEVICE (100)",
    "E0000 00:00:1795656163.987508    3665 some_file.cc:1] Could not find cuda drivers on your machine",
    "F0000 00:00:1795656163.987508    3665 dataset.cc:997] Input of GeneratorDatasetOp",
    "terminate called after throwing an instance of 'std::bad_alloc'",
)


def stderr_of(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


def test_the_list_is_left_out_and_errors_are_kept():
    text = "\n".join([NOISE[0], *ERRORS[:2], *NOISE[1:], *ERRORS[2:]]) + "\n"
    assert stderr_of(f"{START} os.write(2, {text.encode()!r})") == (0, list(ERRORS))


def test_pythons_own_messages_and_unfinished_lines_arrive():
    code = f"{START} print('warning: half', file=sys.stderr); os.write(2, b'no end of line')"
    assert sorted(stderr_of(code)[1]) == ["no end of line", "warning: half"]


def test_the_last_words_of_a_program_that_crashes_arrive():
    status, lines = stderr_of(f"{START} os.write(2, b'{ERRORS[3].replace(chr(39), '')}\\n'); os.abort()")
    assert status != 0 and lines == [ERRORS[3].replace("'", "")]


def test_an_exception_arrives_as_ever():
    status, lines = stderr_of(f"{START} raise RuntimeError('really')")
    assert status == 1 and lines[-1] == "RuntimeError: really"


def test_a_failing_start_of_tensorflow_shows_why(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        f"import os; os.write(2, {NOISE[1].encode()!r} + b'\\n' + {ERRORS[0].encode()!r} + b'\\n')\n"
        "raise ImportError('libtensorflow_framework.so.2: cannot open shared object file')\n"
    )
    code = f"import sys; sys.path.insert(0, {os.fspath(tmp_path)!r}); {START} import tensorflow"
    status, lines = stderr_of(code)
    assert status == 1 and ERRORS[0] in lines and NOISE[1] not in lines
    assert "ImportError: libtensorflow_framework.so.2: cannot open shared object file" in lines


@pytest.mark.parametrize("verbose", [False, True])
def test_commands_filter_unless_they_are_told_not_to(verbose, tmp_path):
    arguments = ["train", "--regime=pretrain", f"--data_dir={tmp_path}", "--workdir=x", *["--verbose"] * verbose]
    code = (
        f"import sys; from hand_tf.core import entry_point; sys.argv = ['hand-tf', *{arguments!r}]; entry_point.main()"
    )
    status, lines = stderr_of(code)
    assert status == 1 and lines[-1].startswith(f"error: {tmp_path}") and (len(lines) > 1) == verbose
