"""What the rows of one task recommend, in words: a pure function, and no more certain than the seeds are."""

from __future__ import annotations

import math

import pandas as pd

from dabench.core import Setting
from dabench.evaluation import standings, statistics

COLUMNS = standings.COLUMNS
_SEES = {
    Setting.GENERALIZATION: "the source pictures alone",
    Setting.TEST_TIME: "nothing but the pictures it answers",
    Setting.SOURCE_FREE: "unlabelled target pictures",
    Setting.UNSUPERVISED: "the source pictures and unlabelled target pictures",
}


def advise(rows: pd.DataFrame) -> list[str]:
    """Sentences from one task's rows (COLUMNS): its floor and ceiling, then what to use with and without labels.

    Empty where no adaptation has a result.
    """
    rows = standings.current(rows[rows["status"] == "ok"])
    rows = standings.on_benches(rows.assign(figure=rows["accuracy"])) if len(rows) else rows
    sentences: list[str] = []
    for _, bench in rows.groupby(standings.BENCH, sort=True):
        sentences += [sentence for sentence in _on_one_bench(bench) if sentence not in sentences]
    return sentences


def _on_one_bench(rows: pd.DataFrame) -> list[str]:
    table = standings.cells(rows)
    supervised = table["setting"] == Setting.SUPERVISED
    free = table["setting"].isin(list(_SEES))
    if not (supervised | free).any():
        return []
    by_seed = rows.pivot(index="variant", columns="seed", values=["figure", "accuracy_before"])
    sentences = [_range(table)]
    if free.any():
        sentences += _of_group(table[free], by_seed, "no target labels")
    if supervised.any():
        count = table.loc[supervised, "labels"].iloc[0]
        words = "every training label" if count < 0 else f"{count} label{'s' if count > 1 else ''} a class"
        sentences += _of_group(table[supervised], by_seed, words)
    return sentences


def _range(table: pd.DataFrame) -> str:
    """Floor and ceiling of the bench."""
    line = table.iloc[0]
    text = f"On {line['task']} the source model is right on {_percent(line['before'])} of the target's test pictures"
    ceiling = table[table["variant"] == standings.CEILING]
    if ceiling.empty:
        return f"{text} (add {standings.CEILING} to --methods to learn what could be reached)."
    text += f", and training on every target label reaches {_percent(ceiling.iloc[0]['mean'])}"
    if ceiling["closed"].isna().all():
        return f"{text}: that gap is within the noise, so gains are given in points."
    return f"{text}."


def _of_group(table: pd.DataFrame, by_seed: pd.DataFrame, budget: str) -> list[str]:
    """What the methods of one label budget achieved, the best first, and which of them to use."""
    table = table.sort_values(["mean", "variant"], ascending=[False, True], kind="stable")
    best = table.iloc[0]
    said = [f"With {budget}: {_achieved(best)}{_cost(best)}."]
    figures, before = (by_seed.loc[table["variant"], name].to_numpy(float) for name in ("figure", "accuracy_before"))
    if table["n"].min() < 2:
        return [*said, "One seed cannot tell a gain from chance: run with --seeds 3 or more before you choose."]
    better = statistics.paired_p_value(figures[0], before[0], best["n_test"]) < statistics.ALPHA
    if best["gain"] <= 0 or not better:
        return [*said, f"That is not surely above the source model: with {budget}, keep the source model."]
    apart = statistics.separated(figures, best["n_test"])[0]
    tied = [line for (_, line), other in zip(table.iterrows(), apart, strict=True) if not other][1:]
    if not tied:
        others = len(table) - 1
        margin = f" It is surely better than the other{'s' * (others > 1)}." if others else ""
        return [*said, f"Use {best['variant']}.{margin}"]
    names = _list([f"{line['variant']} ({_gain(line)})" for line in tied])
    return [*said, f"{best['variant']} cannot be told apart from {names}: choose the one that costs you least."]


def _achieved(line: pd.Series) -> str:
    sees = _SEES.get(line["setting"])
    seeing = f", seeing {sees}" if sees else ""
    if math.isnan(line["closed"]) or line["gain"] <= 0:
        return f"{line['variant']} brought {_gain(line)}{seeing}"
    return f"{line['variant']} closed {100 * line['closed']:.0f} % of the gap ({_gain(line)}){seeing}"


def _gain(line: pd.Series) -> str:
    """The accuracy, over seeds with half of its 95 % interval, and the gain over the source model."""
    half = f" ± {100 * line['half']:.1f}" if line["half"] > 0 else ""
    return f"{100 * line['mean']:.1f}{half} %, {100 * line['gain']:+.1f} points"


def _cost(line: pd.Series) -> str:
    """What an image costs from then on, and how long it took to get there."""
    if math.isnan(line["ms_per_image"]):
        return ""
    return f", at {line['ms_per_image']:.2g} ms an image after {line['seconds']:.3g} s of adaptation"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
