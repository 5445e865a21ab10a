import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from dabench import cli, fingerprints, registry
from dabench.cli import options, outcome
from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import wording
from dabench.results import store

ENDLESS = "for _ in iter(int, 1): pass"

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Options for a cache and a data root that the tests of this file share."""
    return ["--cache", str(tmp_path_factory.mktemp("cache")), "--data", str(tmp_path_factory.mktemp("data"))]


@pytest.fixture
def dabench(capsys):
    """Runs the command line in this process: gives exit code, stdout and stderr."""

    def call(*arguments):
        fingerprints.method_code.cache_clear()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def sweep(dabench, folders, tiny_task, tmp_path):
    """`dabench run` on the tiny task, one seed and half the budget, with results in tmp_path / "results"."""

    def call(*arguments):
        return dabench(*command(tiny_task, folders, tmp_path / "results"), *arguments)

    return call


def command(task, folders, results):
    fixed = ["run", "--tasks", task, "--seeds", "1", "--budget", "0.5", "--workers", "1", "--results", results]
    return [str(part) for part in (*fixed, *folders)]


@contextmanager
def started(arguments):
    """A process of its own, which answers Ctrl-C although the tests may run where it is ignored, and ends in time."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "dabench", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, ours)
    with process:
        try:
            yield process
        finally:
            process.kill()


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--methods", "dnan"], "no method 'dnan'; did you mean 'dan'?"),
        (["run", "--tasks", "fonts-optdigit"], "no task 'fonts-optdigit'; did you mean 'fonts-optdigits'?"),
        (["run", "--methods", "dann[lrr=1]"], "has no parameter 'lrr'"),
        (["run", "--methods", "dann[lr=7]"], "choose a value from 1e-05 to 1.0"),
        (["run", "--seeds", "0"], "--seeds 0: give a count above 0"),
        (["run", "--seeds", "three"], "--seeds three"),
        (["run", "--seeds", "10001"], "--seeds 10001: give a count of 10,000 at most"),
        (["run", "--seeds", "1000000000"], "--seeds 1000000000: give a count, or seeds, below 1,000,000"),
        (["run", "--seeds", "0,1000000"], "--seeds 0,1000000: give a count, or seeds, below 1,000,000"),
        (["run", "--budget", "1e7"], "--budget 10000000.0: give a number of 1,000,000 at most"),
        (["run", "--budget", "-1"], "--budget -1.0: give a number above 0"),
        (["run", "--budget", "0"], "--budget 0.0: give a number above 0"),
        (["run", "--budget", "nan"], "--budget nan"),
        (["run", "--budget", "inf"], "--budget inf"),
        (["run", "--labels", "0"], "--labels 0: give counts a class above 0, or all"),
        (["run", "--labels", "3,few"], "--labels 3,few"),
        (["run", "--start", "nowhere"], "--start nowhere: choose source-model or initial-weights"),
        (["run", "--stream", "shuffeld"], "did you mean 'shuffled'"),
        (["run", "--target-images", "0"], "--target-images 0"),
        (["run", "--image-size", "0"], "--image-size 0"),
        (["run", "--workers", "0"], "--workers 0"),
        (["run", "--device", "tpu"], "no device 'tpu'; choose auto, cpu, cuda"),
        (["run", "--device", "cuda:99"], "no device 'cuda:99'"),
        (["run", "--protocol", "nope", "--tasks", "fonts-optdigits"], "has no protocol 'nope'; it has: holdout"),
        (["run", "--backbone", "resnet81", "--methods", "tent"], "no backbone 'resnet81'; did you mean 'resnet"),
        (["show", "nothing"], "write TASK/METHOD"),
        (["data", "download", "mnits"], "did you mean 'mnist'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_is_one_line_and_exit_2(dabench, tmp_path, monkeypatch, folders, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    places = folders if arguments[0] == "run" else []
    code, out, err = dabench(*arguments, *places)
    assert code == 2
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "results").exists()


def test_more_workers_than_cores_are_warned_of_and_as_many_are_not(tmp_path):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with pytest.warns(UserWarning, match=f"--workers {cores + 1} share {cores} cores"):
        options.place("cpu", cores + 1, 0, tmp_path, tmp_path)
    environment, _ = options.place("cpu", cores, 0, tmp_path, tmp_path)  # a warning would be an error
    assert environment.threads == 1


def test_debug_shows_the_traceback_wherever_it_stands(dabench):
    for arguments in (["--debug", "run", "--methods", "dnan"], ["run", "--methods", "dnan", "--debug"]):
        code, _, err = dabench(*arguments)
        assert code == 2
        assert "Traceback" in err


@pytest.mark.parametrize("error", [KeyError, EOFError])
def test_an_error_that_nobody_foresaw_is_one_line_and_exit_1(dabench, monkeypatch, error):
    def broken(text):
        raise error("a fault\nof ours")

    monkeypatch.setattr(registry, "tasks", broken)
    code, _, err = dabench("run")
    assert code == 1
    assert "a fault" in err
    assert "again with --debug" in err
    assert err.count("\n") == 1
    assert "Traceback" in dabench("run", "--debug")[2]


COMMANDS = [(), *((name,) for name in ("run", "curve", "reproduce", "tune", "verify", "export", "report", "serve"))]
COMMANDS += [("plot",), ("show",), ("check",), ("list", "tasks"), ("data", "download"), ("new", "task")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_80_columns(dabench, command):
    code, out, _ = dabench(*command, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80


def test_an_unknown_option_is_exit_2(dabench):
    code, _, err = dabench("run", "--seed", "3")
    assert code == 2
    assert "--seeds" in err


def test_a_results_folder_that_cannot_be_written_stops_before_the_first_cell(sweep, tmp_path):
    (tmp_path / "results").write_text("a file")
    code, _, err = sweep("--methods", "source_only")
    assert code == 2
    assert re.search("cannot write into .*results.*choose another folder with --results", err)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_results_folder_stops_before_the_first_cell(sweep, tmp_path):
    (tmp_path / "results").mkdir(mode=0o500)
    code, _, err = sweep("--methods", "source_only")
    assert code == 2
    assert "Permission denied" in err


def test_missing_data_alone_is_exit_2_and_beside_others_is_not(dabench, sweep, folders, tmp_path):
    code, out, _ = dabench("run", "--tasks", "mnist-usps", "--results", tmp_path / "results", *folders)
    assert code == 2
    assert "missing  mnist-usps" in out
    assert "dabench data download mnist" in out


# ------------------------------------------------------------------------------------------------- the sweep


def test_a_sweep_runs_stores_sums_up_and_is_not_run_again(sweep, tmp_path):
    code, out, err = sweep("--methods", "source_only,dann")
    assert code == 0, err
    assert "2 cells to run, 0 stored already" in out
    assert re.search(r"\[2/2\] digits-turned · \w+ · seed 0 +\d+\.\d %  +[+-]\d+\.\d", out)
    numbers = re.search(r"digits-turned  unsupervised +dann +\d+\.\d +[+-]\d+\.\d.* 1 *\n", out)
    assert "gain: over the source model" in out
    assert "next: dabench report" in out
    code, out, _ = sweep("--methods", "source_only,dann")
    assert code == 0
    assert "0 cells to run, 2 stored already" in out
    assert "these are the stored numbers; --force computes them afresh" in out
    assert numbers[0] in out


def test_the_table_of_a_run_has_the_leaderboards_intervals_and_each_entry_once():
    accuracies = {"source_only": [0.5] * 3, "finetune_all": [0.6, 0.7, 0.8]}
    cells = [("source_only", "source-only", -1), ("finetune_all", "supervised", 3), ("finetune_all", "supervised", -1)]
    rows = [
        {"key": f"{method} {labels} {seed}", "task": "t", "method": method, "setting": setting, "labels": labels}
        | {"seed": seed, "status": "ok", "accuracy": accuracy, "accuracy_before": 0.5}
        for method, setting, labels in cells
        for seed, accuracy in enumerate(accuracies[method])
    ]
    board = Leaderboard(pd.DataFrame(rows))
    header, lines = outcome.summary(board.entries)
    assert header == ["task", "setting", "method", "labels", "accuracy, %", "gain", "seeds"]
    assert sorted(line[2:4] for line in lines) == [["finetune_all", "3"], ["finetune_all", "all"], ["source_only", "-"]]
    gain = board.entries.loc[board.entries["method"] == "finetune_all", "gain_ci"].iloc[0]
    assert next(line for line in lines if line[3] == "all")[4:] == ["70.0 ± 24.8", wording.gain(0.2, gain), "3"]
    assert [line[0] for line in lines] == ["t", "", ""]


@pytest.mark.parametrize(
    ("option", "typed", "offered"),
    [
        ("--methods", "source_only,dan", "source_only,dann"),
        ("--tasks", "fonts", "fonts-optdigits"),
        ("--tasks", "su", "suite"),
    ],
)
def test_a_shell_completes_the_last_of_several_names(dabench, monkeypatch, option, typed, offered):
    monkeypatch.setenv("_DABENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"dabench run {option} {typed}")
    monkeypatch.setenv("COMP_CWORD", "3")
    code, out, _ = dabench()
    assert code == 0
    assert offered in out.split()
    assert all(each.startswith(typed) for each in out.split())


def test_a_failed_cell_is_listed_with_its_reason_and_exit_1(sweep, own_method):
    broken = own_method("broken", "raise ValueError('no [bold] luck')")
    code, out, err = sweep("--methods", f"{broken},source_only")
    assert code == 1
    assert "1 of 2 cells failed" in err
    assert "digits-turned · broken · seed 0: ValueError: no [bold] luck (broken.py, line 14)" in err
    assert "Traceback" not in err
    assert "source_only" in out
    code, _, err = sweep("--methods", str(broken), "--debug")
    assert "Traceback" in err


def test_a_dry_run_tells_what_would_happen_and_does_none_of_it(sweep, tmp_path):
    sweep("--methods", "source_only")
    code, out, _ = sweep("--methods", "source_only,tent,finetune_last1", "--seeds", "2", "--dry-run")
    assert code == 0
    assert "run      digits-turned: finetune_last1 x2, source_only, tent x2" in "".join(sorted_names(out))
    assert "cached   digits-turned: source_only" in out
    assert "6 cells: 5 run, 1 cached, 0 refused, 0 missing; about 0:00:" in out
    assert len(store.load(tmp_path / "results")) == 1


def sorted_names(out):
    """The lines with the methods in name order."""
    for line in out.splitlines(keepends=True):
        head, colon, names = line.rstrip("\n").partition(": ")
        yield head + colon + ", ".join(sorted(names.split(", "))) + "\n"


def test_force_runs_stored_cells_again(sweep):
    sweep("--methods", "source_only")
    _, out, _ = sweep("--methods", "source_only", "--force")
    assert "1 cells to run, 0 stored already" in out


def test_editing_a_method_reruns_its_cells_only_and_a_comment_none(sweep, own_method):
    first, second = own_method("first", "x = 1"), own_method("second", "x = 1")
    both = ["--methods", f"{first},{second}"]
    sweep(*both)
    own_method("first", "x = 1  # the one")
    assert "0 run, 2 cached" in sweep(*both, "--dry-run")[1]
    own_method("first", "x = 2")
    assert "run      digits-turned: first\n" in sweep(*both, "--dry-run")[1]
    assert "cached   digits-turned: second\n" in sweep(*both, "--dry-run")[1]


@pytest.mark.filterwarnings("default")
def test_a_corrupt_file_is_named_and_its_cells_run_again(sweep, tmp_path):
    sweep("--methods", "source_only,tent")
    corrupt = store.path_of(tmp_path / "results", "digits-turned", "tent")
    corrupt.write_bytes(b"PAR1 not any more")
    assert "tent.parquet is left out" in sweep("--methods", "source_only,tent", "--dry-run")[2]
    assert corrupt.read_bytes() == b"PAR1 not any more"
    code, out, err = sweep("--methods", "source_only,tent")
    assert code == 0
    assert "tent.parquet" in err
    assert "1 cells to run, 1 stored already" in out


def test_refusals_are_listed_and_are_no_failure(sweep):
    code, out, _ = sweep("--methods", "finetune_last1", "--protocol", "same")
    assert code == 0
    assert "refused  digits-turned: finetune_last1: protocol 'same' scores the images that adapt" in out


def test_show_prints_a_table_of_seeds_with_what_made_them_and_json_all(sweep, dabench, tmp_path):
    sweep("--methods", "adapternet[depth=2]", "--seeds", "4,7")
    code, out, _ = dabench("show", "digits-turned/adapternet", "--results", tmp_path / "results")
    assert code == 0
    title, head, *seeds = out.splitlines()
    assert title.startswith("digits-turned · adapternet[depth=2] · supervised · ")
    assert title.endswith("all labels · budget 0.5")
    assert head.split()[:2] == ["seed", "status"]
    assert [re.match(r"(\d)     ok +\d+\.\d +\d+\.\d +[+-]\d+\.\d", line)[1] for line in seeds[:2]] == ["4", "7"]
    assert "mean of 2 seeds: " in out
    assert "hyper-parameters: depth=2, " in out
    assert "made by: " in out
    assert max(map(len, out.splitlines())) < 160
    facts = json.loads(dabench("show", "digits-turned/adapternet", "--json", "--results", tmp_path / "results")[1])
    assert [row["seed"] for row in facts] == [4, 7]
    assert "checkpoint_scores" in facts[0]
    code, _, err = dabench("show", "digits-turned/dann", "--results", tmp_path / "results")
    assert code == 2
    assert "stored for it: adapternet[depth=2]" in err


def test_the_report_is_written_and_checked(sweep, dabench, tmp_path):
    board = tmp_path / "leaderboard.md"
    options = ["--results", tmp_path / "results", "--output", board]
    assert dabench("report", *options)[0] == 2
    sweep("--methods", "source_only,dann", "--seeds", "2")
    assert dabench("report", *options, "--check")[0] == 1
    assert dabench("report", *options)[0] == 0
    assert "digits-turned" in board.read_text()
    assert dabench("report", *options, "--check")[0] == 0
    board.write_text(board.read_text() + "edited")
    code, _, err = dabench("report", *options, "--check")
    assert code == 1
    assert "write it anew with `dabench report`" in err


def test_another_report_leaves_the_leaderboards_pages_alone(dabench, tmp_path):
    for file in (ROOT / "results").glob("*/*.parquet"):
        copied = tmp_path / "results" / file.relative_to(ROOT / "results")
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copied)
    board = tmp_path / "by-oracle.md"
    code, _, err = dabench("report", "--results", tmp_path / "results", "--output", board, "--select", "oracle")
    assert code == 0, err
    linked = set(re.findall(r"\]\(([^)#]+)\)", board.read_text())) - {"docs/reading.md"}
    assert "by-oracle-pages/mnist-usps/README.md" in linked
    assert all((tmp_path / page).is_file() for page in linked)
    assert (tmp_path / "by-oracle-pages" / "figures" / "gap-closed.svg").is_file()
    assert not [file for file in (tmp_path / "results").rglob("*") if file.suffix in (".md", ".svg")]


def test_the_report_names_the_tasks_that_have_no_row_and_what_they_need(sweep, dabench, tmp_path):
    sweep("--methods", "source_only")
    board = tmp_path / "leaderboard.md"
    assert dabench("report", "--results", tmp_path / "results", "--output", board)[0] == 0
    text = board.read_text()
    (not_run,) = re.findall(r"- Not run here, by the data they need: (.+)", text)
    assert "1 of svhn, mnist" in not_run
    assert sum(map(int, re.findall(r"(\d+) of ", not_run))) == len(registry.known_tasks())
    assert "[digits-turned](leaderboard-pages/digits-turned/README.md)" in text


@pytest.fixture
def aged(tmp_path):
    """Makes every stored row one of an older harness."""

    def make():
        rows = store.load(tmp_path / "results").to_pylist()
        store.write(tmp_path / "results", [{**row, "core_code": "older"} for row in rows])

    return make


def test_rows_of_an_older_harness_are_called_stale_everywhere_until_they_run_again(sweep, dabench, tmp_path, aged):
    board = tmp_path / "leaderboard.md"
    options = ["--results", tmp_path / "results", "--output", board]
    sweep("--methods", "source_only,dann")
    aged()
    assert "2 of the cached cells are stale" in sweep("--methods", "source_only,dann", "--dry-run")[1]
    code, _, err = dabench("report", *options)
    assert code == 0
    assert "2 rows are stale: the harness changed since" in err
    assert "of which 2 stale, the harness changed since." in board.read_text()
    code, _, err = dabench("report", *options, "--check")
    assert code == 0
    assert "2 rows are stale" in err
    sweep("--methods", "source_only,dann", "--force")
    assert "stale" not in dabench("report", *options)[2]
    assert "of which 2 not checked, the task is not here." in board.read_text()  # given by its file alone


def test_a_method_whose_file_is_gone_is_reported_as_unchecked(sweep, dabench, tmp_path, own_method):
    board = tmp_path / "leaderboard.md"
    file = own_method("passing")
    sweep("--methods", str(file))
    file.unlink()
    code, _, err = dabench("report", "--results", tmp_path / "results", "--output", board)
    assert code == 0
    assert "1 row is unchecked: the method and task is not known here" in err
    assert "1 not checked, the method and task is not here" in board.read_text()


def test_rows_leave_as_json_and_csv(sweep, dabench, tmp_path):
    sweep("--methods", "source_only")
    for kind in ("json", "csv", "latex"):
        file = tmp_path / f"rows.{kind}"
        assert dabench("report", "--results", tmp_path / "results", "--format", kind, "--output", file)[0] == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["method"] == "source_only"
    assert (tmp_path / "rows.csv").read_text().startswith("key,task,")
    assert "truth" not in row  # bytes are no text
    assert r"\toprule" in (tmp_path / "rows.latex").read_text()


# -------------------------------------------------------------------------------------------- lists and checks


def test_lists_speak_json(dabench):
    methods = {method["name"]: method for method in json.loads(dabench("list", "methods", "--json")[1])}
    assert methods["dann"]["setting"] == "unsupervised"
    assert methods["dann"]["parameters"]["lr"] == 0.01
    tasks = {task["name"]: task for task in json.loads(dabench("list", "tasks", "--json")[1])}
    assert tasks["fonts-optdigits"]["family"] == "quick"
    assert "fonts-optdigits" in dabench("list", "tasks")[1]
    assert "Ganin" in dabench("list", "methods")[1]


def test_data_status_says_what_is_missing(dabench, tmp_path):
    code, out, _ = dabench("data", "status", "--data", tmp_path)
    assert code == 0
    assert re.search(r"mnist +missing", out)


def test_check_passes_a_good_method_and_names_what_a_bad_one_breaks(dabench, own_method):
    code, out, _ = dabench("check", own_method("good_one"))
    assert code == 0
    assert "FAILED" not in out
    bad = own_method("bad_one", "for batch in target_data.batches(model): batch.target_labels")
    code, out, _ = dabench("check", bad)
    assert code == 1
    assert "asked for target_labels" in out


# ------------------------------------------------------------------------------------- interruptions, company


def until(process, words):
    """Reads the process's lines until one holds the words."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return
    pytest.fail(f"no '{words}' in {lines}: {process.stderr.read()}")


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(sweep, tiny_task, folders, tmp_path, own_method):
    methods = ["--methods", f"source_only,{own_method('endless', ENDLESS)}"]
    with started([*command(tiny_task, folders, tmp_path / "results"), *methods]) as process:
        until(process, "[1/2]")
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process of the command
        assert process.wait(60) == 130
        said = process.stderr.read()
    assert said == "interrupted: finished cells are kept; the same command goes on where this one stopped\n"
    assert "1 run, 1 cached" in sweep(*methods, "--dry-run")[1]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the processes of Linux")
def test_kill_loses_the_running_cell_alone_and_leaves_no_worker(sweep, tiny_task, folders, tmp_path, own_method):
    methods = ["--methods", f"source_only,{own_method('endless', ENDLESS)}", "--workers", "2"]
    with started([*command(tiny_task, folders, tmp_path / "results"), *methods]) as process:
        until(process, "[1/2]")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    assert store.corrupt(tmp_path / "results") == []
    assert "1 run, 1 cached" in sweep(*methods, "--dry-run")[1]
    assert children
    for child in children:
        while alive(child):
            pass


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_sweeps_at_once_share_a_results_folder(tiny_task, folders, tmp_path):
    arguments = [*command(tiny_task, folders, tmp_path / "results"), "--methods", "source_only,tent,dann"]
    with started(arguments) as first, started(arguments) as second:
        assert (first.wait(120), second.wait(120)) == (0, 0)
    rows = store.load(tmp_path / "results").to_pylist()
    assert sorted(row["method"] for row in rows) == ["dann", "source_only", "tent"]
    assert {row["status"] for row in rows} == {"ok"}
    assert store.corrupt(tmp_path / "results") == []
