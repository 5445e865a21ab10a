import pytest

from dabench import registry
from dabench.core import ALL, DabenchError
from dabench.report import curves as pages
from dabench.results import store
from dabench.run import curves, plan, sweep
from dabench.run.plan import Environment, Request


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Shared, so that each task's images are drawn and fingerprinted once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folders(tmp_path, cache):
    return tmp_path / "data", cache, tmp_path / "results"


def drawn(folders, parameter, values, methods="source_only", task="shapes-rotated"):
    data, cache, results = folders
    request = Request(tasks=(), methods=(), seeds=(0,), budget=0.01)
    (found,), chosen = registry.tasks(task), registry.methods(methods)
    return curves.curve(found, chosen, parameter, values, request, lambda each: plan.plan(each, data, cache, results))


def fake_rows(curve, accuracy):
    """A row for each cell, its accuracy by the cell."""
    return [{"key": cell.key, "status": "ok", "accuracy": accuracy(cell)} for cell in curve.curve.cells]


def test_a_range_of_values_holds_both_its_ends():
    assert curves.values("0:60:20", "angle") == (0, 20, 40, 60)
    assert curves.values("0.05,0.2:0.4:0.1", "mask_rate") == (0.05, 0.2, 0.3, 0.4)


def test_label_budgets_read_as_on_the_command_line():
    assert curves.values("1,10,all", "labels") == (1, 10, ALL)


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("", "angle"),
        ("0:10:0", "angle"),
        ("10:0:1", "angle"),
        ("x", "angle"),
        ("0:1e9:1e-9", "angle"),
        ("0", "labels"),
        ("0.5", "target_images"),
    ],
)
def test_values_that_cannot_be_are_named(text, parameter):
    with pytest.raises(DabenchError, match="--values"):
        curves.values(text, parameter)


def test_the_cameras_own_value_is_the_task_itself_so_stored_rows_count(folders):
    at_own, elsewhere = drawn(folders, "angle", (150.0, 90.0)).cells
    assert at_own.identity["task"] == "shapes-rotated"
    assert elsewhere.identity["task"] == "shapes-rotated[angle=90]"


def test_a_hyper_parameters_default_is_the_plain_method_and_others_stand_level(folders):
    curve = drawn(folders, "depth", (5.0, 2.0), "adapternet,source_only")
    values = [cell.value for cell in curve.curve.cells]
    labels = [planned.cell.variant.label for planned in curve.cells]
    assert list(zip(values, labels, strict=True)) == [
        (5.0, "adapternet"),
        (2.0, "adapternet[depth=2]"),
        (None, "source_only"),
    ]


@pytest.mark.parametrize("moves", [True, False], ids=["by the camera", "by a hyper-parameter"])
def test_the_source_model_stands_in_every_curve_as_the_methods_rows_saw_it(folders, moves):
    curve = drawn(folders, "angle" if moves else "depth", (5.0, 2.0), "adapternet").curve
    before = {5.0: 0.4, 2.0: 0.3 if moves else 0.4}
    rows = [
        {"key": cell.key, "status": "ok", "seed": 0, "accuracy": 0.6, "accuracy_before": before[cell.value]}
        for cell in curve.cells
    ]
    method, source = pages.lines(curve, rows)
    assert (method.name, source.name, source.level) == ("adapternet", "source_only", not moves)
    assert [mean for mean, _ in source.figures] == ([0.4, 0.3] if moves else [0.4])
    assert "source_only" in pages.svg(curve, (method, source))


def test_a_method_keeps_what_it_was_given_beside_the_varied_parameter(folders):
    (cell,) = drawn(folders, "depth", (2.0,), "adapternet[lr=0.01]").cells
    assert cell.cell.variant.label == "adapternet[depth=2,lr=0.01]"


def test_an_unknown_parameter_suggests_the_nearest(folders):
    with pytest.raises(DabenchError, match="angle"):
        drawn(folders, "angel", (1.0,))


def test_the_best_method_without_labels_is_the_band_of_a_label_curve(folders):
    curve = drawn(folders, "labels", (1, ALL), "finetune_last1,source_only,adabn")
    level = {"source_only": 0.4, "adabn": 0.6}
    rows = fake_rows(curve, lambda cell: level.get(cell.line, 0.9 if cell.value == ALL else 0.5))
    found = pages.lines(curve.curve, rows)
    assert pages.band(found).name == "adabn"
    (moving,) = [line for line in found if not line.level]
    assert [mean for mean, _ in moving.figures] == [0.5, 0.9]


def test_a_curve_over_target_images_bounds_them_for_who_sees_them(folders):
    curve = drawn(folders, "target_images", (10, ALL), "adabn,dann,source_only")
    bounds = [
        (point.value, planned.cell.variant.name, planned.cell.target_images)
        for point, planned in zip(curve.curve.cells, curve.cells, strict=True)
    ]
    seen = [(value, name, value) for value in (10, ALL) for name in ("adabn", "dann")]
    assert bounds == [*seen, (None, "source_only", ALL)]
    found = pages.lines(curve.curve, fake_rows(curve, lambda cell: 0.5 if cell.value == 10 else 0.7))
    page = pages.markdown(curve.curve, found)
    assert "accuracy against target images" in page
    assert [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|")][2:] == ["10", "all"]


def test_a_curve_over_target_images_needs_a_method_that_sees_them(folders):
    with pytest.raises(DabenchError, match="no parameter 'target_images'"):
        drawn(folders, "target_images", (10,), "source_only")


def test_a_curve_without_results_says_so(folders):
    curve = drawn(folders, "angle", (90.0,))
    assert "No cell of this curve has a result" in pages.markdown(curve.curve, pages.lines(curve.curve, []))


def test_the_camera_of_a_task_in_a_file_is_varied_in_that_file(folders):
    task = registry.tasks("shapes-rotated")[0][1]
    chosen, request = registry.methods("source_only"), Request(tasks=(), methods=())
    with pytest.raises(DabenchError, match=r"write its angle in the task's file"):
        curves.points(("own.py::own", task), chosen, "angle", (10.0,), request)


def test_a_curve_runs_end_to_end_and_its_files_are_the_same_bytes_again(folders, tiny_task):
    data, cache, results = folders

    def curve():
        return drawn(folders, "lr", (0.001, 0.1), "finetune_last1,source_only", str(tiny_task))

    place = Environment("cpu", 1, data, cache)
    sweep.run(curve().cells, place, results, workers=1, listen=lambda word: None)

    def written():
        again = curve()
        assert all(planned.state is plan.State.CACHED for planned in again.cells)
        return [path.read_bytes() for path in pages.write(results, again.curve, store.load(results).to_pylist())]

    table, plot = first = written()
    assert table.count(b"\n|") == 4
    assert b"<svg" in plot
    assert written() == first


@pytest.mark.slow
def test_a_curve_over_severity_has_a_point_for_each_angle(folders):
    data, cache, results = folders
    curve = drawn(folders, "angle", (0.0, 90.0, 150.0))
    sweep.run(curve.cells, Environment("cpu", 1, data, cache), results, workers=1, listen=lambda word: None)
    (line,) = pages.lines(curve.curve, store.load(results, pages.COLUMNS).to_pylist())
    assert len(line.figures) == 3
