"""What a task of which nothing is known reserves of a GPU: by its author's others, else a part."""

from __future__ import annotations

from fluxhive.core.learning import Basis, Learned, Peak
from fluxhive.core.memory import estimate
from fluxhive.core.policy import HIVE
from fluxhive.core.request import Estimate, EstimateSource
from tests.helpers import factories

GIB = 1024


def author_of_peaks(*gib: int) -> Basis:
    peaks = tuple(Peak(channel=at, peak_mib=each * GIB) for at, each in enumerate(gib))
    return Basis(author=Learned(key="ann|ann", peaks=peaks))


def reserved(basis: Basis, declared: str | None = None) -> Estimate:
    request = factories.request(gpus=1, gpu_memory=declared)
    found = estimate(request, basis, HIVE, gpu_mib=80 * GIB)
    assert found is not None
    return found


def test_it_is_given_what_seventeen_of_twenty_of_its_authors_took_and_a_margin() -> None:
    found = reserved(author_of_peaks(*range(20, 0, -1)))
    assert found.source is EstimateSource.AUTHOR
    # The 85th percentile is 18 GiB; a fifth and one GiB on top.
    assert found.reserved_mib == 23_168


def test_a_declaration_is_its_cap_and_not_its_floor() -> None:
    small = reserved(author_of_peaks(*range(1, 21)), "10G")
    assert (small.source, small.reserved_mib) == (EstimateSource.DECLARED, 10 * GIB)
    large = reserved(author_of_peaks(*range(1, 21)), "60G")
    assert (large.source, large.reserved_mib) == (EstimateSource.AUTHOR, 26_368)


def test_few_runs_of_an_author_say_nothing() -> None:
    found = reserved(author_of_peaks(1, 1, 1, 1))
    assert (found.source, found.reserved_mib) == (EstimateSource.GUESS, 40 * GIB)
