"""How much memory there is for us, and how much of it processes use."""

import subprocess
import sys

import pytest

from pipeline.machine import group_limits, machine_bytes, tree_bytes

HOLDS = "import subprocess, sys; held = bytearray(b'x') * (int(sys.argv[1]) * 2**20); {}; print('up', flush=True); sys.stdin.read()"
BELOW = "subprocess.Popen([sys.executable, '-c', sys.argv[2], '50'], stdout=subprocess.PIPE).stdout.readline()"


@pytest.mark.parametrize(
    ("line", "name", "limits"),
    [
        ("0::/system.slice/cubecast.service", "memory.max", [300, 200, 900]),
        ("4:memory,other:/system.slice/cubecast.service", "memory.limit_in_bytes", [300, 200, 900]),
        ("4:cpu:/system.slice/cubecast.service", "memory.max", []),
    ],
)
def test_every_control_group_around_us_counts_in_both_versions(tmp_path, line, name, limits):
    top = tmp_path / "memory" if "memory" in line else tmp_path
    deepest = top / "system.slice" / "cubecast.service"
    deepest.mkdir(parents=True)
    for folder, limit in zip([deepest, deepest.parent, top], ("300", "200", "900"), strict=True):
        (folder / name).write_text(limit)
    (tmp_path / "groups").write_text(f"7:pids:/elsewhere\n{line}\n")
    assert list(group_limits(tmp_path / "groups", tmp_path)) == limits


def test_a_group_without_a_limit_or_without_a_file_sets_none(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "groups").write_text("0::/of/somewhere/else\n")
    assert list(group_limits(tmp_path / "groups", tmp_path)) == []
    assert list(group_limits(tmp_path / "none", tmp_path)) == []
    assert machine_bytes() > 2**28


def test_memory_of_a_process_is_its_own_and_that_of_all_below_it():
    words = [sys.executable, "-c", HOLDS.format(BELOW), "100", HOLDS.format("pass")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        used = tree_bytes(process.pid) / 2**20
        process.kill()
    assert 150 < used < 250
    assert tree_bytes(process.pid) == 0, "it has ended"
