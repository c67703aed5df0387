"""What a soak is judged by: each point passed, failed, or is unknown because there was too little to judge it by."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Verdict = Literal["passed", "failed", "unknown"]
Samples = Sequence[tuple[float, float]]
"""(seconds, MB of the process's own) of each sample of one process."""

EXIT_CODES: Mapping[Verdict, int] = {"passed": 0, "failed": 1, "unknown": 2}
# Of what was due, not of what was asked: shoppers that stopped asking are told by it too. Two of ten faults take the
# whole API away until it has started again, which is up to a tenth of the time.
LEAST_ANSWERED, FEWEST_DUE = 0.9, 100
# Judged for so long that the least growth that fails is several times what Python takes from the system at once (1 MB).
JUDGED_SECONDS, FEWEST_SAMPLES = 180.0, 24
LARGEST_SLOPE_MB_PER_MINUTE, WINDOW_SECONDS = 1.0, 20.0


@dataclass(frozen=True)
class Point:
    """
    Attributes:
        told: Why, with the figures.
    """

    verdict: Verdict
    told: str


def in_all(points: Mapping[str, Point]) -> Verdict:
    """The worst of the points."""
    verdicts = {point.verdict for point in points.values()}
    return "failed" if "failed" in verdicts else "unknown" if "unknown" in verdicts or not verdicts else "passed"


def judge_kept(wrong: int, acknowledged: Mapping[str, int], what: str) -> Point:
    """Whether nothing was lost, doubled or undeclared; unknown when nothing of a kind was acknowledged."""
    if wrong:
        return Point("failed", f"{wrong} {what}")
    if not acknowledged or (missing := [kind for kind, count in acknowledged.items() if not count]):
        return Point("unknown", f"nothing was acknowledged of {', '.join(missing) if acknowledged else 'any kind'}")
    return Point("passed", f"none {what} of {sum(acknowledged.values())}")


def judge_answered(due: Mapping[str, float], answered: Mapping[str, int]) -> Point:
    """Whether enough was answered of each kind.

    Args:
        due: Kind -> requests that its rate makes in the time.
    """
    shares = {kind: answered.get(kind, 0) / count for kind, count in due.items() if count >= FEWEST_DUE}
    told = ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()) + f"; at least {LEAST_ANSWERED:.0%}"
    if any(share < LEAST_ANSWERED for share in shares.values()):
        return Point("failed", told)
    if not due or (few := [kind for kind in due if kind not in shares]):
        return Point("unknown", f"too short for {', '.join(few) if due else 'any kind'}: {told}")
    return Point("passed", told)


def judge_faults(done: Sequence[Mapping[str, Any]], names: Collection[str], last_seen: Mapping[str, float]) -> Point:
    """Whether every fault was made, and struck each time.

    Args:
        done: Per fault its `fault`, `at`, whether it `struck`, and the `versions` that answers had to name afterwards.
        last_seen: Version -> when an answer last named it, by the clock of `at`.
    """
    missed = []
    for one in done:
        unseen = [version for version in one["versions"] if last_seen.get(version, -np.inf) <= one["at"]]
        if not one["struck"]:
            missed.append(str(one["fault"]))
        elif unseen:
            missed.append(f"{one['fault']} (no answer named {', '.join(unseen)})")
    if missed:
        return Point("failed", f"did not strike: {'; '.join(missed)}")
    if never := sorted(set(names) - {str(one["fault"]) for one in done}):
        return Point("unknown", f"never made: {', '.join(never)}")
    return Point("passed", f"all {len(done)} struck")


def judge_memory(
    memory: Mapping[str, Mapping[int, Samples]], settled_seconds: float
) -> tuple[Point, dict[str, list[float]]]:
    """Whether no process grows; unknown when of a role none lived long enough to be judged.

    The growth of a process is the slope of a straight line, fitted by least squares to the least that it held in each
    third of a minute: what comes and goes within seconds is in no minimum. Where a fall of its level explains more than
    the line alone, it is the slope beside that fall if that is more: what is given back hides no growth.

    Args:
        memory: Role -> process id -> its samples.
        settled_seconds: Of a process's life that do not count: so long that it has met everything once that may happen
            to it, and keeps what is taken once (a cache that is full, memory that the allocator does not give back).

    Returns:
        The point; role -> MB a minute of each process that was judged.
    """
    slopes = {
        role: [round(_slope(one), 3) for life in processes.values() if (one := _settled(life, settled_seconds))]
        for role, processes in memory.items()
    }
    told = ", ".join(f"{role} {max(found)}" for role, found in slopes.items() if found) or "nothing"
    told = f"MB a minute at most: {told}; limit {LARGEST_SLOPE_MB_PER_MINUTE}"
    if any(slope > LARGEST_SLOPE_MB_PER_MINUTE for found in slopes.values() for slope in found):
        return Point("failed", told), slopes
    if not slopes or (short := [role for role, found in slopes.items() if not found]):
        whose = " and no ".join(short) if slopes else "process"
        return Point("unknown", f"no {whose} lived long enough; {told}"), slopes
    return Point("passed", told), slopes


def _settled(samples: Samples, settled_seconds: float) -> Samples:
    """The samples that count; none when there are too few, or over too short a time, to be judged."""
    settled = [one for one in samples if one[0] >= samples[0][0] + settled_seconds]
    is_enough = len(settled) >= FEWEST_SAMPLES and settled[-1][0] - settled[0][0] >= JUDGED_SECONDS
    return settled if is_enough else []


def _slope(settled: Samples) -> float:
    """MB a minute."""
    at, used = np.array(settled).T
    window = ((at - at[0]) // WINDOW_SECONDS).astype(int)
    numbers = np.unique(window)
    held = np.array([used[window == number].min() for number in numbers])
    minutes = numbers * WINDOW_SECONDS / 60
    growth = float(np.polyfit(minutes, held, 1)[0])
    fits = []
    for moment in minutes[1:]:
        line = np.column_stack([np.ones_like(minutes), minutes, minutes >= moment])
        fit = np.linalg.lstsq(line, held)[0]
        fits.append((float(np.square(held - line @ fit).sum()), float(fit[1]), float(fit[2])))
    _, beside, shift = min(fits)
    return max(growth, beside) if shift < 0 else growth
