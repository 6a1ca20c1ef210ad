"""A run's report, for people."""

import json
from typing import Any

from tests.chaos.checker.verdict import KINDS


def shown(report: dict[str, Any]) -> str:
    """Write what was done, what was measured, and what is wrong, with examples."""
    lines = ["", f"run        {report['run']}", *measured(report["measures"])]
    if not report["violations"]:
        return "\n".join([*lines, f"violations none, of {len(KINDS)} kinds"])
    total = sum(one["count"] for one in report["violations"].values())
    lines += ["", f"violations {total}, of {len(report['violations'])} kinds:"]
    for kind, one in report["violations"].items():
        lines.append(f"  {one['count']:6} {kind}: {one['means']}")
        lines += [f"         {example['order']}: {example['says']}" for example in one["examples"]]
    return "\n".join(lines)


def measured(measures: dict[str, Any]) -> list[str]:
    """Write every figure on a line of its own."""
    return [f"{name:<10} {json.dumps(value, default=str)}" for name, value in measures.items()]


def progress(elapsed_s: float, told: dict[str, Any], faults: dict[str, int]) -> str:
    """Write how far a run is, in one line."""
    answers = told.get("answers", {})
    refused = sum(count for name, count in answers.items() if name.endswith(" 503"))
    unanswered = sum(count for name, count in answers.items() if name.endswith(" 0"))
    said = (
        f"{told.get('accepted', 0)} accepted, {told.get('ended', 0)} ended, {refused} refused, {unanswered} unanswered"
    )
    broken = sum(faults.values())
    return f"{elapsed_s:6.0f} s  {told.get('phase', 'starting'):<18} {said}; {broken} faults: {brief(faults)}"


def brief(faults: dict[str, int]) -> str:
    """Write the most frequent faults."""
    ranked = sorted(faults.items(), key=lambda one: -one[1])
    return ", ".join(f"{kind} {count}" for kind, count in ranked[:5])
