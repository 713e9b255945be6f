import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_core.machine import allowed_cores, host_bytes

ROOT = Path(__file__).parents[2]
GIB = 2**30
HERE = len(os.sched_getaffinity(0))
SYS = "31 23 0:28 / {mount} rw,relatime - {kind} {kind} rw{options}"


@pytest.fixture
def process(tmp_path):
    """Make the folder in /proc of a process in a control group, and the quotas of the groups."""

    def make(kind, group, quotas, *, root="/", controllers="cpu,cpuacct"):
        proc, mount = tmp_path / "proc", tmp_path / "with a blank"
        proc.mkdir()
        numbered = "0::" if kind == "cgroup2" else f"4:{controllers}:"
        (proc / "cgroup").write_text(f"9:name=systemd:/\n{numbered}{group}\n")
        options = "" if kind == "cgroup2" else f",{controllers}"
        place = str(mount).replace(" ", "\\040")
        described = SYS.format(mount=place, kind=kind, options=options)
        (proc / "mountinfo").write_text(described.replace(" / ", f" {root} ", 1) + "\n")
        for name, quota in quotas.items():
            folder = mount / name
            folder.mkdir(parents=True, exist_ok=True)
            if kind == "cgroup2":
                (folder / "cpu.max").write_text(f"{quota} 100000\n")
            else:
                (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
                (folder / "cpu.cfs_period_us").write_text("100000\n")
        return proc

    return make


@pytest.fixture
def many_cores(monkeypatch):
    """Let this be a machine of 64 cores, all of them ours."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))


def test_the_affinity_of_the_process_counts():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from fer_core.machine import allowed_cores; print(allowed_cores())"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout.strip() == "1", done.stderr


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
@pytest.mark.parametrize(
    ("group", "quotas", "cores"),
    [
        ("/", {".": 300000}, 3),
        ("/batch/job", {"batch/job": 400000}, 4),
        ("/batch/job", {"batch": 200000, "batch/job": 400000}, 2),
        ("/batch/job", {"batch": 500000, "batch/job": -1}, 5),
        ("/batch/job", {"batch/other": 100000}, 64),
        ("/", {".": 150000}, 2),
        ("/", {".": 50000}, 1),
        ("/../../batch", {".": 700000}, 7),
    ],
)
def test_a_quota_of_the_own_group_or_of_one_above_it_counts(
    process, many_cores, kind, group, quotas, cores
):
    quotas = {k: "max" if kind == "cgroup2" and q < 0 else q for k, q in quotas.items()}

    assert allowed_cores({}, process(kind, group, quotas)) == cores


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_in_a_container_the_mount_may_show_its_own_group_only(process, many_cores, kind):
    proc = process(kind, "/docker/1234", {".": 600000}, root="/docker/1234")

    assert allowed_cores({}, proc) == 6


def test_a_group_of_another_controller_has_no_quota_of_time(process, many_cores):
    proc = process("cgroup", "/", {".": 100000}, controllers="cpuset")

    assert allowed_cores({}, proc) == 64


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "16"}, 4),
        ({"SLURM_CPUS_ON_NODE": "16"}, 16),
        ({"SLURM_CPUS_PER_TASK": "", "SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_ON_NODE": "128"}, 64),
        ({"SLURM_CPUS_ON_NODE": "0"}, 64),
        ({"SLURM_CPUS_ON_NODE": "many"}, 64),
        ({"OMP_NUM_THREADS": "1"}, 64),
    ],
)
def test_what_slurm_gives_counts_where_nothing_enforces_it(
    tmp_path, many_cores, environment, cores
):
    assert allowed_cores(environment, tmp_path) == cores


def test_a_machine_without_proc_allows_what_it_has(tmp_path):
    assert allowed_cores({}, tmp_path / "none") == HERE


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
@pytest.mark.parametrize(
    ("limits", "gib"),
    [
        ({"batch/job": 3 * GIB}, 3),
        ({"batch": 2 * GIB, "batch/job": 3 * GIB}, 2),
        ({"batch": 2 * GIB, "batch/job": 2**62}, 2),
        ({"batch/other": GIB}, None),
    ],
)
def test_the_smallest_limit_of_memory_counts(process, kind, limits, gib):
    proc = process(kind, "/batch/job", {}, controllers="memory")
    for name, most in limits.items():
        folder = proc.parent / "with a blank" / name
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "cgroup2":
            (folder / "memory.max").write_text("max\n" if most == 2**62 else f"{most}\n")
        else:
            (folder / "memory.limit_in_bytes").write_text(f"{most}\n")

    assert host_bytes({}, proc) == (host_bytes({}, proc / "none") if gib is None else gib * GIB)


def test_the_memory_that_slurm_gives_counts_where_nothing_enforces_it(tmp_path):
    assert host_bytes({"SLURM_MEM_PER_NODE": "2048"}, tmp_path) == 2 * GIB
    assert host_bytes({"SLURM_MEM_PER_NODE": "0"}, tmp_path) == host_bytes({}, tmp_path)


def test_nobody_asks_for_the_cores_of_the_machine_instead():
    product = [*(ROOT / "fer_core").rglob("*.py"), *(ROOT / "search").rglob("*.py")]

    asking = [p.name for p in product if "cpu_count(" in p.read_text()]

    assert asking == ["machine.py"]
