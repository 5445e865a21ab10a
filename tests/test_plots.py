import re

import pandas as pd
import pytest

from dabench.core import DabenchError
from dabench.evaluation import tables
from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import figure, plots

SETTINGS = {"source_only": "source-only", "dann": "unsupervised", "nogrl": "unsupervised", "mcd": "unsupervised"}


def rows(*cells):
    """Rows of (method, labels, accuracies over seeds[, changed columns])."""
    made = []
    for method, labels, accuracies, *changed in cells:
        for seed, accuracy in enumerate(accuracies):
            row = {
                **dict.fromkeys(tables.COLUMNS),
                **{"task": "mnist-usps", "family": "digits", "protocol": "full", "backbone": "lenet"},
                **{"image_size": 28, "budget": 1.0, "target_images": -1, "labels": labels, "seed": seed},
                **{"method": method, "variant": method, "setting": SETTINGS.get(method, "supervised")},
                **{"status": "ok", "accuracy": accuracy, "accuracy_before": 0.7, "n_test": 1000, "seconds": 5.0},
                **(changed[0] if changed else {}),
            }
            made.append({**row, "key": f"{method} {labels} {seed} {row['task']}"})
    return Leaderboard(pd.DataFrame(made))


CURVE = (
    ("source_only", 0, [0.70, 0.71, 0.70]),
    ("dann", 0, [0.80, 0.81, 0.80]),
    ("nogrl", 0, [0.75, 0.76, 0.75]),
    ("adapternet", 1, [0.72, 0.73, 0.71]),
    ("adapternet", 10, [0.85, 0.86, 0.85]),
    ("adapternet", -1, [0.90, 0.91, 0.90]),
)


def test_the_sentence_names_the_budget_from_which_on_labels_win():
    words = plots.labels(rows(*CURVE), "mnist-usps").words
    assert words.startswith("At 10 labels a class adapternet (85.3 ± 1.4 %) overtakes")
    assert "(dann, 80.3 ± 1.4 %)" in words


def test_a_curve_that_falls_back_overtakes_only_where_it_stays_ahead():
    fallen = [*CURVE[:3], ("adapternet", 1, [0.9, 0.9, 0.9]), ("adapternet", 3, [0.7, 0.7, 0.7]), CURVE[-1]]
    assert plots.labels(rows(*fallen), "mnist-usps").words.startswith("At all labels a class adapternet")


def test_a_curve_that_stays_below_says_so():
    assert "adapternet does not overtake" in plots.labels(rows(*CURVE[:4]), "mnist-usps").words


def test_a_budget_that_a_method_lacks_is_a_gap_and_not_made_up():
    plot = plots.labels(rows(*CURVE, ("finetune_last1", 10, [0.8, 0.8])), "mnist-usps")
    assert plot.header == ["setting", "method", "1", "10", "all"]
    (line,) = [line for line in plot.lines if line[1] == "finetune_last1"]
    assert line[2:] == ["-", "80.0 ± 0.0", "-"]


def test_the_front_holds_what_none_beats_in_both():
    slow, best = {"seconds": 9.0}, {"seconds": 20.0}
    plot = plots.cost(rows(CURVE[1], (*CURVE[2], slow), ("mcd", 0, [0.9, 0.9], best)), "mnist-usps")
    assert [(line[1], line[-1]) for line in plot.lines] == [("dann", "yes"), ("nogrl", ""), ("mcd", "yes")]


def test_ranks_leave_out_the_task_that_one_method_lacks():
    cells = [
        (method, 0, [accuracy], {"task": task})
        for task in ("a", "b", "c", "d")
        for method, accuracy in (("dann", 0.9), ("nogrl", 0.8), ("mcd", 0.7))
        if (task, method) != ("d", "mcd")
    ]
    plot = plots.ranks(rows(*cells), "unsupervised")
    assert [line[:2] for line in plot.lines] == [["dann", "1.00"], ["nogrl", "2.00"], ["mcd", "3.00"]]
    assert "over 3 tasks" in plot.words


@pytest.mark.parametrize("kind", figure.KINDS)
def test_a_figure_is_the_same_byte_for_byte_in_any_order_of_the_rows(kind):
    table = rows(*CURVE)
    first = figure.saved(plots.labels(table, "mnist-usps").figure, kind)
    again = figure.saved(
        plots.labels(Leaderboard(table.stored.sample(frac=1, random_state=1)), "mnist-usps").figure, kind
    )
    assert first == again


def test_what_cannot_be_drawn_is_refused_with_a_remedy():
    with pytest.raises(DabenchError, match="no finished cells of the task 'mnits-usps'; did you mean 'mnist-usps'"):
        plots.labels(rows(*CURVE), "mnits-usps")
    with pytest.raises(DabenchError, match="run one with --labels"):
        plots.labels(rows(*CURVE[:3]), "mnist-usps")
    with pytest.raises(DabenchError, match="need 3 methods on 3 tasks"):
        plots.ranks(rows(*CURVE), "unsupervised")
    with pytest.raises(DabenchError, match=r"cannot draw a '.gif' file"):
        figure.saved(plots.labels(rows(*CURVE), "mnist-usps").figure, "gif")


@pytest.mark.parametrize("kind", ["svg", "pdf"])
@pytest.mark.parametrize("width", [3.3, 6.9])
def test_a_figure_is_as_wide_as_asked_with_its_legend(kind, width):
    content = figure.saved(plots.labels(rows(*CURVE), "mnist-usps", width).figure, kind).decode("latin-1")
    found = re.search(r'width="([\d.]+)pt"' if kind == "svg" else r"/MediaBox \[ 0 0 ([\d.]+)", content)
    assert float(found[1]) == pytest.approx(72 * width)


def test_a_narrow_figures_legend_hides_no_name_of_an_axis():
    drawn = plots.labels(rows(*CURVE), "mnist-usps", 3.3).figure
    drawn.draw_without_rendering()
    legend = drawn.legends[0].get_window_extent()
    assert drawn.get_supxlabel() == "target labels a class"
    for name in (drawn._supxlabel, drawn.axes[0].yaxis.label, drawn.axes[0].title):
        assert not legend.overlaps(name.get_window_extent())


def test_names_that_would_overprint_are_left_out_of_the_picture_and_named_below_it():
    crowd = [(f"m{at}", 0, [0.8, 0.8], {"setting": "unsupervised"}) for at in range(9)]
    plot = plots.cost(rows(*crowd, CURVE[0]), "mnist-usps")
    drawn = {text.get_text() for text in plot.figure.axes[0].texts}
    left_out = set(plot.words.partition(": ")[2].rstrip(".").split(", "))
    assert drawn | left_out == {line[1] for line in plot.lines}
    assert left_out
    assert not drawn & left_out


def test_heights_keep_their_order_and_are_moved_apart_around_their_middle():
    assert list(figure.apart([50, 10, 50.5, 90], 4)) == [48.25, 10, 52.25, 90]
    assert list(figure.apart([1, 1, 1], 2)) == [-1, 1, 3]


def test_only_what_tells_most_of_those_without_labels_is_drawn_across():
    names = {text.get_text() for text in plots.labels(rows(*CURVE), "mnist-usps").figure.axes[0].texts}
    assert names == {"source_only", "dann"}  # nogrl is of dann's setting and below it
