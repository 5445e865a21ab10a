import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dabench.core import DabenchError, Reference
from dabench.evaluation import selection, tables
from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import latex, markdown, pages, schema, suite, task_page, tuning, validators
from dabench.report.markdown import Beside
from dabench.results import searches, store
from dabench.results.provenance import TODAY, Age

SETTINGS = {
    "source_only": "source-only",
    "target_supervised": "upper-bound reference",
    "dann": "unsupervised",
    "nogrl": "unsupervised",
    "adabn": "source-free",
    "tent": "test-time",
    "adapternet": "supervised",
}
NOISE = [0.000, 0.004, -0.003, 0.002, -0.004]


def cell(method, mean, *, task="mnist-usps", seeds=5, noise=NOISE, source_only=0.75, **values):
    """Rows of one method on one task, its accuracy spread by `noise` over the seeds."""
    rows = []
    for seed in range(seeds):
        row = {
            "task": task,
            "family": "digits",
            "protocol": "full",
            "method": method,
            "variant": method,
            "setting": SETTINGS[method],
            "backbone": "lenet",
            "image_size": 28,
            "budget": 1.0,
            "labels": -1,
            "target_images": -1,
            "seed": seed,
            "status": "ok",
            "accuracy": mean + noise[seed],
            "accuracy_before": source_only,
            "per_class": [0.9, 0.8],
            "seconds": 12.0,
            "ms_per_image": 0.25,
            "n_test": 2007,
            "created": "2026-01-01T00:00:00Z",
            **values,
        }
        named = [str(row[name]) for name in [*tables.ENTRY, "seed"] if name in row]
        row["key"] = " ".join([*named, row["created"]])
        rows.append(row)
    return rows


def stored(folder, *cells):
    store.write(folder, [row for rows in cells for row in rows])
    return markdown.load(folder)


def leaderboard(rows, references=(), *, age=TODAY, select="last", studies=()):
    """leaderboard.md of these rows, and below it every other page."""
    board = Leaderboard(rows, stale=age.stale, searched=searches.searched_keys(studies), select=select)
    made = task_page.pages(board, references, age=age, tasks={})
    others = [*made.values(), validators.page(board), tuning.page(studies, board)]
    return "\n".join([markdown.leaderboard(board, Beside(references, age=age)), *others])


def line(text, method, section=None):
    """The cells of the first table line of that method after the heading `section`."""
    text = text[text.index(section) :] if section else text
    (found, *_) = (row for row in text.splitlines() if re.match(rf"\|[^|]*\| {re.escape(method)} ", row))
    return [part.strip() for part in found.strip("|").split("|")]


def test_only_the_method_better_on_every_seed_is_marked(tmp_path):
    text = leaderboard(
        stored(tmp_path, cell("dann", 0.90), cell("nogrl", 0.80, noise=[0.001, 0.0, 0.002, -0.001, 0.001]))
    )
    assert line(text, "dann", "# mnist-usps")[2] == "**90.0 ± 0.4**"
    assert line(text, "nogrl", "# mnist-usps")[2] == "80.1 ± 0.1"


def test_a_difference_within_the_noise_marks_both(tmp_path):
    text = leaderboard(
        stored(tmp_path, cell("dann", 0.90), cell("nogrl", 0.901, noise=[0.01, -0.01, 0.005, -0.008, 0.002]))
    )
    assert line(text, "dann", "# mnist-usps")[2].startswith("**90.0")
    assert line(text, "nogrl", "# mnist-usps")[2].startswith("**90.1")


def test_methods_of_different_settings_do_not_compete(tmp_path):
    text = leaderboard(stored(tmp_path, cell("dann", 0.80), cell("adapternet", 0.95)))
    assert "**80.0" not in text  # alone in its setting: nothing to be best of
    assert "supervised" in text


def suite_line(text, method):
    """The cells of a method's line in the suite's matrix."""
    section = text[text.index("## The suite") :].split("\n## ")[0]
    (found,) = (row for row in section.splitlines() if row.startswith(f"| {method} |"))
    return [part.strip() for part in found.strip("|").split("|")]


def test_the_suites_matrix_has_gains_mean_worst_and_rank_and_marks_what_is_missing(tmp_path):
    rows = stored(
        tmp_path,
        *(cell(method, 0.8, task=task) for method in ("dann", "nogrl") for task in ("mnist-usps", "usps-mnist")),
        cell("adabn", 0.6, setting="unsupervised"),
        cell("source_only", 0.75, noise=[0] * 5),
        cell("dann", 0.99, task="svhn-mnist"),
    )
    text = leaderboard(rows)
    mnist, usps, mean, worst, rank, _ = suite_line(text, "dann")[1:]
    assert mnist.startswith("**+5.0±")
    assert usps.startswith("**+5.0±")
    assert (mean, worst) == ("+5.0", "+5.0")
    assert rank == "1.5"
    assert suite_line(text, "adabn")[1].startswith("-15.0±")
    assert suite_line(text, "adabn")[1].endswith("▼")
    assert suite_line(text, "adabn")[2:4] == ["-", "-15.0 (1)"]
    assert "svhn" not in text[: text.index("## What is not in the tables")]  # no task of the suite


def test_rows_of_older_code_are_marked_wherever_they_stand(tmp_path):
    rows = stored(tmp_path, cell("dann", 0.9), cell("nogrl", 0.8), cell("source_only", 0.75, noise=[0] * 5))
    old = rows.loc[rows["method"] == "dann", "key"]
    text = leaderboard(rows, age=Age(dict.fromkeys(old, "harness"), {}))
    assert "of which 5 stale, the harness changed since." in text
    assert suite_line(text, "dann")[1].endswith("†")
    assert not suite_line(text, "nogrl")[1].endswith("†")
    assert line(text, "dann", "# mnist-usps")[2].endswith("†")
    assert "none stale" in leaderboard(rows)


def test_which_method_is_answered_by_what_one_has(tmp_path):
    text = leaderboard(stored(tmp_path, cell("dann", 0.9), cell("adabn", 0.75), cell("source_only", 0.75)))
    answers = {
        row.split(" | ")[0].strip("| "): row.split(" | ")[2] for row in text.splitlines() if row.startswith("| ")
    }
    assert answers["the source and unlabelled target images"].startswith("`dann` +15.0 ±")
    assert answers["unlabelled target images"] == "keep the source model (1)"
    assert answers["the test stream alone"] == "-"


def test_a_labelled_cell_that_returned_the_source_model_says_so(tmp_path):
    rows = stored(
        tmp_path,
        cell("adapternet", 0.75, trained_parameters=0),
        cell("dann", 0.75, trained_parameters=0),
        cell("source_only", 0.75, trained_parameters=0),
    )
    text = leaderboard(rows)
    assert line(text, "adapternet", "# mnist-usps")[2].endswith(" =")
    assert not line(text, "dann", "# mnist-usps")[2].endswith("=")


def test_the_board_is_short_and_has_no_folds():
    text = (Path(__file__).parents[1] / "leaderboard.md").read_text(encoding="utf-8")
    assert len(text.encode()) < 40_000
    assert text.count("\n") < 300
    assert "<details" not in text


@pytest.mark.parametrize(
    ("column", "other", "heading"),
    [
        ("protocol", "p1", "`p1`"),
        ("backbone", "dtn", "`dtn`"),
        ("image_size", 32, "32 px"),
        ("budget", 0.5, "budget 0.5"),
        ("target_images", 100, "100 target images"),
    ],
)
def test_what_differs_in_conditions_never_shares_a_table(tmp_path, column, other, heading):
    text = leaderboard(stored(tmp_path, cell("dann", 0.90), cell("nogrl", 0.80, **{column: other})))
    tables = text[text.index("# mnist-usps") : text.index("# How well")].split("\n## ")[1:]
    assert len(tables) == 2
    (own,) = (table for table in tables if heading in table.splitlines()[0])
    assert "nogrl" in own
    assert "dann" not in own


def test_the_points_of_a_camera_curve_are_lines_in_the_order_of_the_angles(tmp_path):
    turned = [f"imagenette-rotated[angle={angle}]" for angle in (120, 30)]
    rows = [cell("source_only", 0.75, task=task) for task in ["imagenette-rotated", *turned]]
    text = leaderboard(stored(tmp_path, *rows, cell("dann", 0.9, task=turned[0])))
    assert "README.md" in text
    assert "[angle=" not in text[: text.index("# imagenette-rotated\n")]
    lines = [[part.strip() for part in row.strip("|").split("|")] for row in text.splitlines() if "[angle=" in row]
    assert [turned[1], "75.0 ± 0.4", "-"] in lines
    assert [turned[0], "75.0 ± 0.4", "90.0 ± 0.4"] in lines
    assert [line[0] for line in lines] == [turned[1], turned[0]] * 2  # the bench's table, and its details


def test_label_budgets_have_tables_of_their_own_with_floor_and_ceiling(tmp_path):
    rows = stored(
        tmp_path,
        cell("source_only", 0.75, noise=[0] * 5, labels=0),
        cell("target_supervised", 0.98),
        cell("dann", 0.90, labels=0),
        cell("adapternet", 0.95),
        cell("adapternet", 0.85, labels=10),
    )
    text = leaderboard(rows)
    full, few = text[text.index("# mnist-usps") : text.index("# How well")].split("\n## ")[1:]
    assert line(full, "adapternet")[2].startswith("95.0")
    assert line(full, "dann")[2].startswith("90.0")
    assert "10 labels a class" in few.splitlines()[0]
    assert line(few, "adapternet")[2].startswith("85.0")
    assert line(few, "source_only")[2].startswith("75.0")
    assert line(few, "target_supervised")[2].startswith("98.0")
    assert "dann" not in few


def test_the_order_of_the_rows_changes_no_byte(tmp_path):
    scores = {"checkpoint_accuracy": [0.8, 0.85], "checkpoint_scores": {"snd": [0.2, 0.1], "bnm": [1.0, 2.0]}}
    rows = stored(
        tmp_path,
        cell("source_only", 0.75, noise=[0] * 5),
        cell("target_supervised", 0.98),
        *(cell(method, 0.8 + 0.01 * at, **scores) for at, method in enumerate(("dann", "nogrl", "adabn"))),
        cell("dann", 0.7, task="usps-mnist", status="failed", reason="Diverged: nan"),
    )
    text = leaderboard(rows)
    for seed in range(3):
        assert leaderboard(rows.sample(frac=1, random_state=seed)) == text


def test_negative_transfer_is_flagged_only_where_the_seeds_support_it(tmp_path):
    text = leaderboard(stored(tmp_path, cell("dann", 0.70), cell("nogrl", 0.749), cell("tent", 0.60, noise=[0] * 5)))
    assert "▼" in line(text, "dann", "# mnist-usps")[2]
    assert "▼" not in line(text, "nogrl", "# mnist-usps")[2]
    assert "▼" in line(text, "tent", "# mnist-usps")[2]


def test_a_class_that_is_never_recognised_is_flagged(tmp_path):
    rows = stored(
        tmp_path,
        cell("dann", 0.9, per_class=[0.9, 0.0, float("nan")]),
        cell("nogrl", 0.9, per_class=[0.1, float("nan")]),
    )
    text = leaderboard(rows)
    assert "∅" in line(text, "dann", "# mnist-usps")[2]
    assert "∅" not in line(text, "nogrl", "# mnist-usps")[2]


def test_gap_closed_stands_between_source_only_and_oracle(tmp_path):
    text = leaderboard(stored(tmp_path, cell("dann", 0.85), cell("target_supervised", 0.95)))
    assert line(text, "dann", "# mnist-usps")[3].startswith("+10.0 ±")
    assert line(text, "dann", "# mnist-usps")[4] == "50 %"


def test_gap_closed_is_blank_where_the_gap_is_within_the_noise(tmp_path):
    text = leaderboard(stored(tmp_path, cell("dann", 0.85), cell("target_supervised", 0.755)))
    assert line(text, "dann", "# mnist-usps")[4] == ""


def test_failures_and_refusals_are_named_with_their_reasons(tmp_path):
    nothing = {"accuracy": None, "accuracy_before": None, "per_class": None}
    rows = stored(
        tmp_path,
        cell("nogrl", 0.8),
        cell("dann", 0.8, seeds=3),
        cell("dann", 0.8, status="failed", reason="Diverged: the loss is <nan>\nat step 3", **nothing)[3:],
        cell("adabn", 0.8, status="refused", reason="no batch norm", **nothing),
    )
    text = leaderboard(rows)
    assert "- Failed: dann on mnist-usps, seeds 3, 4: Diverged: the loss is &lt;nan> at step 3" in text
    assert "- Refused: adabn on mnist-usps: no batch norm" in text
    assert line(text, "dann", "# mnist-usps")[2].endswith("(n=3)")


def test_a_family_of_failures_alone_still_stands_in_the_report(tmp_path):
    rows = stored(tmp_path, cell("dann", 0.8, accuracy=None, status="failed", reason="out of memory"))
    assert "Failed: dann on mnist-usps, seeds 0, 1, 2, 3, 4: out of memory" in leaderboard(rows)


def test_partial_data_reduced_budgets_and_stale_rows_are_footnotes(tmp_path):
    rows = stored(tmp_path, cell("dann", 0.8, partial="7 pictures missing", budget=0.1))
    text = leaderboard(rows, age=Age({rows["key"][0]: "harness"}, {}))
    assert "Partial data on mnist-usps: 7 pictures missing" in text
    assert "Reduced budget: 0.1" in text
    assert "† Made by other code than today's: 1 row." in text


def test_a_row_by_todays_code_replaces_the_stale_one(tmp_path):
    rows = stored(tmp_path, cell("dann", 0.5, created="2026-02-01"), cell("dann", 0.9, created="2026-01-01"))
    old = dict.fromkeys(rows.loc[rows["created"] == "2026-02-01", "key"], "method")
    assert line(leaderboard(rows, age=Age(old, {})), "dann", "# mnist-usps")[2].startswith("90.0")
    assert line(leaderboard(rows), "dann", "# mnist-usps")[2].startswith("50.0")  # else the newest


def test_published_numbers_stand_beside_ours_under_the_same_protocol_and_backbone_only(tmp_path):
    references = [
        Reference("mnist-usps", "dann", 85.1, None, "full", "lenet", "MCD table 1"),
        Reference("mnist-usps", "dann[lr=0.1]", 70.0, 1.5, "full", "lenet", "MCD table 1"),
        Reference("mnist-usps", "dann", 77.1, 1.8, "p1", "lenet", "ADDA table 2"),
        Reference("mnist-usps", "cdan", 93.9, None, "full", "lenet", "CDAN"),
    ]
    rows = stored(tmp_path, cell("dann", 0.9), cell("dann", 0.8, variant="dann[lr=0.1]"), cell("nogrl", 0.8))
    text = leaderboard(rows, references)
    assert line(text, "dann", "# mnist-usps")[3] == "85.1 [2]"
    assert line(text, "dann[lr=0.1]", "# mnist-usps")[2:4] == ["80.0 ± 0.4", "70.0 ± 1.5 [2]"]
    assert line(text, "cdan", "# mnist-usps")[2:4] == ["-", "93.9 [1]"]
    assert "Published: [1] CDAN; [2] MCD table 1." in text
    assert "77.1" not in text


def test_a_published_number_stands_beside_each_start_of_training_whatever_the_order_of_the_rows(tmp_path):
    reference = Reference("mnist-usps", "dann", 85.1, None, "full", "lenet", "MCD table 1")
    rows = stored(
        tmp_path, cell("dann", 0.9), cell("dann", 0.8, start="initial-weights"), cell("dann", 0.5, budget=0.5)
    )
    for each in (rows, rows.iloc[::-1]):
        table = leaderboard(each, [reference]).partition("## Published numbers")[2].partition("##")[0]
        assert re.findall(r"85\.1 \| (.*?) \|", table) == ["90.0 ± 0.4", "80.0 ± 0.4, from the initial weights"]


def test_variants_and_trials_stay_out_of_the_board(tmp_path):
    rows = stored(tmp_path, cell("dann", 0.8), cell("dann", 0.9, variant="dann[lr=0.1]"), cell("nogrl", 0.7))
    board = leaderboard(rows).partition("# mnist-usps\n")[0]
    assert "dann[lr=0.1]" not in board
    assert suite_line(board, "dann")[4] == "1.0"


def checkpoints(snd, accuracy=(0.6, 0.9, 0.8)):
    return {"checkpoint_accuracy": list(accuracy), "checkpoint_scores": {"snd": list(snd)}}


def test_select_takes_the_checkpoint_that_the_score_chooses(tmp_path):
    rows = stored(
        tmp_path, cell("dann", 0.8, noise=[0] * 5, **checkpoints([3, 1, float("nan")])), cell("source_only", 0.75)
    )
    assert line(leaderboard(rows), "dann", "# mnist-usps")[2].startswith("80.0")
    assert line(leaderboard(rows, select="snd"), "dann", "# mnist-usps")[2].startswith("60.0")
    assert line(leaderboard(rows, select="oracle"), "dann", "# mnist-usps")[2].startswith("90.0")
    assert line(leaderboard(rows, select="snd"), "source_only", "# mnist-usps")[2].startswith("75.0")


def test_an_unknown_score_is_refused_with_the_known_ones(tmp_path):
    rows = stored(tmp_path, cell("dann", 0.8, **checkpoints([1, 2, 3])))
    with pytest.raises(DabenchError, match="'sdn'; select one of: last, oracle, snd"):
        leaderboard(rows, select="sdn")


def test_rows_without_the_selected_score_are_named(tmp_path):
    unscored = {"checkpoint_accuracy": [0.5, 0.6], "checkpoint_scores": {"bnm": [1.0, 2.0]}}
    rows = stored(tmp_path, cell("dann", 0.8, **checkpoints([1, 2, 3])), cell("nogrl", 0.8, **unscored))
    text = leaderboard(rows, select="snd")
    assert "Without this score at their checkpoints, so not shown: nogrl on mnist-usps." in text


def test_the_selection_table_shows_choice_last_and_best(tmp_path):
    text = leaderboard(stored(tmp_path, cell("dann", 0.8, noise=[0] * 5, **checkpoints([3, 1, 2]))))
    table = text[text.index("Choosing the checkpoint") :]
    assert "| dann | 80.0 | 60.0 | 90.0 | 10.0 |" in table


def test_validators_are_ranked_by_correlation_and_regret(tmp_path):
    rows = stored(
        tmp_path,
        cell("dann", 0.8, noise=[0] * 5, **checkpoints([1, 3, 2])),
        cell("nogrl", 0.8, noise=[0] * 5, **checkpoints([3, 1, 2])),
    )
    text = leaderboard(rows)
    (found,) = (row for row in text.splitlines() if row.startswith("| unsupervised | snd "))
    correlation, over_methods, regret, runs = (part.strip() for part in found.strip("|").split("|")[2:])
    assert (correlation, over_methods, regret, runs) == ("0.00", "-", "15.0", "10")


def test_rank_correlation_agrees_with_scipy_and_skips_what_is_unknown():
    from scipy import stats

    generator = np.random.default_rng(0)
    first, second = generator.random((6, 10)), generator.random((6, 10)).round(1)
    first[0, 3] = second[1, 4] = np.nan
    second[2] = 0.5
    found = selection.rank_correlation(first, second)
    for index in (0, 1, 3, 4, 5):
        known = ~(np.isnan(first[index]) | np.isnan(second[index]))
        assert found[index] == pytest.approx(stats.spearmanr(first[index][known], second[index][known]).statistic)
    assert np.isnan(found[2])


def test_an_empty_store_says_so(tmp_path):
    assert "No method has a result on a task of the suite yet" in leaderboard(markdown.load(tmp_path))


def cost_of_a_report(rows):
    """What tests/bench_report.py measures of so many rows."""
    command = [sys.executable, str(Path(__file__).with_name("bench_report.py")), str(rows)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_the_command_reports_a_hundred_thousand_rows_in_ten_seconds_of_processor_time():
    assert cost_of_a_report(100_000)["seconds"] < 10  # half of that where no other process takes the caches


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_rows_are_reported_in_a_minute_of_processor_time_and_four_gibibytes():
    cost = cost_of_a_report(1_000_000)
    assert cost["seconds"] < 60
    assert cost["MiB"] < 4096


def test_a_frame_of_python_lists_reports_like_the_one_in_arrow(tmp_path):
    rows = stored(tmp_path, cell("dann", 0.9, **checkpoints([1, 3, 2])), cell("nogrl", 0.8))
    by_hand = pd.DataFrame(store.frame(tmp_path, markdown.COLUMNS).to_dict("records"))
    assert leaderboard(by_hand) == leaderboard(rows)


def test_the_schema_page_is_what_the_store_documents():
    page = (Path(__file__).parents[1] / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == schema.schema_page(), "write schema.schema_page() to docs/results.md"


def test_latex_marks_the_best_group_and_escapes_names(tmp_path):
    rows = stored(
        tmp_path, cell("dann", 0.9), cell("nogrl", 0.8, noise=[0.001, 0, 0.002, 0, 0]), cell("source_only", 0.7)
    )
    text = latex.tables(Leaderboard(rows))
    assert r"unsupervised & dann & $\mathbf{90.0 \pm 0.4}$ \\" in text
    assert r"source\_only" in text
    assert text.count(r"\begin{tabular}{llr}") == text.count(r"\bottomrule") == 1


def answers(right, of=100, seed=0):
    """Predictions of two classes on the same test images, the first `right` of them correct."""
    truth = np.tile([0, 1], of // 2).astype(np.uint8)
    predictions = np.where(np.arange(of) < right, truth, 1 - truth).astype(np.uint8)
    return {
        "predictions": predictions.tobytes(),
        "predictions_before": truth.tobytes(),
        "truth": truth.tobytes(),
        "n_test": of,
    }


def test_the_wider_interval_adds_the_test_images_to_the_seeds(tmp_path):
    rows = stored(tmp_path, cell("dann", 0.8, noise=[0] * 5, **answers(80)), cell("nogrl", 0.8))
    text = leaderboard(rows)
    half = 1.959964 * np.sqrt(0.8 * 0.2 / 100)
    assert line(text, "dann", "# mnist-usps")[-1] == f"80.0 ± {100 * half:.1f}"
    assert line(text, "nogrl", "# mnist-usps")[-1] == ""  # no predictions, no claim about images


@pytest.mark.parametrize(("images", "bold"), [(100, True), (10_000, False)])
def test_few_test_images_keep_methods_together_that_many_tell_apart(tmp_path, images, bold):
    rights = {"dann": 0.82, "nogrl": 0.80}
    cells = [cell(name, right, noise=[0] * 5, **answers(int(right * images), images)) for name, right in rights.items()]
    found = line(leaderboard(stored(tmp_path, *cells)), "nogrl", "# mnist-usps")[2]
    assert found.startswith("**") == bold


def test_a_class_that_is_predicted_though_never_rightly_is_no_collapse(tmp_path):
    wrong = {"per_class": [0.5, 0.0], "n_test": 4, "truth": bytes([0, 0, 1, 1]), "predictions_before": bytes(4)}
    rows = stored(
        tmp_path,
        cell("dann", 0.5, predictions=bytes([0, 1, 0, 0]), **wrong),
        cell("nogrl", 0.5, predictions=bytes([0, 0, 0, 0]), **wrong),
    )
    text = leaderboard(rows)
    assert "∅" not in line(text, "dann", "# mnist-usps")[2]
    assert "∅" in line(text, "nogrl", "# mnist-usps")[2]


def search(*trials, **values):
    facts = {"task": "mnist-usps", "method": "dann", "variant": "dann", "protocol": "full", "backbone": "lenet"}
    facts |= {"image_size": 28, "budget": 1.0, "labels": 0, "target_images": -1, "seeds": (0, 1), "select": "snd"}
    return searches.Study(sampler="TPE, seed 0", **{**facts, **values}, trials=trials)


def trial(rows):
    return searches.Trial(rows[0]["variant"], tuple(row["key"] for row in rows))


def test_tuning_shows_default_choice_oracle_and_trials_and_nothing_elsewhere(tmp_path):
    default = cell("dann", 0.80, seeds=2, **checkpoints([1, 1, 1]))
    chosen = cell("dann", 0.70, seeds=2, variant="dann[lr=0.1]", **checkpoints([1, 1, 3]))
    best = cell("dann", 0.90, seeds=2, variant="dann[lr=0.2]", **checkpoints([9, 9, 2]))
    lost = cell("dann", 0.99, seeds=2, variant="dann[lr=0.3]", **checkpoints([9, 9, 9]))
    study = search(trial(default), trial(chosen), trial(best), trial(lost))
    rows = stored(tmp_path, default, chosen, best, lost[:1])
    board, _, section = leaderboard(rows, studies=[study]).partition("# Hyper-parameter searches")
    assert "dann[" not in board
    (found,) = (row for row in section.splitlines() if row.startswith("| mnist-usps"))
    task, method, trials, seeds, start, by_score, score, by_oracle = (
        part.strip() for part in found.strip("|").split("|")
    )
    assert (task, method, seeds, score) == ("mnist-usps", "dann", "2", "snd")
    assert trials == "4 (1 without result)"  # the trial that lacks a seed is no candidate, and is not filled in
    assert start.startswith("80.2")
    assert by_score.startswith("70.2")
    assert by_score.endswith("`[lr=0.1]`")
    assert by_oracle.startswith("90.2")
    assert by_oracle.endswith("`[lr=0.2]`")


def three_by_three():
    methods = ("dann", "nogrl", "adabn")
    return [
        cell(method, 0.7 + 0.05 * at + 0.01 * number, task=f"t{number}", setting="unsupervised")
        for at, method in enumerate(methods)
        for number in range(4)
    ]


def test_the_figure_of_the_gaps_is_of_the_suite_and_needs_an_upper_bound(tmp_path):
    tasks = ("mnist-usps", "usps-mnist")
    cells = [
        cell(method, accuracy, task=task) for method, accuracy in (("dann", 0.8), ("nogrl", 0.9)) for task in tasks
    ]
    upper = [cell("target_supervised", 0.95, task=task, labels=-1) for task in tasks]
    assert pages.gaps(Leaderboard(stored(tmp_path / "without", *cells))) is None
    rows = stored(tmp_path / "with", *cells, *upper, cell("adabn", 0.9, task="svhn-mnist"))
    drawn = pages.gaps(Leaderboard(rows))
    assert drawn == pages.gaps(Leaderboard(rows.sample(frac=1, random_state=1)))
    written = re.findall(r">([^<>]+)</text>", drawn)
    assert {"dann", "nogrl", "unsupervised (2 tasks)"} <= set(written)
    assert "adabn" not in written
    assert any(text.startswith("25 [") for text in written)


def test_a_diagram_leaves_out_the_task_that_a_method_lacks(tmp_path):
    (ranking,) = Leaderboard(stored(tmp_path, *three_by_three()[:-1])).rankings
    assert list(ranking.accuracy.index) == ["t0", "t1", "t2"]
    assert ranking.lacking == {"t3": ["adabn"]}
    assert not ranking.accuracy.isna().any(axis=None)


@pytest.mark.slow
def test_latex_compiles(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("install pdflatex with booktabs to compile the tables")
    rows = stored(
        tmp_path, cell("dann", 0.9), cell("nogrl", 0.8), cell("dann", 0.7, variant="dann[lr=0.1]", created="")
    )
    tables = latex.tables(Leaderboard(rows))
    page = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + tables + "\\end{document}\n"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout


def test_a_readme_gets_the_table_of_choices_between_its_marks_and_no_other_change(tmp_path):
    board = Leaderboard(pd.DataFrame([*cell("source_only", 0.75), *cell("dann", 0.85)]))
    start, end = pages._README
    text = pages.summarised(f"before\n{start}old\n{end}after\n", board)
    assert text == f"before\n{start}\n{suite.table_of_choices(board)}\n{end}after\n"
    assert pages.summarised(text, board) == text
    assert pages.summarised("# a readme without marks\n", board) == ""
    assert pages.summarised((Path(__file__).parents[1] / "README.md").read_text(), board) != ""
