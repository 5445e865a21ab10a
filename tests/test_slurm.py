"""A SLURM of one node, with its own munge, that this test starts: the jobs of a real queue give the same rows."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dabench import registry
from dabench.results import store
from dabench.results.sweeps import QUEUED
from dabench.run import plan, sweep
from dabench.run.engines.contract import Progress
from dabench.run.engines.local import Local
from dabench.run.engines.slurm import Slurm
from dabench.run.plan import Environment, Request

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'dabench[slurm]'")
COMMANDS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue")
ABSENT = [name for name in COMMANDS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(ABSENT), reason=f"no {', '.join(ABSENT)}: apt install slurm-wlm munge"),
    pytest.mark.skipif(hasattr(os, "getuid") and os.getuid() != 0, reason="slurmd starts jobs as root alone"),
]

CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0,defer_batch=0
MinJobAge=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes={host} Default=YES State=UP
"""


@contextmanager
def running(*command):
    """A daemon in the foreground, ended with all that it started."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def until(true, what):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.2)


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """The queue's commands answer inside; its folder holds the logs."""
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, ports=free_ports(2)))
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
        subprocess.run(["mungekey", "--create", f"--keyfile={folder}/munge.key"], check=True)
        places = {"key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed", "socket": "socket"}
        munge = [f"--{option}={folder}/munge.{name}" for option, name in places.items()]
        stack.enter_context(running("munged", "--foreground", "--force", *munge))
        until((folder / "munge.socket").exists, "munge did not start")
        stack.enter_context(running("slurmctld", "-D"))
        stack.enter_context(running("slurmd", "-D", "-N", host))
        until(lambda: "idle" in answer("sinfo", "--noheader", "--format=%T"), f"no idle node; see {folder}")
        yield folder


def answer(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment("cpu", 1, tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache"))


SAME = ("key", "status", "accuracy", "nll", "predictions", "checkpoint_scores", "threads")


def swept(tiny_task, methods, environment, results, engine, listen=lambda word: None):
    """The rows that are ok, how each cell ended by its method, and the seconds that it took."""
    request = Request(tasks=registry.tasks(str(tiny_task)), methods=registry.methods(methods), seeds=(0,), budget=0.2)
    cells = plan.plan(request, environment.data, environment.cache, results)
    started = time.monotonic()
    ended = sweep.carry_out(cells, environment, results, engine=engine, listen=listen)
    seconds = time.monotonic() - started
    rows = store.load(results).sort_by("key").to_pylist()
    same = [{name: repr(row[name]) for name in SAME} for row in rows if row["status"] == "ok"]
    return same, {each.planned.cell.variant.name: each for each in ended}, seconds


METHODS = "source_only,adabn,tent"


@pytest.fixture(scope="module")
def by_local(tiny_task, environment, tmp_path_factory):
    return swept(tiny_task, METHODS, environment, tmp_path_factory.mktemp("local"), Local(1))[0]


def test_a_real_queue_gives_the_keys_and_numbers_of_this_machines_processes_beside_a_failing_cell(
    queue, tiny_task, environment, tmp_path, by_local, own_method
):
    boom = own_method("boom", "raise ValueError('no')")
    engine = Slurm(parameters={"partition": "all"}, poll_seconds=0.5)
    engine.check()
    host, stages = answer("sinfo", "--noheader", "--format=%n").strip(), []
    subprocess.run(["scontrol", "update", f"NodeName={host}", "State=DRAIN", "Reason=test"], check=True)

    def listen(word):
        if isinstance(word, Progress):
            stages.append(word.stage)
        subprocess.run(["scontrol", "update", f"NodeName={host}", "State=RESUME"], capture_output=True)

    rows, ended, seconds = swept(tiny_task, f"{boom},{METHODS}", environment, tmp_path, engine, listen)
    print(f"{len(ended)} cells by SLURM in {seconds:.1f} s")
    assert stages[0] == QUEUED, "no job begins on a node that takes none"
    assert "running" in stages
    assert rows == by_local
    assert "ValueError: no" in ended["boom"].reason
    assert "boom" in Path(ended["boom"].log).read_text()


def test_cells_of_a_job_that_the_queue_kills_are_submitted_again(queue, tiny_task, environment, tmp_path, by_local):
    until(lambda: not answer("squeue", "--noheader"), "the queue is not empty")
    killed = []

    def kill(word):
        running = answer("squeue", "--noheader", "--states=RUNNING", "--format=%i").split()
        if running and not killed:
            killed.append(running[0])
            # Asked to end, a job of submitit goes on for as long as it may.
            subprocess.run(["scancel", "--signal=KILL", "--full", running[0]], check=True)

    engine = Slurm(parameters={"partition": "all"}, poll_seconds=0.5)
    rows, _, seconds = swept(tiny_task, METHODS, environment, tmp_path, engine, kill)
    jobs = {path.name.partition("_")[0] for path in tmp_path.glob(".sweeps/*/*_submitted.pkl")}
    print(f"killed job {killed}, {len(jobs)} jobs in {seconds:.1f} s")
    assert len(jobs) == 2
    assert rows == by_local
