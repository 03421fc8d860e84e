"""Files of variables: what each way of quoting gives, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxhive.core.errors import InputError
from fluxhive.core.task import SecretForm
from fluxhive.sdk.environment import gather, gather_secrets


def read(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "vars.env"
    path.write_bytes(text.encode())
    return gather([], str(path))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=plain words", "plain words"),
        ("  export K = spaced  ", "spaced"),
        ("K=", ""),
        ("K=a=b", "a=b"),
        ("K=a#b", "a#b"),
        ("K=a # said", "a"),
        ("K=$HOME `id` \\n", "$HOME `id` \\n"),
        ("K='$HOME \\n \"x\"' # said", '$HOME \\n "x"'),
        ('K="a\\tb\\n\\"c\\" \\\\ $d \\$e"', 'a\tb\n"c" \\ $d $e'),
        ('K="# not said"', "# not said"),
        ('K="two\nlines"', "two\nlines"),
        ("K='-----BEGIN-----\nabc\n-----END-----'", "-----BEGIN-----\nabc\n-----END-----"),
        ("K=it's", "it's"),
        ('K=say "hi"', 'say "hi"'),
        ("K=caf\u00e9", "caf\u00e9"),
    ],
)  # fmt: skip
def test_a_value_is_what_its_quotes_say(tmp_path: Path, line: str, value: str) -> None:
    assert read(tmp_path, f"# first\n\n{line}\nNEXT=1\n") == {"K": value, "NEXT": "1"}


def test_line_ends_of_windows_and_a_byte_order_mark_are_no_part_of_it(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffA=1\r\nB='x'\r\n\r\n# end") == {"A": "1", "B": "x"}


def test_the_last_of_two_counts(tmp_path: Path) -> None:
    assert read(tmp_path, "A=1\nA=2") == {"A": "2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nnonsense\n", "line 2 of"),
        ("=1", "is not NAME=VALUE"),
        ("A='open\nB=2\n", "line 1 of"),
        ('A=1\nB="open', "never closed"),
        ("A='x' y\n", "goes on after the closing quote"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, text)
    assert caught.value.hint


def test_a_secret_is_a_variable_or_a_file() -> None:
    assert gather_secrets(["A", "B=file"]) == {"A": SecretForm.VARIABLE, "B": SecretForm.FILE}


@pytest.mark.parametrize("text", ["", "=x", "A=hunter2"])
def test_what_a_secret_holds_is_no_word_of_the_command(text: str) -> None:
    with pytest.raises(InputError) as caught:
        gather_secrets([text])
    assert "hunter2" not in caught.value.text
    assert caught.value.value is None
