"""The program of a task that calls a function: beside what it calls, a copy of this file is sent.

Standard library only, and readable by any Python from 3.6 on, so that a wrong one can say so
itself. Beside it lies ``call``: a line of JSON, then the pickled function and its arguments
(functions.py). What comes back stands in ``$FLUXHIVE_RESULT``: a line of JSON and a pickle.
"""

import hashlib
import json
import os
import sys
import traceback
from typing import Any

#: Larger results belong where the nodes can write and the reader can read.
RESULT_BYTES_MAX = 64 * 1024 * 1024
#: Of a traceback, from its end.
TRACE_CHARS_MAX = 65536


def main() -> int:
    """Calls it; the exit code of the task."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "call"), "rb") as file:
        header = json.loads(file.readline().decode("utf-8"))
        start = file.tell()
        problem = _wrong_python(header)
        if problem:
            return _give("wrong-python", problem)
        index = int(os.environ.get("FLUXHIVE_ARRAY_INDEX", "0"))
        parts = []
        for offset, length in (header["function"], header["calls"][index]):
            file.seek(start + offset)
            parts.append(file.read(length))
    problem = _enter(header, here)
    if problem:
        return _give("wrong-place", problem)
    try:
        import cloudpickle

        function, (args, kwargs) = [cloudpickle.loads(part) for part in parts]
    except BaseException as error:
        return _not_loaded(error, header)
    return _call(function, args, kwargs)


def _call(function: Any, args: Any, kwargs: Any) -> int:
    import cloudpickle

    try:
        value = function(*args, **kwargs)
        if hasattr(value, "__await__") and hasattr(value, "cr_code"):
            import asyncio

            value = asyncio.run(value)
    except SystemExit as error:
        if error.code in (None, 0):
            return _give("value", data=cloudpickle.dumps(None))
        _raised(error)
        return error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        return _raised(error)
    try:
        data = cloudpickle.dumps(value)
    except BaseException as error:
        kind = type(value).__name__
        return _give("unpicklable", f"its result of type `{kind}` cannot be pickled: {error}")
    if len(data) > RESULT_BYTES_MAX:
        most = RESULT_BYTES_MAX >> 20
        text = f"its result has {len(data) >> 20} MiB pickled, and at most {most} are taken"
        return _give("too-large", text)
    return _give("value", data=data)


def _wrong_python(header: Any) -> str:
    """Pickled code is that of one minor version of one implementation."""
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    theirs = ".".join(header["python"].split(".")[:2])
    name = sys.implementation.name
    if ours != theirs or name != header["implementation"]:
        made_by = f"{header['implementation']} {theirs}"
        return f"it was pickled by {made_by}, and {sys.executable} on this node is {name} {ours}"
    made_by = header["cloudpickle"]
    try:
        import cloudpickle
    except ImportError:
        return f"{sys.executable} on this node has no cloudpickle: install {made_by} of it there"
    here = cloudpickle.__version__
    if here.split(".")[0] != made_by.split(".")[0]:
        return (
            f"it was pickled by cloudpickle {made_by}, and {sys.executable} on this node has {here}"
        )
    return ""


def _enter(header: Any, here: str) -> str:
    """Directory and module path of the program that submitted it, as far as they are here."""
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    code_dir = os.path.dirname(here)
    ahead = [os.path.normpath(os.path.join(code_dir, path)) for path in header["paths"]]
    if header["has_code"]:
        sys.path[:0] = ahead
    where = header["workdir"]
    if where:
        if not os.path.isdir(where):
            return f"working directory {where} does not exist on this node"
        os.chdir(where)
    elif not header["has_code"] and os.path.isdir(header["cwd"]):
        os.chdir(header["cwd"])
    if not header["has_code"]:
        sys.path[len(sys.path) :] = [path for path in header["paths"] if os.path.isdir(path)]
    return ""


def _not_loaded(error: BaseException, header: Any) -> int:
    text = f"{header['name']} cannot be unpickled here: {type(error).__name__}: {error}"
    return _give("not-loaded", text, trace=traceback.format_exc()[-TRACE_CHARS_MAX:])


def _raised(error: BaseException) -> int:
    import cloudpickle

    inner = error.__traceback__.tb_next if error.__traceback__ else None
    trace = "".join(traceback.format_exception(type(error), error, inner))[-TRACE_CHARS_MAX:]
    try:
        data = cloudpickle.dumps(error.with_traceback(None))
        cloudpickle.loads(data)  # many an exception is pickled and never read again
        if len(data) > RESULT_BYTES_MAX:
            data = b""
    except BaseException:
        data = b""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _give("exception", text, data=data, trace=trace)


def _give(kind: str, text: str = "", *, data: bytes = b"", trace: str = "") -> int:
    """Writes the result; 0 for a value, else 1, said on stderr, too."""
    if kind != "value":
        sys.stderr.write(trace or text + "\n")
        sys.stderr.flush()
    header = {
        "format": 1,
        "kind": kind,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "text": text[:TRACE_CHARS_MAX],
        "trace": trace,
        "n_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    path = os.environ.get("FLUXHIVE_RESULT", "")
    # Of several processes, such as torchrun's, the first one speaks for all.
    if path and os.environ.get("RANK", "0") == "0":
        try:
            with open(path, "wb") as file:
                file.write(json.dumps(header).encode("utf-8") + b"\n" + data)
        except OSError as error:
            sys.stderr.write(f"the result cannot be written to {path}: {error.strerror}\n")
            return 1
    return 0 if kind == "value" else 1


if __name__ == "__main__":
    sys.exit(main())
