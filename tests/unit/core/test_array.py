"""Arrays as their authors write them: products, zips, ranges, and what is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fluxhive.core.array import ArraySpec, SweepVariable, check_array, split_member
from fluxhive.core.arrays import fill
from fluxhive.core.errors import InputError

LR = SweepVariable(name="lr", values=("1e-3", "1e-4"))
SEED = SweepVariable(name="seed", first=0, last=2)


def test_variables_go_each_with_each_the_last_fastest() -> None:
    array = check_array(ArraySpec(variables=(LR, SEED)))
    assert array.count == 6
    assert [tuple(array.values_of(index).values()) for index in range(6)] == [
        ("1e-3", "0"),
        ("1e-3", "1"),
        ("1e-3", "2"),
        ("1e-4", "0"),
        ("1e-4", "1"),
        ("1e-4", "2"),
    ]


def test_zipped_variables_go_side_by_side() -> None:
    array = check_array(ArraySpec(variables=(LR, replace(SEED, last=1)), zip=True))
    assert [array.values_of(index) for index in range(array.count)] == [
        {"lr": "1e-3", "seed": "0"},
        {"lr": "1e-4", "seed": "1"},
    ]


@pytest.mark.parametrize(
    ("array", "field"),
    [
        (ArraySpec(), "array.count"),
        (ArraySpec(count=100_001), "array.count"),
        (ArraySpec(count=-1), "array.count"),
        (ArraySpec(count=3, variables=(LR,)), "array.count"),
        (ArraySpec(first=-1, count=1), "array.first"),
        (ArraySpec(count=2, at_most=0), "array.at_most"),
        (ArraySpec(variables=(LR, SEED), zip=True), "array.zip"),
        (ArraySpec(variables=(LR, LR)), "array.variables"),
        (ArraySpec(variables=(replace(LR, name="FLUXHIVE_X"),)), "array.variables[0].name"),
        (ArraySpec(variables=(replace(LR, name="a-b"),)), "array.variables[0].name"),
        (ArraySpec(variables=(replace(LR, values=()),)), "array.variables[0].values"),
        (ArraySpec(variables=(replace(SEED, last=None),)), "array.variables[0].values"),
        (ArraySpec(variables=(replace(SEED, values=("1",)),)), "array.variables[0].values"),
        (ArraySpec(variables=(replace(SEED, last=-5),)), "array.variables[0].values"),
        (ArraySpec(variables=(replace(LR, values=("a\x00",)),)), "array.variables[0].values"),
        (ArraySpec(variables=(replace(LR, values=("x" * 300_000,)),)), "array.variables"),
        (ArraySpec(variables=(replace(SEED, last=99_999), LR)), "array.count"),
    ],
)
def test_what_cannot_be_an_array_is_refused_with_its_field(array: ArraySpec, field: str) -> None:
    with pytest.raises(InputError) as caught:
        check_array(array)
    assert caught.value.field == field
    assert caught.value.hint


def test_only_known_names_in_braces_are_filled_in() -> None:
    values = {"lr": "1e-3", "index": "7"}
    assert fill("--lr {lr} --n={index} {other} {{lr}} ${lr} {", values) == (
        "--lr 1e-3 --n=7 {other} {1e-3} $1e-3 {"
    )


def test_the_name_of_a_member_is_taken_apart() -> None:
    assert split_member("t-7f3k[5]") == ("t-7f3k", 5)
    assert split_member("my sweep[12]") == ("my sweep", 12)
    assert split_member("t-7f3k") is None
    assert split_member("t-7f3k[x]") is None
