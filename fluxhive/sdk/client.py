"""The Python SDK's door: a client that submits commands and functions, and gives tasks to hold.

::

    client = fluxhive.Client()
    task = client.submit("python train.py --lr 1e-3", gpus=1, gpu_mem="20G")
    task.wait()
    losses = client.map(train, [1e-3, 1e-4], gpus=1).results()

Options are the flags of ``fluxhive submit`` (options.py). Every trouble is a ``FluxhiveError``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from msgspec.structs import replace

from fluxhive.core.array import MEMBERS_MAX, ArraySpec
from fluxhive.core.errors import InputError
from fluxhive.core.task import ExecutorKind, TaskSpec, TaskState
from fluxhive.core.values import Value
from fluxhive.protocol.rest import GpuView, NodeView, TaskView
from fluxhive.protocol.why import OutlookView
from fluxhive.transport import Transport

from .calls import Calls
from .groups import Group
from .options import Options, check_names, spec_of, words_of_python
from .program import Program, program
from .task_handle import R, Task
from .watching import watcher_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .functions import Call


class NodeGpu(Value, frozen=True, kw_only=True):
    """One GPU of the hive and the node that it is in."""

    node: str
    gpu: GpuView


class Client:
    """One server, as one user. May be used from several threads."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Without arguments: the server and the token of the configuration, as the command line."""
        #: One method for each call of the REST API, in its own words.
        self.calls = Calls(url, token=token, transport=transport)

    @property
    def url(self) -> str:
        """Address of the server."""
        return self.calls.url

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    def close(self) -> None:
        """Frees the connections."""
        self.calls.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── submitting ───────────────────────────────────────────────────────────────────────────

    @overload
    def submit(
        self,
        what: Callable[..., R],
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        modules: Sequence[ModuleType] = (),
        **options: Unpack[Options],
    ) -> Task[R]: ...
    @overload
    def submit(
        self, what: str | Sequence[str] | TaskSpec, /, *args: object, **options: Unpack[Options]
    ) -> Task[TaskView]: ...
    def submit(
        self,
        what: str | Sequence[str] | TaskSpec | Callable[..., Any],
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        modules: Sequence[ModuleType] = (),
        **options: Unpack[Options],
    ) -> Task[Any]:
        """Hands a task in; when this returns it is stored.

        One text is a line for the shell; several (or a list) are a program and its arguments. Of a
        function, ``args`` and ``kwargs`` are its arguments, and ``Task.result`` gives what it
        returns; ``modules`` are sent along with it, besides those that lie beside your program.
        A ``TaskSpec`` is taken as it is. With ``array`` the task is many: ``task[0]`` is one.
        """
        hold = options.get("hold", False)
        if isinstance(what, TaskSpec):
            check_names(options)
            return self._submit(what, hold=hold)
        if callable(what):
            from .functions import Call

            call = Call(args, dict(kwargs or {}))
            return self._submit(self._function(what, [call], modules, options), hold=hold)
        return self._submit(self._command(_words(what, args), options), hold=hold)

    def map(
        self,
        function: Callable[..., R],
        /,
        *iterables: Iterable[Any],
        modules: Sequence[ModuleType] = (),
        **options: Unpack[Options],
    ) -> Group[R]:
        """Calls the function with each of these arguments, as ``map`` does: one array of tasks.

        ``at_most`` says how many of them run at once.
        """
        from .functions import Call

        calls = [Call(args) for args in zip(*iterables, strict=False)]
        if not 1 <= len(calls) <= MEMBERS_MAX:
            raise InputError(
                f"a map has 1 to {MEMBERS_MAX} calls: {len(calls)}",
                field="iterables",
                value=len(calls),
                hint="give it something to call with" if not calls else "split it",
            )
        if options.get("array") is not None:
            raise InputError(
                "a map is an array already", field="array", hint="leave `array` out of it"
            )
        plain: Options = {**options}
        at_most = plain.pop("at_most", None)
        spec = self._function(function, calls, modules, plain)
        spec = replace(spec, array=ArraySpec(count=len(calls), at_most=at_most))
        since = watcher_of(self.calls).begin()
        whole = self._submit(spec, hold=options.get("hold", False))
        return Group(self.calls, whole, len(calls), since=since)

    def dry_run(
        self, what: str | Sequence[str] | TaskSpec, /, *args: str, **options: Unpack[Options]
    ) -> OutlookView:
        """Where and when a command would run if it were submitted now; nothing is submitted."""
        if isinstance(what, TaskSpec):
            return self.calls.dry_run(what)
        words = _words(what, args)
        plain: Options = {**options}
        plain.pop("code", None)
        return self.calls.dry_run(self._spec(words, plain))

    def _submit(self, spec: TaskSpec, *, hold: bool) -> Task[Any]:
        view = self.calls.submit(spec, hold=hold)
        return Task(self.calls, view.id, view, is_trusted=True)

    def _command(self, words: tuple[str, ...], options: Options) -> TaskSpec:
        spec, code = self._spec(words, options), options.get("code")
        if code is None:
            return spec
        with words_of_python():
            return replace(spec, code=self.calls.upload_code(code))

    def _spec(self, words: tuple[str, ...], options: Options) -> TaskSpec:
        check_names(options)
        with words_of_python():
            starts = program(
                words,
                is_shell=options.get("shell", False),
                python=options.get("python"),
                is_torchrun=options.get("torchrun", False),
            )
        return spec_of(starts, options)

    def _function(
        self,
        function: Callable[..., Any],
        calls: list[Call],
        modules: Sequence[ModuleType],
        options: Options,
    ) -> TaskSpec:
        from .functions import PROGRAM, name_of, pack_calls, shown_words
        from .upload import upload

        check_names(options)
        _check_function(options)
        name = name_of(function)
        words = shown_words(name, calls[0]) if len(calls) == 1 else (name,)
        kind = ExecutorKind.TORCHRUN if options.get("torchrun") else ExecutorKind.PYTHON
        python = options.get("python") or sys.executable
        starts = Program(command=(PROGRAM, *words), executor=kind, python=python)
        plain: Options = {**options}
        code, workdir = plain.pop("code", None), plain.pop("workdir", None)
        spec = replace(spec_of(starts, plain), function=name, workdir=None)
        with words_of_python():
            archive = pack_calls(function, calls, code=code, workdir=workdir, modules=modules)
        with archive.file as file:
            upload(self.calls.transport, file, archive.code.sha256, archive.code.n_bytes)
        return replace(spec, code=archive.code)

    # ── looking ──────────────────────────────────────────────────────────────────────────────

    def task(self, task_id: str) -> Task[Any]:
        """A task by its id, a unique beginning of that, or its name. Raises ``NotFound``."""
        view = self.calls.task(task_id)
        return Task(self.calls, view.id, view)

    def tasks(
        self,
        *,
        state: str | TaskState | None = None,
        owner: str | None = None,
        name: str | None = None,
        array: str | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
    ) -> Iterator[Task[Any]]:
        """Tasks, newest first; an array counts as one, and ``array`` gives its members."""
        found = self.calls.tasks(
            state=_state(state),
            owner=owner,
            name=name,
            array=array,
            since_ms=since_ms,
            limit=limit,
        )
        for view in found:
            yield Task(self.calls, view.id, view)

    def nodes(self) -> tuple[NodeView, ...]:
        """All nodes with their GPUs."""
        return self.calls.nodes()

    def gpus(self) -> tuple[NodeGpu, ...]:
        """All GPUs, each with its last reading and who holds it."""
        return tuple(
            [NodeGpu(node=node.label, gpu=gpu) for node in self.nodes() for gpu in node.gpus]
        )


def _words(what: object, args: Iterable[object]) -> tuple[str, ...]:
    """A command's words. Raises ``InputError`` for what is none."""
    if not isinstance(what, (str, Sequence)):
        raise InputError(
            f"neither a command nor a function: {what!r:.80}",
            field="what",
            value=what,
            hint="give a line for the shell, a list of words, or a function: "
            "client.submit('python', 'train.py')",
        )
    words = (what, *args) if isinstance(what, str) else (*what, *args)
    return tuple(str(word) for word in words)


def _check_function(options: Options) -> None:
    for name, why in (
        ("shell", "a function is not a line for the shell"),
        ("array", "many calls of a function are a `map`"),
        ("image", "functions do not run in containers yet: their result could not come out"),
    ):
        if options.get(name):
            raise InputError(why, field=name, hint=f"leave `{name}` out of it")


def _state(given: str | TaskState | None) -> TaskState | None:
    if given is None or isinstance(given, TaskState):
        return given
    known = [each.value for each in TaskState]
    if given not in known:
        raise InputError(
            f"`state` is not one of {', '.join(known)}: `{given}`", field="state", value=given
        )
    return TaskState(given)
