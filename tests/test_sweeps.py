"""What is known of a sweep while it runs and after: from its own files, and from the rows."""

import json
import os
import time

import pytest

from dabench import registry
from dabench.cli import main
from dabench.report import serve
from dabench.results import store, sweeps
from dabench.results.sweeps import Expected
from dabench.run import plan, sweep
from dabench.run.engines.contract import Finished, Progress, row_of
from dabench.run.plan import Environment, Request


def row(key, status="ok", created="2026-01-01T00:00:00+00:00"):
    return {"key": key, "task": "a-b", "method": "m", "variant": "m", "status": status, "created": created}


def stop_after(results, cells, tell=id):
    """A sweep that Ctrl-C ends after what `tell` says to its record."""

    def begin():
        with sweeps.recorded(results, "local", 1, cells) as record:
            tell(record)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()


@pytest.fixture
def told(capsys):
    """What `dabench status --json` prints."""

    def call(results):
        with pytest.raises(SystemExit) as ended:
            main(["status", "--results", str(results), "--json"])
        assert not ended.value.code
        return json.loads(capsys.readouterr().out)

    return call


def test_a_running_sweep_says_what_is_done_running_and_left_and_when_it_ends(tmp_path, monkeypatch, told):
    cells = {"a": Expected("A", 10.0), "b": Expected("B", 10.0), "c": Expected("C", 10.0), "d": Expected("D", 30.0)}
    cells["e"] = Expected("E", 10.0)
    with sweeps.recorded(tmp_path, "local", 2, cells) as record:
        began = sweeps.read(tmp_path)[0].plan.started
        assert sweeps.read(tmp_path)[0].seconds_left == 35, "70 expected seconds, two at once"
        record.ended("a", "ok", "")
        record.ended("b", "failed", "ValueError: no")
        record.runs("c", "adapting", 3, 8)
        record.runs("e", sweeps.QUEUED, 0, 1)
        monkeypatch.setattr(time, "time", lambda: began + 40)
        record.tell("running")
        (found,) = told(tmp_path)
    assert (found["cells"], found["ended"], found["queued"], found["left"]) == (5, {"ok": 1, "failed": 1}, 1, 1)
    assert found["running"] == [{"label": "C", "stage": "adapting", "step": 3, "steps": 8}]
    assert found["reasons"] == [{"cell": "B", "status": "failed", "reason": "ValueError: no"}]
    assert found["seconds_left"] == pytest.approx(100), "20 expected seconds took 40, and 50 are left"
    assert told(tmp_path)[0]["state"] == "over"


def test_a_sweep_that_was_stopped_is_told_from_one_that_died_and_from_one_elsewhere(tmp_path):
    stop_after(tmp_path, {"a": Expected("A")})
    assert sweeps.read(tmp_path)[0].state == "interrupted"
    (folder,) = (tmp_path / ".sweeps").iterdir()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    stored = json.loads((folder / "plan.json").read_text())
    for number, (changes, silent, state) in enumerate(
        [({"process": child}, 0, "lost"), ({"host": "other"}, 0, "running"), ({"host": "other"}, 1e3, "lost")]
    ):
        other = tmp_path / str(number) / ".sweeps" / "x"
        other.mkdir(parents=True)
        (other / "plan.json").write_text(json.dumps(stored | changes))
        (other / "now.json").write_text(json.dumps({"heard": time.time() - silent, "state": "running", "running": {}}))
        assert sweeps.read(tmp_path / str(number))[0].state == state


def test_rows_that_come_after_a_sweep_stopped_count_and_older_ones_do_not(tmp_path, told):
    store.write(tmp_path, [row("a", "failed"), row("b", "failed")])
    made = store.made(tmp_path, {"a", "b", "c"})
    cells = {key: Expected(key, before=made.get(key)) for key in "abc"}
    stop_after(tmp_path, cells)
    assert told(tmp_path)[0]["left"] == 3
    store.write(tmp_path, [row("a", created="2026-01-02T00:00:00+00:00"), row("c")], part="job")
    (found,) = told(tmp_path)
    assert (found["ended"], found["left"]) == ({"ok": 2}, 1)


def test_old_sweeps_are_forgotten_and_the_logs_beside_them_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "KEPT", 1)
    for number in range(3):
        with sweeps.recorded(tmp_path, "local", 1, {"a": Expected(str(number))}):
            pass
        if not number:
            (log := tmp_path / ".sweeps" / sweeps.read(tmp_path)[0].name / "job.log").write_text("it failed")
    assert sorted(each.plan.cells["a"].label for each in sweeps.read(tmp_path)) == ["1", "2"]
    assert log.read_text() == "it failed"


class Recited:
    """An engine that says a word of each cell, and then how it ended."""

    name, at_once = "recited", 2

    def __init__(self, looks):
        self.looks = looks

    def compute(self, waiting, environment, results, listen, cell_timeout):
        for each in waiting:
            listen(Progress(each, 0, "adapting", 1, 2, 0.0, 1.0))
            time.sleep(2 * sweeps.HEARTBEAT)
            self.looks.append((sweeps.read(results)[0], serve.progress(results)))
            failed = row_of(each, "failed", "it broke", environment)
            yield Finished(each, 0, failed if each is waiting[0] else None, "it broke")


def test_every_engine_is_followed_while_it_computes_and_the_page_says_the_same(tiny_task, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "HEARTBEAT", 0.05)
    request = Request(tasks=registry.tasks(str(tiny_task)), methods=registry.methods("source_only,adabn"), seeds=(0,))
    cells = plan.plan(request, tmp_path, tmp_path, tmp_path / "results")
    looks = []
    sweep.carry_out(
        cells, Environment("cpu", 1, tmp_path, tmp_path), tmp_path / "results", engine=Recited(looks), listen=id
    )
    assert [(each.running[0].label, dict(each.ended), each.left) for each, _ in looks] == [
        (cells[0].label, {}, 1),
        (cells[1].label, {"failed": 1}, 0),
    ]
    assert "1 of 2 cells ended, 1 failed; running: digits-turned" in looks[1][1]
    last = sweeps.read(tmp_path / "results")[0]
    assert (last.state, dict(last.ended)) == ("over", {"failed": 1, "missing": 1})
    assert serve.progress(tmp_path / "results") == ""


def test_a_person_reads_what_failed_and_how_to_go_on(tmp_path, capsys):
    stop_after(
        tmp_path, {"a": Expected("A"), "b": Expected("B")}, lambda record: record.ended("a", "failed", "it broke")
    )
    with pytest.raises(SystemExit):
        main(["status", "--results", str(tmp_path)])
    text = capsys.readouterr().out
    assert "A: failed: it broke" in text
    assert "it was interrupted; the same command goes on" in text


@pytest.mark.parametrize("name", ["plan.json", "now.json", "ended.jsonl"])
def test_what_a_full_disk_left_half_written_stops_no_later_sweep(tmp_path, name):
    cells = {"a": sweeps.Expected("a cell")}
    with sweeps.recorded(tmp_path, "local", 1, cells) as record:
        record.ended("a", "failed", "why")
    (file,) = tmp_path.glob(f".sweeps/*/{name}")
    file.write_bytes(file.read_bytes()[:7])
    sweeps._plan.cache_clear()
    with sweeps.recorded(tmp_path, "local", 1, cells):
        assert sweeps.read(tmp_path)[0].state == "running"
