"""results/validators.md: how well the label-free scores choose, family by family."""

from __future__ import annotations

from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import wording

_INTRO = """\
# How well the label-free scores choose

Ten times in a run each score is taken of the model as it is then, without a target label. A score is good where it
falls and rises with the accuracy that it cannot see: here is its mean Spearman correlation with target accuracy over
the checkpoints of a run, the same over the methods of a task, and the accuracy lost against the best checkpoint by
taking the one that it ranks first, in points. More in `docs/reading.md`.
"""


def page(board: Leaderboard) -> str:
    """The page; every family has a table, its lines in the order of the accuracy lost."""
    parts = [_INTRO]
    for family, found in board.validators.groupby("family", sort=True):
        lines = [
            [
                line.setting,
                line.validator,
                wording.number(line.over_checkpoints, 2),
                wording.number(line.over_methods, 2),
                wording.percent(line.regret, 1),
                str(line.runs),
            ]
            for line in found.itertuples()
        ]
        header = ["setting", "score", "over checkpoints", "over methods", "lost, points", "runs"]
        parts.append(f"## {family}\n\n{wording.table(header, lines, align=['left', 'left', *['right'] * 4])}")
    if len(parts) == 1:
        parts.append("No row has scores at its checkpoints.\n")
    return "\n".join(parts)
