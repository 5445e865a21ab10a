"""The sections of leaderboard.md on the suite: which method, the matrix, labels, streams, published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dabench.core import ALL, Reference, Setting
from dabench.evaluation.answers import BUDGETS, HAVES, Answer, Matrix, answers, of_suite
from dabench.evaluation.answers import matrix as matrix_of
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.tables import FIXED, LABELLED, UNLABELLED, UPPER_BOUND
from dabench.report import wording
from dabench.report.task_page import base_of
from dabench.results.suite import SUITE, Change


def _labels(count: int) -> str:
    return "all" if count == ALL else str(count)


# --------------------------------------------------------------------------------------- which method


def choice(board: Leaderboard) -> str:
    """For what somebody has and what has changed, the method that gains most, or to keep the source model."""
    text = "## Which method?\n\nThe largest mean gain over the suite's tasks of that change (their number in brackets) "
    text += (
        "in points with its 95 % interval, among the methods that need no more than what you have, whose interval lies "
    )
    text += "above zero and that are worse than the source model on none of these tasks; - was not tried.\n\n"
    return text + table_of_choices(board)


def table_of_choices(board: Leaderboard) -> str:
    """A line for what somebody has, a column for what has changed."""
    found = {(each.have, each.change): each for each in answers(board)}
    asked = [have for have in HAVES if not have.labels or Setting.UNSUPERVISED not in have.settings]
    lines = [[have.words, *(_answer(found[have, change]) for change in Change)] for have in asked]
    header = ["what you have", *(f"{change} changed" for change in Change)]
    return wording.table(header, lines, align=["left"] * len(header))


def _answer(answer: Answer) -> str:
    if answer.method is None:
        return wording.NONE
    if not answer.method:
        return f"keep the source model ({answer.tasks})"
    numbers = wording.gain(answer.gain, answer.ci)
    return f"`{answer.method}` {numbers} ({answer.tasks})" + (" †" if answer.stale else "")


# -------------------------------------------------------------------------------------------- the suite


_HOW_TO_READ = (
    "Gain over the source model in points, the best of each setting first; those that see labels see all. Mean and "
    "worst are over the tasks that a method has (in brackets, where it lacks one that it could have; a stream is for "
    "test-time methods alone); rank is inside the setting over the tasks that all its methods have, with a bootstrap "
    "interval over families, tasks and seeds; cost is the time of the adaptation, of test-time methods that of an "
    "image; ◆ marks that no method of the setting gains more at less cost."
)


def matrix(board: Leaderboard) -> str:
    """Gains by method and task, setting by setting, with what they come to."""
    made = matrix_of(board)
    text = "## The suite\n\n"
    if made.methods.empty:
        return text + "No method has a result on a task of the suite yet; `dabench run --tasks suite` makes them.\n"
    entries = board.entries
    header = ["method", *(_head(int(place)) for place in made.entry.columns)]
    header += ["mean", "worst", "rank [95 %]", "cost"]
    lines: list[list[str]] = []
    last = ""
    for at, method in zip(made.entry.index, made.methods.itertuples(), strict=True):
        if method.setting != last:
            lines.append([f"*{method.setting}*", *[""] * (len(header) - 1)])
            last = method.setting
        cells = [wording.NONE if number < 0 else _gain(entries.loc[number]) for number in made.entry.loc[at]]
        lines.append([method.method, *cells, *_summary(method)])
    text += _HOW_TO_READ + "\n\n"
    text += wording.table(header, lines, align=["left", *["right"] * (len(header) - 1)])
    return text + wording.bullets(_baseline(board, made))


def _head(place: int) -> str:
    scenario = SUITE[place]
    return f"{scenario.task}<br>{scenario.condition}"


def _gain(entry: Any) -> str:
    text = wording.gain(entry["gain"], entry["gain_ci"]).replace(" ± ", "±")
    text = f"**{text}**" if entry["best"] else text
    marks = ("▼" if entry["worse"] else "", "∅" if entry["collapsed"] else "", "=" if entry["untouched"] else "")
    return text + "".join((*marks, "†" if entry["stale"] else ""))


def _summary(method: Any) -> list[str]:
    fewer = f" ({method.tasks})" if method.incomplete else ""
    cost = f"{wording.number(method.ms_per_image, 2)} ms" if method.by_image else wording.seconds(method.seconds)
    return [
        f"{100 * method.gain:+.1f}{fewer}",
        f"{100 * method.worst:+.1f}",
        wording.bounded(method.rank, method.rank_low, method.rank_high, 1),
        cost + (" ◆" if method.cheap and method.setting not in FIXED else ""),
    ]


def _baseline(board: Leaderboard, made: Matrix) -> list[str]:
    """The accuracy from which the gains start, and what the ranks are over."""
    entries = board.entries
    said = []
    for place in made.entry.columns:
        numbers = made.entry[place]
        inside = entries.loc[numbers[numbers >= 0]]
        said.append(f"{SUITE[int(place)].task} {100 * inside['before'].mean():.1f}")
    notes = [f"Accuracy of the source model, %: {', '.join(said)}."]
    for each in made.rankings:
        if each.left_out:
            names = wording.names(f"{method} ({count})" for method, count in each.left_out.items())
            notes.append(f"{each.setting}: without a rank, with fewer than half of its tasks: {names}.")
    return notes


# ------------------------------------------------------------------------------ labels, streams, published


def labels(board: Leaderboard) -> str:
    """The best method at each number of labels on each task of the suite, beside the best that needs none."""
    entries = of_suite(board)
    few = entries[entries["setting"].isin(LABELLED)]
    lines = []
    for place in sorted(set(few["place"])):
        own = entries[entries["place"] == place]
        cells = [_best(own[own["setting"].isin(UNLABELLED)])]
        labelled = own[own["setting"].isin(LABELLED)]
        cells += [_best(labelled[labelled["labels"] == n]) for n in BUDGETS]
        lines.append([SUITE[place].task, f"{100 * own['before'].mean():.1f}", *cells])
    if not lines:
        return ""
    text = "## Accuracy by number of labels\n\nThe best method's accuracy in percent at each number of target labels a "
    text += "class; every method's is on the task's page.\n\n"
    header = ["task", "source model", "no labels", *(_labels(n) for n in BUDGETS)]
    return text + wording.table(header, lines, align=["left", *["right"] * (len(header) - 1)])


def _best(entries: pd.DataFrame) -> str:
    if entries.empty:
        return wording.NONE
    best = entries.sort_values(["mean", "method"], ascending=[False, True]).iloc[0]
    return f"{wording.spread(best['mean'], best['ci'])} {best['method']}{' †' if best['stale'] else ''}"


def streams(board: Leaderboard) -> str:
    """Test-time methods when the images come in another order or in other batches."""
    entries = board.entries[board.entries["default"] & board.entries["setting"].isin(_TEST_TIME)]
    entries = entries.assign(base=base_of(entries["task"]))
    other = entries[entries["stream"] != "shuffled"]
    if other.empty:
        return ""
    names = ["shuffled", *sorted(set(other["stream"]))]
    has = entries[entries["base"].isin(other["base"])].groupby(["method", "stream"])["gain"].mean().unstack("stream")
    has = has.reindex(columns=names).loc[sorted(set(other["method"]))]
    lines = [
        [str(method), *(wording.gain(value, float("nan")) for value in line)]
        for method, line in zip(has.index, has.to_numpy(), strict=True)
    ]
    text = "## Streams over time\n\nMean gain in points by how the test images come, over the tasks with such rows.\n\n"
    return text + wording.table(["method", *names], lines, align=["left", *["right"] * len(names)])


_TEST_TIME = [str(Setting.TEST_TIME), str(Setting.TEST_TIME_SOURCE)]


def published(board: Leaderboard, references: Sequence[Reference]) -> str:
    """Published numbers beside ours, where task, protocol and network are the same."""
    entries = board.entries[board.entries["default"] | (board.entries["variant"] == UPPER_BOUND)]
    same = ["task", "protocol", "backbone", "method"]
    # At the largest budget, on all images; one for each place where training may start.
    entries = entries.sort_values(["start", "budget", "target_images"], ascending=[False, False, True], kind="stable")
    ours = entries.drop_duplicates([*same, "start"]).groupby(same)
    lines = []
    for each in sorted(references, key=lambda each: (each.task, each.method, each.source, each.accuracy)):
        key = (each.task, each.protocol, each.backbone, each.method)
        for own in ours.get_group(key).itertuples() if key in ours.groups else ():
            std = "" if each.std is None else f" ± {each.std:.1f}"
            here = groups_accuracy(own) + (", from the initial weights" if own.start == "initial-weights" else "")
            lines.append([each.task, each.method, f"{each.accuracy:.1f}{std}", here, wording.plain(each.source)])
    text = "## Published numbers\n\n"
    if not lines:
        return text + "None is of a task, protocol and network that has rows here.\n"
    text += (
        "Accuracy in percent under the same protocol and network; papers differ in schedule and in how the epoch was "
    )
    text += "chosen.\n\n"
    return text + wording.table(["task", "method", "published", "here", "source"], lines, align=["left"] * 5)


def groups_accuracy(entry: Any) -> str:
    """Our accuracy with its interval."""
    return wording.spread(entry.mean, entry.ci) + (" †" if entry.stale else "")


def missing(board: Leaderboard) -> list[str]:
    """What the suite lacks: tasks without a row, and methods that lack tasks."""
    made = matrix_of(board)
    absent = [scenario.task for at, scenario in enumerate(SUITE) if at not in made.entry.columns]
    notes = [f"Without a row under the suite's condition: {wording.names(absent)}."] if absent else []
    incomplete = made.methods[made.methods["incomplete"]]
    if len(incomplete):
        count = wording.count(len(incomplete), "method")
        notes.append(f"{count} of the suite lack tasks that they could have (the - in its table).")
    return notes
