"""Hides known start-up messages of TensorFlow and XLA, and nothing else.

They come from C++ on file descriptor 2, before any setting or environment variable counts. So descriptor 2 becomes a
pipe to a small process, which passes on every line but those on the list below. It is a process, not a thread, so that
the last words of a program that crashes still arrive. Python's own `sys.stderr` (errors, warnings, progress bars) goes
straight to the terminal, past the filter, so the two may arrive in another order than they were written in.
"""

import atexit
import contextlib
import os
import subprocess
import sys

# What precedes a message: severity, date, time, thread and the line of source that wrote it.
_PREFIX = r"[IWE]\d{4} [\d:.]+ +\d+ |\d{4}-\d\d-\d\d [\d:.]+: [IWE] "
# Each entry is the start of a message whose whole line is left out.
IGNORED = (
    r"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR",
    r"To enable the following instructions: ",
    r"INFO: Created TensorFlow Lite XNNPACK delegate for CPU\.",
    r"fully_quantize: \d+, inference_type: ",
    *(
        rf"(?:{_PREFIX}){message}"
        for message in (
            r"\S*cudart_stub\.cc:\d+\] Could not find cuda drivers on your machine",
            # 303: no driver at all. Any other error of a machine that has one is shown.
            r"\S*cuda_platform\.cc:\d+\] failed call to cuInit: .*UNKNOWN ERROR \(303\)",
            r"\S*port\.cc:\d+\] oneDNN custom operations are on",
            r"\S*cpu_feature_guard\.cc:\d+\] This TensorFlow binary is optimized",
            r"\S*util\.cc:\d+\] Cannot dlopen some GPU libraries",
            r"\S*gpu_device\.cc:\d+\] Cannot dlopen some GPU libraries",
            r"\S*service\.cc:\d+\] (?:XLA service \S+ initialized|  StreamExecutor )",
            r"\S*dump_mlir_util\.cc:\d+\] disabling MLIR crash reproducer",
            r"\S*device_compiler\.h:\d+\] Compiled cluster using XLA!",
            r"\S*dataset\.cc:\d+\] Input of GeneratorDatasetOp",
            r"\S*generator_dataset_op\.cc:\d+\] Memory patch applied",
            r"\S*tf_record_dataset_op\.cc:\d+\] The default buffer size is",
            r"\S*local_rendezvous\.cc:\d+\] Local rendezvous is aborting with status: OUT_OF_RANGE: End of sequence",
        )
    ),
)
_FILTER = """
import os, re, sys
ignored, pending = re.compile(sys.argv[1].encode()), b""
while data := os.read(0, 65536):
    *lines, pending = (pending + data).split(b"\\n")
    os.write(2, b"".join(line + b"\\n" for line in lines if not ignored.match(line)))
os.write(2, pending)
"""


def start() -> None:
    """Filters descriptor 2 of this process and of those that it starts, until it ends."""
    terminal = os.dup(2)
    reading, writing = os.pipe()
    # -S and -I: nothing is imported that the filter does not need, so that it starts in a few milliseconds.
    command = [sys.executable, "-S", "-I", "-c", _FILTER, "|".join(f"(?:{each})" for each in IGNORED)]
    # In a session of its own: Ctrl-C must not end it before it has passed on the last lines.
    process = subprocess.Popen(command, stdin=reading, stderr=terminal, start_new_session=True)
    os.close(reading)
    os.dup2(writing, 2)
    os.close(writing)
    sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    atexit.register(_finish, process, terminal)


def _finish(process, terminal):
    """Waits for the last lines, so that they do not come after the shell's prompt."""
    os.dup2(terminal, 2)  # closes our end of the pipe
    with contextlib.suppress(subprocess.TimeoutExpired):  # a process that we started lives on and may still write
        process.wait(timeout=1)
