"""The calls of every repository, by area; each module has ``OFFERS``."""

from __future__ import annotations

from ..steps import Offer
from . import decisions, knowledge, people, runs, settings, versions, work

__all__ = ["OFFERS"]

AREAS = (work, runs, people, settings, decisions, versions, knowledge)
OFFERS: dict[str, Offer] = {offer.name: offer for area in AREAS for offer in area.OFFERS}
