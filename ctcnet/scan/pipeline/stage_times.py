"""Seconds spent in each stage of a scan, added up over threads."""

from __future__ import annotations

from threading import Lock


class StageTimes:
    """Adds up seconds by the name of the stage; safe to share between threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = Lock()

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def to_dict(self) -> dict[str, float]:
        """Seconds by stage, rounded to milliseconds."""
        return {name: round(seconds, 3) for name, seconds in sorted(self._seconds.items())}
