"""Outputs of real programs, and what each end is called: running out of memory, and what looks so.

The table is ``outputs/*.out``: a new form is added there, together with one that looks like it.
"""

from __future__ import annotations

import pytest

from fluxhive.core.judge import judge
from fluxhive.core.outcome import OutcomeKind
from fluxhive.core.signs import SIGN_CHARS, SIGNS_MAX
from tests.helpers.outputs import Output, outputs

OUTPUTS = outputs()
OUT_OF_MEMORY = {OutcomeKind.GPU_OOM.value, OutcomeKind.HOST_OOM.value}


@pytest.mark.parametrize("output", OUTPUTS, ids=[each.name for each in OUTPUTS])
def test_an_end_is_called_what_it_was(output: Output) -> None:
    said = output.said
    kind, _, blame = said["outcome"].partition(" ")
    outcome = judge(output.facts, reservation=output.reservation)
    assert outcome.kind.value == kind, outcome.detail
    assert outcome.detail.startswith(said.get("says", "")), outcome.detail
    if kind == OutcomeKind.GPU_OOM.value:
        assert outcome.oom is not None
        assert outcome.oom.blame.value == blame, outcome.detail
        assert outcome.oom.culprit == said.get("culprit")
        for name in ("requested", "used"):
            if name in said:
                assert getattr(outcome.oom, f"{name}_mib") == int(said[name]), name
    else:
        assert outcome.oom is None


def test_there_are_forty_of_each_and_each_has_its_source() -> None:
    kinds = [each.said["outcome"].partition(" ")[0] for each in OUTPUTS]
    n_memory = sum(kind in OUT_OF_MEMORY for kind in kinds)
    assert n_memory >= 40
    assert len(OUTPUTS) - n_memory >= 40
    assert all(each.said["source"].partition(" ")[0] in ("run", "shape") for each in OUTPUTS)


@pytest.mark.parametrize("output", OUTPUTS, ids=[each.name for each in OUTPUTS])
def test_without_a_gpu_nothing_is_a_gpus_doing(output: Output) -> None:
    outcome = judge(output.facts)
    assert outcome.kind not in (OutcomeKind.GPU_OOM, OutcomeKind.GPU_FAULT)


@pytest.mark.parametrize("output", OUTPUTS, ids=[each.name for each in OUTPUTS])
def test_what_is_kept_of_an_output_is_bounded(output: Output) -> None:
    signs = output.facts.signs
    assert len(signs) <= 2 * SIGNS_MAX
    assert all(len(sign.text) <= SIGN_CHARS for sign in signs)
