"""The one test of a difference: by hand, on drawn rows, and the same on every page."""

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dabench.evaluation import answers
from dabench.evaluation.comparison import Comparison, Lines, Verdict
from dabench.evaluation.leaderboard import Leaderboard
from dabench.papers.measures import STREAM, Basis, Of
from dabench.papers.rules import Higher, Outcome
from dabench.report import advice, compare, groups, latex, markdown, plots
from dabench.report.markdown import Beside

RESULTS = Path(__file__).parents[1] / "results"


def lines(values, *, n_test=np.inf, right=None, contest=None, core=None):
    values = np.array(values, dtype=float)
    return Lines(
        values=values,
        contest=np.zeros(len(values), dtype=int) if contest is None else np.array(contest),
        core=np.ones(len(values), dtype=bool) if core is None else np.array(core),
        n_test=np.full(len(values), float(n_test)),
        right=right or {},
        images=dict.fromkeys(right or {}, "the same"),
    )


def difference(first, second, given):
    return Comparison(given).differences(np.array([first]), np.array([second]))[0]


def test_two_methods_alone_are_a_paired_t_test():
    a, b = [0.80, 0.82, 0.79, 0.85], [0.78, 0.81, 0.79, 0.80]
    found = difference(0, 1, lines([a, b]))
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.mean == pytest.approx(0.02)
    assert found.ci == pytest.approx(stats.t.ppf(0.975, 3) * stats.sem(np.subtract(a, b)))


def test_only_seeds_that_both_have_count():
    a, b = [0.80, 0.82, 0.79, 0.5], [0.78, 0.81, 0.77, np.nan]
    found = difference(0, 1, lines([a, b]))
    assert (found.n, found.p) == (3, pytest.approx(stats.ttest_rel(a[:3], b[:3]).pvalue))


def test_one_seed_is_never_tested():
    assert difference(0, 1, lines([[0.9], [0.1]], n_test=10_000)).verdict is Verdict.UNTESTED


def test_the_pair_and_its_group_share_the_variance_by_hand():
    values = np.array([[0.80, 0.83, 0.78], [0.70, 0.70, 0.71], [0.60, 0.66, 0.57]])
    pairs = [values[a] - values[b] for a, b in ((0, 1), (0, 2), (1, 2))]
    own = np.var(pairs, axis=1, ddof=1)
    t = np.mean(pairs, axis=1) / np.sqrt((own + own.mean()) / 2 / 3)
    p = 2 * stats.t.sf(np.abs(t), 4)
    # Holm over two comparisons from either side; the larger of the two counts.
    assert difference(0, 1, lines(values)).p == pytest.approx(max(_holm(p[0], p[1]), _holm(p[0], p[2])))


def _holm(mine, other):
    return min(1, 2 * mine) if mine <= other else max(mine, min(1, 2 * other))


def test_a_method_that_swings_is_not_taken_for_as_steady_as_the_others():
    steady = [[0.80, 0.801, 0.799], [0.70, 0.699, 0.70], [0.75, 0.751, 0.75]]
    assert difference(0, 3, lines([*steady, [0.2, 0.9, 0.5]])).verdict is Verdict.TIED  # 80 against 53


def test_82_and_38_are_told_apart_on_three_seeds():
    values = [[0.78, 0.84, 0.85], [0.34, 0.42, 0.39], [0.57, 0.60, 0.61], [0.66, 0.70, 0.71]]
    assert difference(0, 1, lines(values, n_test=2007)).verdict is Verdict.BETTER


@pytest.mark.parametrize(("gap", "verdict"), [(0.01, Verdict.TIED), (0.2, Verdict.BETTER)])
def test_where_seeds_do_not_vary_the_test_images_decide(gap, verdict):
    found = difference(0, 1, lines([[0.8] * 3, [0.8 - gap] * 3], n_test=200))
    error = np.sqrt(0.8 * 0.2 / 200 + (0.8 - gap) * (0.2 + gap) / 200)
    assert found.p == pytest.approx(2 * stats.norm.sf(gap / error))
    assert found.verdict is verdict


def test_answers_to_the_same_images_are_paired():
    one, two = np.arange(1000) < 800, np.arange(1000) < 780
    values = [[0.8] * 3, [0.78] * 3]
    paired = difference(0, 1, lines(values, n_test=1000, right={0: one * 1.0, 1: two * 1.0}))
    assert paired.verdict is Verdict.BETTER  # 20 images more, and none less
    assert difference(0, 1, lines(values, n_test=1000)).verdict is Verdict.TIED


def test_equal_accuracies_are_no_difference():
    assert difference(0, 1, lines([[0.8, 0.8], [0.8, 0.8]])).p == 1


def test_seen_from_the_other_side_the_verdict_turns_round():
    given = lines(np.random.default_rng(0).random((5, 3)))
    for a, b in combinations(range(5), 2):
        there, back = difference(a, b, given), difference(b, a, given)
        assert (there.mean, there.p, there.ci) == (-back.mean, back.p, back.ci)


def test_a_variant_is_corrected_for_as_many_methods_as_its_group_has():
    values = np.random.default_rng(1).normal(0.5, 0.01, (5, 4))
    inside = Comparison(lines(values)).differences(np.array([0]), np.array([4]))[0]
    outside = Comparison(lines(values, core=[True] * 4 + [False])).differences(np.array([0]), np.array([4]))[0]
    alone = stats.ttest_rel(values[0], values[4]).pvalue
    assert outside.p > alone
    assert inside.n == outside.n == 4


def test_lines_of_two_groups_can_be_compared():
    values = [[0.9, 0.91, 0.9], [0.5, 0.51, 0.5], [0.7, 0.71, 0.7], [0.2, 0.21, 0.2]]
    assert difference(0, 3, lines(values, contest=[0, 0, 1, 1])).verdict is Verdict.BETTER


@pytest.mark.parametrize("seeds", [3, 5])
def test_methods_that_do_not_differ_are_seldom_told_apart(seeds):
    """Null methods as unlike in their spread as those of usps-mnist: at most one set in twelve has a false winner."""
    chance = np.random.default_rng(seeds)
    spread = np.array([0.2, 0.4, 0.7, 1, 1, 2, 2, 3, 3, 6]) / 100
    false = 0
    for _ in range(120):
        values = 0.5 + chance.normal(size=(10, seeds)) * spread[:, None]
        found = Comparison(lines(values)).contest(0)
        false += bool((found.verdicts[found.mean.sum(axis=1).argmax()] == 1).any())
    assert false <= 10


# ---------------------------------------------------------------------------------------- one verdict everywhere


@pytest.fixture(scope="module")
def board():
    return Leaderboard(markdown.load(RESULTS))


def test_every_page_gives_every_pair_the_same_verdict(board):
    """Bold in leaderboard.md and LaTeX, the site's Compare and the entries' marks, over all committed rows."""
    entries = board.entries
    data = compare.pairs(board, sorted(set(entries["method"])), sorted(set(entries["task"])))
    names = sorted(set(entries["method"]))
    number = {
        (line.contest, line.method): at
        for at, line in zip(entries.index, entries.itertuples(), strict=True)
        if line.default
    }
    often = entries[entries["default"] & entries["main"]]
    contests = sorted(set(often["contest"]))
    seen = 0
    for first, second, _, columns, *_, verdicts in data["pairs"]:
        for column, said in zip(columns, verdicts, strict=True):
            pair = [number[contests[column], names[each]] for each in (first, second)]
            expected = {Verdict.BETTER: 1, Verdict.WORSE: -1, Verdict.TIED: 0, Verdict.UNTESTED: None}
            assert said == expected[board.verdict(*pair)]
            seen += 1
    assert seen > 300


OUTCOMES = {
    Verdict.BETTER: Outcome.REPRODUCED,
    Verdict.WORSE: Outcome.CONTRADICTED,
    Verdict.TIED: Outcome.UNDECIDED,
    Verdict.UNTESTED: Outcome.NOT_TESTABLE,
}


def test_a_papers_rule_judges_every_pair_as_the_verdict_says(board):
    entries = board.entries[board.entries["default"] & (board.entries["stream"] == STREAM)]
    entries = entries[~entries["frozen"] & (entries["start"] == "source-model")]
    rows = board.rows[["key", "entry", "task", "variant", "labels", "stream", "seed", "status"]]
    seen = 0
    for _, inside in entries.groupby("contest"):
        mine = rows[rows["entry"].isin(inside.index)].to_dict("records")
        pairs = list(combinations(inside.itertuples(), 2))
        for one, other in pairs[:: 1 + len(pairs) // 30]:
            experiment = [row for row in mine if row["entry"] in (one.Index, other.Index)]
            rule = Higher(one.task, Of(one.variant), Of(other.variant))
            assert rule.judge(Basis(experiment, board)).outcome is OUTCOMES[board.verdict(one.Index, other.Index)]
            seen += 1
    assert seen > 100


def test_bold_is_what_the_verdict_does_not_tell_from_the_best(board):
    entries = board.entries
    tested = entries[entries["default"] & (entries["n"] > 1)]
    for _, inside in tested.groupby(["contest", "setting"]):
        leader = inside.sort_values(["mean", "variant"], ascending=[False, True]).index[0]
        for at in inside.index.drop(leader):
            tied = board.verdict(leader, at) is Verdict.TIED
            assert entries.at[at, "best"] == (tied and not entries.at[at, "worse"])
        assert not (inside["best"] & inside["worse"]).any()


def test_worse_than_source_only_is_the_verdict_against_its_entry(board):
    entries = board.entries
    baselines = entries[entries["variant"] == "source_only"].reset_index().set_index("contest")["index"]
    checked = 0
    for at, line in entries.iterrows():
        if line["contest"] in baselines.index and line["variant"] != "source_only":
            verdict = board.verdict(at, baselines[line["contest"]])
            assert entries.at[at, "worse"] == (verdict is Verdict.WORSE)
            checked += 1
    assert checked > 200
    assert not entries.loc[entries["worse"], "best"].any()


def test_latex_and_markdown_bold_the_entries_that_are_not_told_apart_from_the_best(board):
    best = board.entries["best"]
    assert latex.tables(board).count(r"\mathbf") == best.sum()
    shown = answers.matrix(board).entry.to_numpy().ravel()
    bold = re.findall(r"\*\*[+-]\d", markdown.leaderboard(board, Beside()))
    assert len(bold) == best.loc[shown[shown >= 0]].sum() > 0


def test_advice_names_as_tied_what_the_verdict_does_not_tell_apart(board):
    entries = board.entries
    rows = board.rows[(board.rows["task"] == "shapes-power") & (board.rows["labels"] == -1)]
    inside = entries.loc[board.entries_of(set(rows["key"]))]
    free = inside[inside["setting"].isin(["unsupervised"]) & inside["default"] & (inside["labels"] == -1)]
    best = free.sort_values("mean").index[-1]
    said = " ".join(advice.advise(board, set(rows.loc[rows["entry"].isin(free.index), "key"])))
    tied = {entries.at[at, "variant"] for at in free.index.drop(best) if board.verdict(best, at) is not Verdict.BETTER}
    assert tied
    told = re.search(r"cannot be told apart from (.*?): choose", said).group(1)
    assert {name for name in free["variant"] if f"{name} (" in told} == tied


def test_the_curve_of_labels_says_what_the_verdict_says(board):
    entries = board.entries
    plot = plots.labels(board, "shapes-power")
    for line in plot.words.splitlines():
        said = re.match(r"At (\w+) labels a class (\w+) .*none \((\w+), .*; (.*)\.$", line)
        if said:
            labels = -1 if said[1] == "all" else int(said[1])
            usual = entries["default"] & (entries["task"] == "shapes-power") & (entries["budget"] == 1)
            mine = entries[usual & (entries["method"] == said[2]) & (entries["labels"] == labels)].index[0]
            rival = entries[usual & (entries["method"] == said[3])].index[0]
            tied = board.verdict(mine, rival) is Verdict.TIED
            assert ("do not tell them apart" in said[4]) == tied


# -------------------------------------------------------------------------------------------- odd rows


def test_the_order_of_the_rows_changes_no_number():
    rows = markdown.load(RESULTS)
    rows = rows[rows["task"] == "usps-mnist"]
    first, again = Leaderboard(rows).entries, Leaderboard(rows.sample(frac=1, random_state=3)).entries
    pd.testing.assert_frame_equal(first, again)


ROW = {"key": "k", "task": "a-b", "method": "dann", "setting": "unsupervised", "seed": 0, "status": "ok"}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [ROW],
        [{**ROW, "accuracy": 0.5}],
        [{**ROW, "accuracy": 0.5, "accuracy_before": float("nan"), "n_test": None}],
        [{**ROW, "accuracy": 1.0, "accuracy_before": 1.0, "n_test": 0}] * 2,
        [{**ROW, "accuracy": 0.5, "predictions": b"", "predictions_before": b"", "truth": b"", "n_test": 0.0}],
        [{**ROW, "accuracy": 0.5, "predictions": b"\1", "predictions_before": b"\1\1", "truth": b"\1", "n_test": 1.0}],
        [{**ROW, "key": str(seed), "seed": seed, "accuracy": 0.5, "method": "source_only"} for seed in range(3)],
        [{**ROW, "scored": False}],
        [{**ROW, "setting": "of a newer version", "accuracy": 0.5}],
        [{**ROW, "key": start, "accuracy": 0.5, "start": start} for start in ("source-model", "initial-weights")],
    ],
)
def test_no_odd_rows_raise(rows):
    board = Leaderboard(pd.DataFrame(rows, columns=None if rows else list(ROW)))
    assert markdown.leaderboard(board, Beside())
    assert latex.tables(board) is not None
    assert json.dumps(compare.pairs(board, sorted(set(board.entries["method"])), sorted(set(board.entries["task"]))))
    assert (board.entries["n"] > 0).all()


@pytest.mark.parametrize(("name", "other"), [("start", "initial-weights"), ("stream", "sorted"), ("frozen", True)])
def test_rows_of_two_starts_streams_or_frozen_share_no_group(name, other):
    rows = [
        {**ROW, "key": f"{method}{seed}", "method": method, "seed": seed, "accuracy": 0.5, "n_test": 100, **changed}
        for method, changed in (("dann", {}), ("nogrl", {name: other}))
        for seed in range(3)
    ]
    board = Leaderboard(pd.DataFrame(rows))
    assert board.entries["contest"].nunique() == 2
    assert len(groups.in_order(board.rows)) == 2
    assert not compare.pairs(board, ["dann", "nogrl"], ["a-b"])["pairs"]
