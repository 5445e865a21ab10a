"""Properties of the evaluation over drawn tables of rows: whatever the store may hold, and whatever is added to it."""

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dabench.core import Setting
from dabench.evaluation import answers
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.tables import ENTRY
from dabench.results.row import DEFAULTS, LONG, SCHEMA

METHODS = {
    **{"source_only": Setting.SOURCE_ONLY, "target_supervised": Setting.UPPER_BOUND, "dann": Setting.UNSUPERVISED},
    **{"mcc": Setting.UNSUPERVISED, "tent": Setting.TEST_TIME, "finetune_all": Setting.SUPERVISED},
}
BOUNDS = ("source_only", "target_supervised")
drawn = settings(max_examples=8, deadline=None, derandomize=True)

fractions = st.none() | st.just(np.nan) | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)
lists = st.none() | st.lists(st.sampled_from([0.0, 0.5, 1.0, np.nan]) | st.floats(-9, 9), max_size=3)
answered = st.none() | st.sampled_from([b"", b"\0\1\2", b"\0\0\1", b"\0\0\1\0\2\0", b"\0"])
scores = st.none() | st.dictionaries(st.sampled_from(["entropy", "snd"]), lists.filter(lambda one: one is not None))
places = {
    "task": st.sampled_from(["fonts-optdigits", "shapes-power", "mine"]),
    "protocol": st.sampled_from(["holdout", "transductive"]),
    "budget": st.sampled_from([1.0, 1.0, 0.5]),
    "labels": st.sampled_from([-1, -1, 3]),
    "target_images": st.sampled_from([-1, -1, 50]),
    "family": st.sampled_from(["f", "g"]),
}
found = {
    "seed": st.integers(0, 3),
    "status": st.sampled_from(["ok", "ok", "ok", "failed", "refused"]),
    "reason": st.none() | st.just("it ended"),
    "created": st.none() | st.sampled_from(["2026-01-01T00:00:00", "2026-01-02T00:00:00"]),
    **dict.fromkeys(["accuracy", "accuracy_before", "nll", "ms_per_image"], fractions),
    **dict.fromkeys(["per_class", "checkpoint_progress", "checkpoint_accuracy"], lists),
    **dict.fromkeys(["predictions", "predictions_before", "truth"], answered),
    "checkpoint_scores": scores,
    "n_test": st.none() | st.sampled_from([0, 3, 1000]),
    "trained_parameters": st.none() | st.integers(0, 1),
}


@st.composite
def rows(draw, most=15):
    """Rows as the store gives them, of few places, methods and seeds so that many meet; keys are unique, as there."""
    made = draw(st.lists(st.fixed_dictionaries({**places, **found}), max_size=most))
    for number, row in enumerate(made):
        method = draw(st.sampled_from(sorted(METHODS)))
        row |= {"key": f"k{number}", "method": method, "setting": str(METHODS[method]), "backbone": "resnet8"}
        row["variant"] = draw(st.sampled_from([None, method, f"{method}[lr=0.5]"]))
    return made


def table(made):
    """The rows as the pages get them: every column, lists and bytes in Arrow."""
    whole = pa.Table.from_pylist([{**DEFAULTS, **row} for row in made], schema=SCHEMA)
    return whole.to_pandas(
        types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_nested(kind) or kind == pa.binary() else None
    )


def everything(board):
    """All that the pages ask of the rows, to be compared."""
    contests = [board.contest(number) for number in range(board.entries["contest"].nunique())]
    return {
        "rows": board.rows.drop(columns=["at", *LONG], errors="ignore"),
        "bad": board.bad[["key", "status", "reason"]],
        "entries": board.entries,
        "validators": board.validators,
        **{f"{at} {name}": getattr(one, name) for at, one in enumerate(contests) for name in ("mean", "ci", "p", "n")},
        **{f"{one.setting} {name}": getattr(one, name) for one in board.rankings for name in ("table", "accuracy")},
    }


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, second[name], check_exact=True, obj=name)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, second[name], err_msg=name)
        else:
            assert value == second[name], name


@drawn
@given(made=rows(), chance=st.randoms(use_true_random=False))
def test_any_rows_are_evaluated_and_their_order_changes_nothing(made, chance):
    mixed = chance.sample(made, len(made))
    stale, searched = ([row["key"] for row in made[at::5]] for at in (0, 1))
    boards = [Leaderboard(table(some), stale=stale, searched=searched) for some in (made, mixed)]
    assert_same(*map(everything, boards))
    answers.answers(boards[0])


@drawn
@given(made=rows(most=10), seed=st.integers(4, 6), accuracy=st.floats(0, 1), at=st.integers(0, 9))
def test_another_seed_of_an_entry_changes_nothing_that_is_not_compared_with_it(made, seed, accuracy, at):
    sound = [{**row, "status": "ok", "accuracy_before": None} for row in made if row["method"] not in BOUNDS]
    assume(sound)
    for row in sound:
        row["accuracy"] = np.nan_to_num(row["accuracy"] or 0.0)
    one = sound[at % len(sound)]
    another = {**one, "key": "new", "seed": seed, "accuracy": accuracy}
    before, after = (Leaderboard(table(some)) for some in (sound, [*sound, another]))
    assert list(map(tuple, before.entries[ENTRY].to_numpy())) == list(map(tuple, after.entries[ENTRY].to_numpy()))
    (grown,) = after.entries_of(["new"])
    others = before.entries.index != grown
    alone = ["mean", "ci", "n", "ci_images", "before"]
    pd.testing.assert_frame_equal(before.entries.loc[others, alone], after.entries.loc[others, alone])
    assert after.entries.at[grown, "n"] == before.entries.at[grown, "n"] + 1
    elsewhere = before.entries["contest"] != before.entries.at[grown, "contest"]
    pd.testing.assert_frame_equal(before.entries[elsewhere], after.entries[elsewhere])
    for other in before.entries.index[others]:  # a seed that the other lacks is none that they share
        was, now = (board.difference(grown, other) for board in (before, after))
        assert was.n == now.n
        np.testing.assert_array_equal(was.mean, now.mean)


def test_predictions_of_other_images_than_the_row_says_are_not_looked_into():
    place = {"task": "mine", "protocol": "holdout", "backbone": "resnet8", "setting": "unsupervised", "method": "dann"}
    row = {"key": "k", "status": "ok", "seed": 0, "accuracy": 0.5, "per_class": [0.0, 1.0], "n_test": 5}
    entries = Leaderboard(table([{**place, **row, "predictions": b"\0\0\1"}])).entries
    assert entries["collapsed"].all()
