"""What stored rows say on the command line: the table after a sweep with a recommendation, and the seeds of one method.

Every statistic is the leaderboard's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dabench.cli import screen
from dabench.cli.options import RESULTS
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.tables import LABELLED
from dabench.report import advice, markdown, wording
from dabench.results import provenance
from dabench.results.row import ENTRY

_USUAL = {"budget": 1.0, "target_images": -1, "start": "source-model", "stream": "shuffled", "frozen": False}
_SEEDS = ("seed", "status", "accuracy, %", "source model", "gain", "adaptation", "made", "code", "key")
_MADE_BY = ("device", "precision", "version", "commit")


def tell(keys: Collection[str], tasks: Collection[str], results: Path) -> None:
    """Prints what the rows of these keys came to, and for a single task what they recommend.

    The rows of the tasks are evaluated with all others of theirs, so that what is said is what the leaderboard says.
    """
    board = _board(tasks, results)
    entries = board.entries.loc[board.entries_of(keys)]
    unscored = board.rows[board.rows["accuracy"].isna() & board.rows["key"].isin(keys)]
    for task in sorted(set(unscored["task"])):
        screen.say(f"{task} is not scored: its target has no labels; `dabench export` takes the adapted model home")
    if entries.empty:
        return
    screen.out.print()
    screen.table(*summary(entries))
    screen.say("gain: over the source model, in points of accuracy; ±: half of the 95 % interval over seeds")
    if len(set(tasks)) == 1 and (sentences := advice.advise(board, keys)):
        screen.say("\n" + "\n".join(sentences))
    screen.say(f"\nnext: dabench report{'' if results == RESULTS else f' --results {results}'}")


def _board(tasks: Collection[str], results: Path) -> Leaderboard:
    rows = markdown.load(results)
    return Leaderboard(rows[rows["task"].isin(tasks)].reset_index(drop=True), stale=provenance.age(results).stale)


def summary(entries: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a table of entries (of `Leaderboard.entries`), in their order, each once.

    An entry that no number of labels changes stands in several comparison groups; it is shown once.
    """
    seen = entries["setting"].isin(LABELLED)
    entries = entries.assign(shown=entries["labels"].where(seen, 0)).drop_duplicates(["task", "variant", "shown"])
    header = ["task", "setting", "method", "labels", "accuracy, %", "gain", "seeds"]
    lines, before = [], None
    for line in entries.itertuples():
        labels = {-1: "all", 0: wording.NONE}.get(line.shown, str(line.shown))
        numbers = [wording.spread(line.mean, line.ci), wording.gain(line.gain, line.gain_ci), str(line.n)]
        lines.append([line.task if line.task != before else "", line.setting, line.variant, labels, *numbers])
        before = line.task
    if not seen.any():
        header.remove("labels")
        lines = [[*line[:3], *line[4:]] for line in lines]
    return header, lines


def show(rows: list[dict[str, Any]], results: Path) -> None:
    """Prints rows of one task: under each variant and its conditions its seeds, their mean, and what made them."""
    board = _board({rows[0]["task"]}, results)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for each in rows:
        groups.setdefault(tuple(each[name] for name in ENTRY), []).append(each)
    for number, (entry, group) in enumerate(groups.items()):
        group.sort(key=lambda each: (each["seed"], each["created"] or ""))
        screen.say(("\n" if number else "") + _title(dict(zip(ENTRY, entry, strict=True))))
        screen.table(_SEEDS, [_seed(each, board.stale) for each in group])
        for words in (*_mean(board, group), *_behind(group)):
            screen.say(words)


def _title(entry: dict[str, Any]) -> str:
    """The task, the variant, its setting and every condition that is not the usual one."""
    parts = [entry[name] for name in ("task", "variant", "setting", "protocol", "backbone")]
    parts.append(f"{entry['image_size']} px")
    if entry["setting"] in LABELLED:
        parts.append("all labels" if entry["labels"] < 0 else f"{entry['labels']} labels a class")
    parts += [f"{name.replace('_', ' ')} {entry[name]}" for name, value in _USUAL.items() if entry[name] != value]
    return " · ".join(part for part in parts if part)


def _seed(each: dict[str, Any], stale: Collection[str]) -> list[str]:
    accuracy, before = each["accuracy"], each["accuracy_before"]
    known = accuracy is not None and before is not None
    scored = each["status"] != "ok" or each["scored"]
    return [
        str(each["seed"]),
        each["status"],
        _percent(accuracy) if scored else "not scored",
        _percent(before),
        f"{100 * (accuracy - before):+.1f}" if known else wording.NONE,
        wording.NONE if each["seconds"] is None else wording.seconds(each["seconds"]),
        (each["created"] or wording.NONE)[:16].replace("T", " "),
        "older" if each["key"] in stale else "today's",
        each["key"][:12],
    ]


def _percent(fraction: float | None) -> str:
    return wording.NONE if fraction is None else f"{100 * fraction:.1f}"


def _mean(board: Leaderboard, group: list[dict[str, Any]]) -> Iterator[str]:
    """The mean over seeds, as the leaderboard has it."""
    for number in board.entries_of({each["key"] for each in group})[:1]:
        line = board.entries.loc[number]
        said = (
            f"{wording.spread(line['mean'], line['ci'])} %, gain {wording.gain(line['gain'], line['gain_ci'])} points"
        )
        yield f"mean of {wording.count(int(line['n']), 'seed')}: {said}" + (", of older code" if line["stale"] else "")


def _behind(group: list[dict[str, Any]]) -> Iterator[str]:
    """Reasons, hyper-parameters and what computed the rows, each said once."""
    for each in group:
        if each["reason"]:
            yield f"seed {each['seed']} {each['status']}: {each['reason']}"
    for text in dict.fromkeys(each["params"] for each in group if each["params"]):
        parameters = ", ".join(f"{name}={value}" for name, value in json.loads(text).items())
        yield f"hyper-parameters: {parameters or 'none'}"
    made = Counter(" · ".join(each[name] for name in _MADE_BY if each[name]) for each in group)
    for words, count in made.items():
        yield f"made by: {words}" + (f" ({wording.count(count, 'seed')})" if len(made) > 1 else "")
