"""Each engine computes the same cells: identical keys and numbers, and what dies costs no other cell."""

import itertools
from importlib.util import find_spec
from pathlib import Path

import pytest

from dabench import registry
from dabench.core import DabenchError
from dabench.results import store
from dabench.run import plan, sweep
from dabench.run.engines.contract import Progress
from dabench.run.engines.local import Local
from dabench.run.engines.slurm import Slurm
from dabench.run.plan import Environment, Request

pytestmark = pytest.mark.timeout(400)

SAME = ("key", "status", "reason", "accuracy", "nll", "predictions", "checkpoint_scores", "source_after", "threads")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment("cpu", 1, tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache"))


def swept(task, methods, environment, results, engine, listen=lambda word: None):
    request = Request(tasks=registry.tasks(str(task)), methods=registry.methods(methods), seeds=(0,), budget=0.2)
    cells = plan.plan(request, environment.data, environment.cache, results)
    ended = sweep.carry_out(cells, environment, results, engine=engine, listen=listen)
    rows = store.load(results).sort_by("key").to_pylist()
    return [{name: repr(row[name]) for name in SAME} for row in rows], {
        each.planned.cell.variant.name: each for each in ended
    }


@pytest.fixture(scope="module")
def by_local(tiny_task, environment, tmp_path_factory):
    return swept(tiny_task, "source_only,adabn", environment, tmp_path_factory.mktemp("local"), Local(1))[0]


@pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed: pip install 'dabench[slurm]'")
def test_jobs_of_submitit_give_the_keys_and_numbers_of_this_machines_processes(
    tiny_task, environment, tmp_path, by_local, own_method
):
    engine = Slurm(cluster="local", poll_seconds=0.3)
    killer = own_method("killer", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    rows, ended = swept(tiny_task, f"{killer},source_only,adabn", environment, tmp_path, engine)
    assert [row for row in rows if row["status"] == "'ok'"] == by_local
    assert ended["killer"].row["status"] == "failed"
    assert "SIGKILL" in ended["killer"].reason
    assert "killer" in Path(ended["killer"].log).read_text()
    assert list(tmp_path.glob("*/*.part-*")) == []


def test_a_ray_cluster_of_two_nodes_gives_the_same_keys_and_numbers_and_refuses_what_it_lacks(
    tiny_task, environment, tmp_path, by_local
):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dabench[ray]'")
    from ray.cluster_utils import Cluster

    from dabench.run.engines.ray import Ray

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1, resources={"fast": 1})
        engine = Ray(address=cluster.address, resources={"num_cpus": 1, "fast": 1})  # one cell at once
        engine.check()
        for resources, named in (({"num_gpus": 1}, "GPU"), ({"num_cpus": 2}, "CPU"), ({"fst": 1}, "fst")):
            with pytest.raises(DabenchError, match=named):
                Ray(address=cluster.address, resources=resources).check()
        words = []
        rows, _ = swept(tiny_task, "source_only,adabn", environment, tmp_path, engine, words.append)
        assert rows == by_local
        told = [word for word in words if isinstance(word, Progress)]
        assert {"queued", "running"} >= {word.stage for word in told} >= {"queued"}
        for before, after in itertools.pairwise(told):  # a look tells of both cells, in their order
            assert [before.stage, after.stage].count("running") < 2 or before.planned.key == after.planned.key
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()
