"""Names and ids for containers that were not given one."""

from __future__ import annotations

import secrets
from collections.abc import Container as Holder

_ADJECTIVES = (
    "able amber brisk calm candid civil clever coastal crisp daring deft eager early fair fleet fresh "
    "gentle glad golden hardy honest humble ideal jolly keen kind lively lucid lunar mellow merry modest "
    "neat noble patient placid polite proud quick quiet ready rustic sailing salty sharp silent silver "
    "sober solid steady stern sunny swift tidal tidy trusty upbeat vivid warm wise witty zesty"
).split()
_NOUNS = (
    "anchor ballast barge beacon berth bollard bosun bow buoy cable canal capstan cargo clipper compass "
    "crane crate cutter davit deck derrick dinghy dock drydock ferry fender frigate galley gantry gull "
    "hatch haven hawser helm hold hull jetty keel ketch knot lantern lighter lock lugger mast mooring oar "
    "pallet pennant pier pilot pontoon port prow quay rigging rudder schooner sextant skiff slipway sloop "
    "spar stern tanker tide tiller trawler tug warehouse wharf winch yawl"
).split()


def new_id() -> str:
    """64 hexadecimal digits. The first twelve are never all decimal: they must not look like a number."""
    while True:
        candidate = secrets.token_hex(32)
        if not candidate[:12].isdecimal():
            return candidate


def random_name(taken: Holder[str]) -> str:
    """``brisk_harbour``-like; a number is added when chance has run into names in use."""
    for attempt in range(20):
        name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_NOUNS)}"
        if attempt > 4:
            name += str(secrets.randbelow(1000))
        if name not in taken:
            return name
    return f"container_{secrets.token_hex(6)}"
