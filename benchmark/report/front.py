"""What the site's first page needs, which method for whom and the suite's matrix; and the papers' pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from dabench.evaluation.answers import BUDGETS, HAVES, Answer, answers, matrix
from dabench.evaluation.leaderboard import Leaderboard
from dabench.report.payload import figures, scaled
from dabench.results.suite import SUITE, Change


def front(board: Leaderboard, tasks: list[str], methods: list[str]) -> dict[str, Any]:
    """The answers for each of HAVES and each change, and the suite's matrix, entries by their numbers."""
    return {
        "haves": [[have.words, have.labels] for have in HAVES],
        "budgets": list(BUDGETS),
        "changes": [str(change) for change in Change],
        "answers": [_answer(answer, methods) for answer in answers(board)],
        "suite": _suite(board, tasks, methods),
    }


def _answer(answer: Answer, methods: list[str]) -> dict[str, Any]:
    found = {
        "have": HAVES.index(answer.have),
        "change": list(Change).index(answer.change),
        "method": answer.method,
        "tasks": answer.tasks,
        "alike": list(answer.alike),
        "stale": answer.stale,
    }
    if answer.method is None:
        return found
    asked = answer.asked
    return found | {
        "methods": [methods.index(name) for name in asked["method"]],
        "setting": asked["setting"].tolist(),
        "gain": scaled(asked["gain"], 1000),
        "ci": scaled(asked["ci"], 1000),
        "n": asked["n"].tolist(),
    }


def _suite(board: Leaderboard, tasks: list[str], methods: list[str]) -> dict[str, Any]:
    """A list for each column of the matrix; `entries` a line for each method, -1 for no entry."""
    found = matrix(board)
    table = found.methods
    places = [int(place) for place in found.entry.columns]
    return {
        "tasks": [[tasks.index(SUITE[at].task), str(SUITE[at].change), SUITE[at].condition] for at in places],
        "entries": found.entry.to_numpy().tolist(),
        "method": [methods.index(name) for name in table["method"]],
        "setting": table["setting"].tolist(),
        "stale": [
            at for at in sorted({*found.entry.to_numpy().ravel().tolist()} - {-1}) if board.entries.at[at, "stale"]
        ],
        **{name: scaled(table[name], 1000) for name in ("gain", "worst")},
        **{name: scaled(table[name].astype(float), 10) for name in ("rank", "rank_low", "rank_high")},
        **{name: figures(table[name]) for name in ("seconds", "ms_per_image")},
        **{name: table[name].tolist() for name in ("incomplete", "by_image")},
        "over": table["tasks"].tolist(),
        "cheap": table["cheap"].tolist(),
    }


def papers(results: Path) -> list[dict[str, str]]:
    """The pages of the founding papers: name, title and body as HTML, in which a page's own tags are text."""
    found = []
    for file in sorted((results / "reproductions").glob("*.md")):
        title, _, body = file.read_text().partition("\n")
        # Without the pictures beside the file, which are on the page of pictures.
        reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
        found.append({"name": file.stem, "title": title.lstrip("# "), "html": reader.render(body)})
    return found
