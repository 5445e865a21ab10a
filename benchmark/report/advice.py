"""What the entries of one task recommend, in words: a pure function, and no more certain than the seeds are."""

from __future__ import annotations

import math
from collections.abc import Collection

import pandas as pd

from dabench.core import Setting
from dabench.evaluation.comparison import Verdict
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.tables import LABELLED, UNLABELLED, UPPER_BOUND

_SEES = {
    Setting.GENERALIZATION: "the source pictures alone",
    Setting.TEST_TIME: "nothing but the pictures it answers",
    Setting.TEST_TIME_SOURCE: "the pictures it answers and the source pictures",
    Setting.BLACK_BOX: "unlabelled target pictures and the source model's answers",
    Setting.SOURCE_FREE: "unlabelled target pictures",
    Setting.UNSUPERVISED: "the source pictures and unlabelled target pictures",
}


def advise(board: Leaderboard, keys: Collection[str]) -> list[str]:
    """Sentences from one task's cells of these keys: baseline, upper bound, what to use with and without labels.

    Empty where no adaptation has a result.
    """
    sentences: list[str] = []
    for _, entries in board.entries.loc[board.entries_of(keys)].groupby("contest", sort=True):
        sentences += [sentence for sentence in _on_one_group(board, entries) if sentence not in sentences]
    return sentences


def _on_one_group(board: Leaderboard, entries: pd.DataFrame) -> list[str]:
    labelled = entries["setting"].isin(LABELLED)
    free = entries["setting"].isin(UNLABELLED)
    if not (labelled | free).any():
        return []
    sentences = [_range(entries)]
    if free.any():
        sentences += _of_budget(board, entries[free], "no target labels")
    if labelled.any():
        count = entries.loc[labelled, "labels"].iloc[0]
        words = "every training label" if count < 0 else f"{count} label{'s' if count > 1 else ''} a class"
        sentences += _of_budget(board, entries[labelled], words)
    return sentences


def _range(entries: pd.DataFrame) -> str:
    """Baseline and upper bound of the group."""
    line = entries.iloc[0]
    text = f"On {line['task']} the source model is right on {_percent(line['before'])} of the target's test pictures"
    upper = entries[entries["variant"] == UPPER_BOUND]
    if upper.empty:
        return f"{text} (add {UPPER_BOUND} to --methods to learn what could be reached)."
    text += f", and training on every target label reaches {_percent(upper.iloc[0]['mean'])}"
    if entries["gap"].isna().all():
        return f"{text}: that gap is within the noise, so gains are given in points."
    return f"{text}."


def _of_budget(board: Leaderboard, entries: pd.DataFrame, budget: str) -> list[str]:
    """What the methods of one label budget achieved, the best first, and which of them to use."""
    entries = entries.sort_values(["mean", "variant"], ascending=[False, True], kind="stable")
    best = entries.iloc[0]
    said = [f"With {budget}: {_achieved(best)}{_cost(best)}."]
    if entries["n"].min() < 2:
        return [*said, "One seed cannot tell a gain from chance: run with --seeds 3 or more before you choose."]
    if board.against_source(int(best.name)).verdict is not Verdict.BETTER:
        return [*said, f"That is not surely above the source model: with {budget}, keep the source model."]
    others = list(entries.index[1:])
    tied = [other for other in others if board.verdict(int(best.name), int(other)) is not Verdict.BETTER]
    if not tied:
        margin = f" It is surely better than the other{'s' * (len(others) > 1)}." if others else ""
        return [*said, f"Use {best['variant']}.{margin}"]
    names = _list([f"{entries.at[other, 'variant']} ({_gain(entries.loc[other])})" for other in tied])
    return [*said, f"{best['variant']} cannot be told apart from {names}: choose the one that costs you least."]


def _achieved(line: pd.Series) -> str:
    sees = _SEES.get(line["setting"])
    seeing = f", seeing {sees}" if sees else ""
    if math.isnan(line["gap_closed"]) or line["gain"] <= 0:
        return f"{line['variant']} brought {_gain(line)}{seeing}"
    return f"{line['variant']} closed {100 * line['gap_closed']:.0f} % of the gap ({_gain(line)}){seeing}"


def _gain(line: pd.Series) -> str:
    """The accuracy, over seeds with half of its 95 % interval, and the gain over the source model."""
    ci = f" ± {100 * line['ci']:.1f}" if line["ci"] > 0 else ""
    return f"{100 * line['mean']:.1f}{ci} %, {100 * line['gain']:+.1f} points"


def _cost(line: pd.Series) -> str:
    """What an image costs from then on, and how long it took to get there."""
    if math.isnan(line["ms_per_image"]):
        return ""
    return f", at {line['ms_per_image']:.2g} ms an image after {line['seconds']:.3g} s of adaptation"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
