"""A finding: one thing wrong, or worth a look, in the crops handed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctcnet.errors import CtcnetError


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        code: short name of the kind of problem, such as 'unreadable_image'.
        error: what is wrong, where, and what to do.
        severity: 'error' where training would fail or go wrong, else 'warning'.
    """

    code: str
    error: CtcnetError
    severity: str = "error"

    def to_dict(self) -> dict[str, str | None]:
        """Plain data: severity, code, where, message, expected, found, fix."""
        error = self.error
        return {
            "severity": self.severity,
            "code": self.code,
            "where": error.where,
            "message": error.what,
            "expected": error.expected,
            "found": error.found,
            "fix": error.fix,
        }


def raise_first_error(findings: Sequence[Finding]) -> None:
    """Raise the first error among `findings`, saying how many more there are; warnings pass."""
    errors = [finding.error for finding in findings if finding.severity == "error"]
    if not errors:
        return
    first = errors[0]
    if len(errors) > 1:
        more = f"{first.fix or 'mend it'}; 'ctcnet check' lists this and the {len(errors) - 1} other problem(s)"
        raise type(first)(first.what, where=first.where, expected=first.expected, found=first.found, fix=more)
    raise first
