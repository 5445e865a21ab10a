"""A method can do to its own process what it likes: it finds no label there, and no other cell notices."""

import os
import signal
import subprocess
import sys
import time
import warnings
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from dabench import registry
from dabench.core import DabenchError, Stream
from dabench.models.scripted import Scripted
from dabench.nn import Classifier
from dabench.results import store
from dabench.run import adaptation, failures, interrupts, isolation, plan, streams, sweep, worker
from dabench.run.plan import Environment, Request


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment("cpu", 1, tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache"))


def swept(task, methods, environment, results, **options):
    """Runs the methods in one worker, a quiet one last; gives each row by its method, and how the cells ended."""
    names = ",".join(map(str, (*methods, "source_only")))
    request = Request(tasks=registry.tasks(str(task)), methods=registry.methods(names), seeds=(0,), budget=0.5)
    cells = plan.plan(request, environment.data, environment.cache, results)
    ended = sweep.run(cells, environment, results, workers=1, listen=lambda word: None, **options)
    return {row["method"]: row for row in store.load(results).to_pylist()}, ended


FATAL = {
    "exits": ("import sys; sys.exit(0)", "SystemExit: the method tried to end the program"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "leaves": ("import os; os._exit(3)", "'leaves': its process ended with exit code 3"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "'crashes': its process died of SIGSEGV"),
    "leaves_a_child": (
        "import os, time\nif os.fork() == 0: time.sleep(600)\nos._exit(3)",
        "'leaves_a_child': its process ended with exit code 3",
    ),
    "unlearns": (
        "import torch\nfor weights in model.parameters(): weights.data.fill_(torch.nan)",
        "the logits are not finite after 100% of the budget",
    ),
    "eats": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL (out of memory?)"),
    "hangs_up": ("import os; os.closerange(3, 256)", "'hangs_up': "),
    "says_nothing": ("return None", "adapt() of 'says_nothing' returned NoneType"),
    "talks": ("return 'adapted'", "adapt() of 'talks' returned str"),
    "narrows": (
        "import torch; return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3))",
        "logits of shape",
    ),
    "answers_in_words": (
        "import torch\nclass Words(torch.nn.Module):\n    def forward(self, images): return 'seven'\nreturn Words()",
        "the model answers a batch with str",
    ),
}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("caf\udce9.png", "ValueError: caf\\udce9.png ("),
        ("\x1b[31mred\x00", "ValueError: \\x1b[31mred\\x00 ("),
        ("", "ValueError: no message ("),
        ("x" * 5_000_000, "xxx ... xxx"),
        ("Gr\u00fc\u00dfe, \u65e5\u672c", "ValueError: Gr\u00fc\u00dfe, \u65e5\u672c ("),
    ],
)
def test_whatever_an_error_says_becomes_a_reason_that_can_be_stored_and_shown(message, said):
    error = failures.caught(lambda: (_ for _ in ()).throw(ValueError(message)))
    told = worker.failure(error, Path("own.py"))
    assert said in told.reason
    assert len(told.reason) < 1100
    assert f"{told.reason}{told.trace}".encode()


def test_no_cell_takes_the_sweep_along(tiny_task, environment, tmp_path, own_method):
    rows, ended = swept(tiny_task, [own_method(name, body) for name, (body, _) in FATAL.items()], environment, tmp_path)
    assert len(ended) == len(FATAL) + 1
    for name, (_, reason) in FATAL.items():
        assert rows[name]["status"] == "failed"
        assert reason in rows[name]["reason"]
        assert rows[name]["accuracy"] is None
    assert rows["source_only"]["status"] == "ok"


def test_what_a_method_does_to_its_process_does_not_reach_the_next_cell(tiny_task, environment, tmp_path, own_method):
    careless = own_method(
        "careless",
        "import os, random, sys, torch\n"
        "torch.set_num_threads(2), torch.set_default_dtype(torch.float64), torch.set_grad_enabled(False)\n"
        "torch.manual_seed(7), random.seed(7), os.environ.clear(), sys.path.clear(), sys.modules.pop('dabench.nn')\n"
        "print('all over the screen')",
    )
    quiet, _ = swept(tiny_task, [], environment, tmp_path / "quiet")
    beside, _ = swept(tiny_task, [careless], environment, tmp_path / "beside")
    assert beside["careless"]["status"] == "ok"
    for name in ("status", "predictions", "nll", "checkpoint_scores", "trained_parameters"):
        assert repr(beside["source_only"][name]) == repr(quiet["source_only"][name])


def test_a_method_that_forks_answers_once(tiny_task, environment, tmp_path, own_method):
    forks = own_method("forks", "import os\nfor _ in range(3): os.fork()")
    rows, _ = swept(tiny_task, [forks], environment, tmp_path)
    assert rows["forks"]["status"] == "ok"
    assert rows["forks"]["predictions"] == rows["source_only"]["predictions"]


def test_what_a_failed_method_printed_is_kept_for_who_asks(tiny_task, environment, tmp_path, own_method, capfd):
    loud = own_method("loud", "print('a clue'); raise ValueError('no')")
    _, ended = swept(tiny_task, [loud], environment, tmp_path)
    (failed,) = (each for each in ended if each.reason)
    assert "a clue" in failed.trace
    assert "ValueError: no" in failed.trace
    assert "a clue" not in "".join(capfd.readouterr())


def test_an_endless_cell_ends_at_its_time(tiny_task, environment, tmp_path, own_method):
    endless = own_method("endless", "while True: pass")
    rows, _ = swept(tiny_task, [endless], environment, tmp_path, cell_timeout=3.0)
    assert rows["endless"]["status"] == "failed"
    assert "took longer than --cell-timeout 3 s" in rows["endless"]["reason"]
    assert rows["source_only"]["status"] == "ok"


def test_a_worker_that_dies_costs_its_cell_and_is_replaced(tiny_task, environment, tmp_path, own_method):
    waits = own_method("waits", "import time; time.sleep(60)")
    killed = []

    def listen(word):
        if isinstance(word, sweep.Progress) and not killed:
            killed.append(word.worker)
            os.kill(word.worker, signal.SIGKILL)

    request = Request(
        tasks=registry.tasks(str(tiny_task)), methods=registry.methods(f"{waits},source_only"), seeds=(0,), budget=0.5
    )
    cells = plan.plan(request, environment.data, environment.cache, tmp_path / "results")
    ended = sweep.run(cells, environment, tmp_path / "results", workers=1, listen=listen)
    assert [each.row["status"] for each in ended] == ["failed", "ok"]
    assert "the process that evaluates it died" in ended[0].reason
    assert ended[1].worker != killed[0]


def server_of(process):
    """The process that started it."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked from a server on Linux alone")
def test_the_server_of_all_processes_may_die_and_is_replaced(tiny_task, environment, tmp_path, own_method, monkeypatch):
    waits = own_method("waits", "import time; time.sleep(60)")
    killed = []
    connect = forkserver.connect_to_new_process

    def kill(number):
        os.kill(number, signal.SIGKILL)
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
        killed.append(number)

    def listen(word):
        if isinstance(word, sweep.Progress) and not killed:
            kill(server_of(word.worker))

    def connect_to_one_that_dies(fds):
        ends = connect(fds)
        if len(killed) == 1:
            kill(forkserver._forkserver._forkserver_pid)  # while it imports, which takes seconds
        return ends

    monkeypatch.setattr(forkserver, "connect_to_new_process", connect_to_one_that_dies)
    request = Request(
        tasks=registry.tasks(str(tiny_task)), methods=registry.methods(f"{waits},source_only"), seeds=(0,), budget=0.5
    )
    cells = plan.plan(request, environment.data, environment.cache, tmp_path / "results")
    ended = sweep.run(cells, environment, tmp_path / "results", workers=1, listen=listen)
    assert len(set(killed)) == 2
    assert [each.row["status"] for each in ended] == ["failed", "ok"]
    assert "the process that starts all others died" in ended[0].reason


def test_a_child_that_dies_unheard_is_one_line():
    with pytest.raises(DabenchError, match="ended with exit code 7"):
        isolation.answer_of(os._exit, 7)


THIEF = '''
"""Looks for the test labels wherever a process could hold them."""
import gc, glob, os, sys
from dataclasses import dataclass
import numpy as np
import torch
from dabench.core import Needs, register

LABELS = [int(digit) for digit in "{labels}"]
PLANTED = []


def is_loot(thing):
    if isinstance(thing, bytes | bytearray):
        return bytes(LABELS) in thing
    if isinstance(thing, torch.Tensor | np.ndarray):
        thing = thing.tolist() if thing.ndim == 1 else []
    return isinstance(thing, list | tuple) and thing is not LABELS and same(thing)


def same(numbers):
    # In the stream's order, or in any: a permutation of the labels is worth something too.
    if len(numbers) != len(LABELS) or not all(isinstance(number, int | float) for number in numbers):
        return False
    return sorted(numbers) == sorted(LABELS)


@register(needs=Needs.TARGET_IMAGES, paper="none")
@dataclass(frozen=True, kw_only=True)
class Thief:
    def adapt(self, model, target_data):
        frame, found = sys._getframe(1), [target_data._listeners.on_checkpoint, vars(target_data)]
        while frame:
            found += [frame.f_locals, *frame.f_locals.values()]
            frame = frame.f_back
        found += gc.get_objects()
        loot = [type(thing) for thing in (*found, *gc.get_referents(*found)) if is_loot(thing)]
        files = [name for pattern in ("**/*", "../**/*.parquet") for name in glob.glob(pattern, recursive=True)]
        texts = [*sys.argv, *(f"{{name}}={{value}}" for name, value in os.environ.items()), str(vars(target_data))]
        for process in ("self", str(os.getppid())):
            for name in ("environ", "cmdline"):
                with open(f"/proc/{{process}}/{{name}}", "rb") as text:
                    texts += text.read().decode(errors="replace").split("\\0")
        secrets = [text for text in texts if any(name in text for name in {folders!r})]
        if loot or files or secrets:
            raise RuntimeError(f"stolen: {{loot}} {{files}} {{secrets}}")
        return model
'''


@pytest.mark.parametrize("plant", ["", "PLANTED.append(np.array(LABELS))"], ids=["nothing", "a copy of the labels"])
def test_a_thief_finds_what_was_planted_and_no_test_label(tiny_task, environment, tmp_path, monkeypatch, plant):
    (task,) = (task for _, task in registry.tasks(str(tiny_task)))
    truth = task.read(Path(), Path(), task.protocols[0]).target_test.labels
    labels = "".join(map(str, truth[streams.arrival(Stream(), truth).order]))
    folders = [str(environment.data), str(environment.cache), str(tmp_path / "results")]
    thief = tmp_path / "thief.py"
    thief.write_text(f"{THIEF.format(labels=labels, folders=folders)}\n\n{plant}\n")
    monkeypatch.setenv("DABENCH_DATA", str(environment.data))
    rows, _ = swept(tiny_task, [thief], environment, tmp_path / "results")
    assert rows["thief"]["status"] == ("failed" if plant else "ok"), rows["thief"]["reason"]
    assert not plant or "stolen: [<class 'numpy.ndarray'>] [] []" in rows["thief"]["reason"]


def test_what_a_method_sends_is_never_run(tiny_task, environment, tmp_path, own_method):
    # The worker reads text and arrays: a pickle that would run code where the labels are is nothing to it.
    body = (
        "import gc, os, pickle\n"
        "from multiprocessing.connection import Connection\n"
        "class Command:\n"
        f"    def __reduce__(self): return os.system, ('touch {tmp_path / 'ran'}',)\n"
        "for thing in gc.get_objects():\n"
        "    if isinstance(thing, Connection) and thing.writable:\n"
        "        thing.send_bytes(pickle.dumps(Command()))\n"
    )
    rows, _ = swept(tiny_task, [own_method("smuggler", body)], environment, tmp_path / "results")
    assert rows["smuggler"]["status"] == "failed"
    assert not (tmp_path / "ran").exists()
    assert rows["source_only"]["status"] == "ok"


SWEEP = """
import sys
from pathlib import Path
from dabench import registry
from dabench.run import plan, sweep
from dabench.run.plan import Environment, Request

task, method, folder = sys.argv[1:]
environment = Environment("cpu", 1, Path(folder), Path(folder))
request = Request(tasks=registry.tasks(task), methods=registry.methods(f"source_only,{method}"), seeds=(0,), budget=0.5)
cells = plan.plan(request, environment.data, environment.cache, Path(folder, "results"))

def listen(word):
    print(type(word).__name__, word.worker, getattr(word, "stage", ""), flush=True)

try:
    sweep.run(cells, environment, Path(folder, "results"), workers=1, listen=listen)
except KeyboardInterrupt:
    sys.exit(130)
"""


# The moment at which a process was started and has not been told what to run.
INTERRUPTED = """
import os, signal

started = 0

def profile(frame, event, argument):
    global started
    if event == "call" and frame.f_code.co_name == "connect_to_new_process":
        started += 1
    if event == "return" and frame.f_code.co_name == "connect_to_new_process" and started == 3:
        os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.setprofile(profile)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked from a server on Linux alone")
def test_an_interruption_waits_until_a_process_has_its_orders(tiny_task, tmp_path, own_method):
    endless = own_method("endless", "while True: pass")
    program = SWEEP.replace("try:", INTERRUPTED + "try:", 1)
    command = [sys.executable, "-c", program, str(tiny_task), str(endless), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")
    assert [row["method"] for row in store.load(tmp_path / "results").to_pylist()] == ["source_only"]


def alive(marker):
    """Processes whose working folder is a method's, or that run the given marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            environ = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if marker in environ or marker in command:
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_no_process_outlives_the_sweep(tiny_task, tmp_path, own_method, sent):
    endless = own_method("endless", f"open({str(tmp_path / 'adapting')!r}, 'w').close()\nwhile True: pass")
    marker = f"MARKER={tmp_path}"
    program = subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(tiny_task), str(endless), str(tmp_path)],
        env={**os.environ, "MARKER": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 100
    while not (tmp_path / "adapting").exists():
        assert program.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(alive(marker)) >= 3
    program.send_signal(sent)
    program.wait(30)
    while alive(marker):
        assert time.monotonic() < deadline, alive(marker)
        time.sleep(0.1)
    assert program.returncode == (130 if sent is signal.SIGTERM else -signal.SIGKILL)
    rows = store.load(tmp_path / "results").to_pylist()
    assert [(row["method"], row["status"]) for row in rows] == [("source_only", "ok")]


def test_a_device_that_is_not_there_is_said_to_be_so():
    assert worker.device_here("cpu") == "cpu"
    with pytest.raises(DabenchError, match="no device 'xpu:7'"):
        worker.device_here("xpu:7")


def test_a_child_that_ends_tells_how():
    process = isolation.start(os._exit, 5)
    process.join(20)
    assert "exit code 5" in isolation.ending(process)


def test_a_torchscript_network_is_sent_whole():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.jit.trace(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)), torch.rand(1, 3, 2, 2)
        )
    scripted = Scripted(network, classes=3, channels=3)
    model = Classifier(scripted, torch.nn.Linear(3, 3), 3, 3, (0.5,) * 3, (0.5,) * 3).eval()
    received = adaptation.unpacked(adaptation.packed(model), torch.device("cpu"))
    images = torch.rand(5, 3, 2, 2)
    assert torch.equal(received(images), model(images))


def test_signals_wait_until_they_are_heard_and_a_second_one_does_not():
    met = []
    before = signal.signal(signal.SIGINT, lambda *_: met.append("interrupted"))
    try:
        with interrupts.held() as signals:
            signal.raise_signal(signal.SIGINT)
            met.append("went on")
            with signals.heard():
                met.append("listened")
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            met.append("left")
    finally:
        signal.signal(signal.SIGINT, before)
    assert met == ["went on", "interrupted", "listened", "interrupted", "interrupted", "left", "interrupted"]
