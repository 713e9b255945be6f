import subprocess
import sys


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.touch()

    done = subprocess.run(
        [sys.executable, "-m", "fer_core.synthetic", "--out", str(file / "faces")],
        capture_output=True,
        text=True,
        check=False,
    )

    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {file / 'faces'} cannot be written: ")
    assert (done.returncode, done.stdout) == (2, "")
