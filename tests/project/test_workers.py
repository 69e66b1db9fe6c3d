"""Worker processes: what Ctrl-C does to them while they start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = """
import signal, sys, time
if __name__ == "__mp_main__":  # a worker, which imports what its parent is
    print("starting", flush=True)
    time.sleep(0.5)
    print("started", flush=True)

def double(x):
    return 2 * x

if __name__ == "__main__":
    from hmeg.workers import WorkerPool
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have left it ignored
    try:
        with WorkerPool(2) as pool:
            results = [pool.submit(double, x) for x in (1, 2)]
            time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", [result.result() for result in results], flush=True)
"""


def test_ctrl_c_while_workers_start_is_the_parents_affair(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "starting\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output, errors = process.communicate(timeout=30)
    assert errors == ""
    assert output.splitlines()[-1] == "interrupted [2, 4]"
    assert process.returncode == 0
