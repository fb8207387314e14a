"""Examples are judged by what they give: how long one takes says how fast, and how busy, the machine is."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "patient",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,  # 200 ms otherwise
    suppress_health_check=[HealthCheck.too_slow],  # a second for ten examples to be drawn
    print_blob=True,  # on another machine nothing else is left of what failed
)
settings.load_profile("patient")
