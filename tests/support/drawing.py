"""Hypothesis on a shared machine: no deadline for one example, no complaint that drawing was slow."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
