"""What a task in a container may ask for together with the rest of its spec."""

from __future__ import annotations

from .container import check_image, check_mounts
from .errors import InputError
from .spec import TaskSpec


def check_container(spec: TaskSpec) -> None:
    """Raises ``InputError`` for what no container can be given."""
    check_mounts(spec.mounts)
    if spec.image is None:
        if spec.mounts:
            raise InputError(
                "mounts: are for a task in a container, and no image is named",
                hint="name one with `--image`, or leave `--mount` out",
                field="mounts",
            )
        return
    check_image(spec.image)
    if spec.python is not None and not spec.python.startswith("/"):
        raise InputError(
            f"python: `{spec.python}` is not looked for inside an image",
            hint="give the path of the interpreter in the image, or leave it out for its `python3`",
            field="python",
            value=spec.python,
        )
    if spec.request.nodes > 1:
        raise InputError(
            "image: a task on several nodes cannot run in containers yet",
            hint="leave out `--image` or `--nodes`",
            field="image",
            value=spec.image,
        )
