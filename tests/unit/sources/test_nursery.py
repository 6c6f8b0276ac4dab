"""Each file is decoded in a process of its own, and what happens to one happens to no other."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.sources import grib_decoder, nursery

pytest.importorskip("eccodes")
REQUEST = {"file": "made.grib2", "columns": ["t"], "area": None}


def made() -> bytes:
    import eccodes

    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    return bytes(eccodes.codes_get_message(handle))


def test_files_are_decoded_one_after_the_other_by_one_nursery() -> None:
    assert [nursery.decode_apart(REQUEST, made(), 30.0).returncode for _ in range(2)] == [0, 0]
    assert len(nursery._OURS) == 1


def test_a_nursery_that_was_killed_is_begun_again() -> None:
    nursery.decode_apart(REQUEST, made(), 30.0)
    process = nursery._OURS[os.getpid()]._process
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert nursery.decode_apart(REQUEST, made(), 30.0).returncode == 0


def test_what_takes_too_long_is_ended_and_the_next_file_is_decoded() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        nursery.decode_apart(REQUEST, made() * 5000, 0.05)
    assert nursery.decode_apart(REQUEST, made(), 30.0).returncode == 0


def test_a_fault_is_told_with_its_exit_status() -> None:
    done = nursery.decode_apart(REQUEST, b"nothing of the kind", 30.0)
    assert (done.returncode, b"no GRIB message" in done.stdout) == (65, True)


def test_a_decoder_that_dies_is_told_by_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    receive, killed = nursery._outcome, []

    def outcome(told: object, limit: float) -> int:
        class Told:
            def settimeout(self, seconds: float) -> None:
                told.settimeout(seconds)  # type: ignore[attr-defined]

            def recv(self, size: int) -> bytes:
                found: bytes = told.recv(size)  # type: ignore[attr-defined]
                if not killed:
                    killed.append(nursery.NUMBER.unpack(found)[0])
                    os.kill(killed[0], signal.SIGKILL)
                return found

        return receive(Told(), limit)  # type: ignore[arg-type]

    monkeypatch.setattr(nursery, "_outcome", outcome)
    assert nursery.decode_apart(REQUEST, made() * 2000, 30.0).returncode == -signal.SIGKILL


@pytest.mark.parametrize("edition", [1, 2])
def test_the_tables_of_a_centre_are_read_once_for_all_files(edition: int, tmp_path: Path) -> None:
    import eccodes

    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
    eccodes.codes_set(handle, "centre", 161)
    file = tmp_path / "made"
    file.write_bytes(eccodes.codes_get_message(handle))
    known: set[grib_decoder.Origin] = set()
    with file.open("rb") as given:
        for _ in range(2):
            grib_decoder._acquaint(given.fileno(), known)
    assert [dict(origin)["centre"] for origin in known] == [161]


@pytest.mark.parametrize("edition", [1, 2])
def test_a_file_that_names_what_no_one_knows_stops_no_nursery(edition: int) -> None:
    odd = b"GRIB\xff\xff\xff" + bytes([edition]) + b"\xff" * 60
    assert nursery.decode_apart(REQUEST, odd, 30.0).returncode == 65
    assert nursery.decode_apart(REQUEST, made(), 30.0).returncode == 0
