"""Quotas as people set and see them: ``/quotas``."""

from __future__ import annotations

from fluxhive.core.quota import Quota, Use
from fluxhive.core.values import Value

from .rest import Body


class QuotaChange(Body, frozen=True, kw_only=True):
    """``PUT /quotas/{scope}/{name}``: all limits; what is absent is unlimited."""

    running_gpus: int | None = None
    running_tasks: int | None = None
    waiting_tasks: int | None = None
    #: GPU-hours from Monday to Monday (UTC).
    weekly_gpu_hours: int | None = None


class QuotaView(Value, frozen=True, kw_only=True):
    """A quota and what is used of it."""

    quota: Quota
    use: Use


class QuotaPage(Value, frozen=True, kw_only=True):
    """All quotas."""

    items: tuple[QuotaView, ...]
