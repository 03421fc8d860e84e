"""The log of podman's monitor, read as it grows."""

from __future__ import annotations

from pathlib import Path

from fluxhive.agent.container_output import ContainerLog

AT = b"2026-11-26T14:00:00.000000000+00:00 "


def test_each_byte_is_in_its_stream_whatever_the_monitor_cut(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    path.write_bytes(b"")
    log = ContainerLog(str(path))
    written = [b"", b""]

    def read() -> list[bytes]:
        for stream, data in log.read():
            written[stream] += data
        return written

    with path.open("ab", buffering=0) as file:
        # The last record is being written.
        file.write(AT + b"stdout F a line  of two\n" + AT + b"stdout P ha")
        assert read() == [b"a line  of two\n", b""]
        file.write(b"lf \n" + AT + b"stderr F \xff\r\n" + AT + b"stdout P half \n")
        file.write(AT + b"stdout F and whole\n" + AT + b"stdout F \n")
        assert read() == [b"a line  of two\nhalf half and whole\n\n", b"\xff\r\n"]
        # The monitor's own end of a last line that had none; unless something follows it.
        file.write(AT + b"stdout P the end\n" + AT + b"stdout F \n")
        assert read()[0].endswith(b"the end")
        file.write(AT + b"stdout F after\n")
        assert read()[0].endswith(b"the end\nafter\n")
    log.close()
