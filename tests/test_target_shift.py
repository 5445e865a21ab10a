"""Targets with fewer classes, or with their classes in other shares."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dabench import data, registry
from dabench.core import DabenchError
from dabench.data.target_shift import ClassPrior, FirstClasses

NOWHERE = Path("nowhere")


def read(spec):
    ((found, task),) = registry.tasks(spec)
    assert registry.task(found).name == task.name
    return task, task.read(NOWHERE, NOWHERE, task.protocols[0])


def test_a_partial_target_holds_the_first_classes_and_the_source_all():
    task, domains = read("fonts-optdigits[classes=3]")
    whole = read("fonts-optdigits")[1]
    assert task.name == "fonts-optdigits[classes=3]"
    assert (task.num_classes, task.family) == (10, "quick-partial")
    assert set(domains.target_train.labels) == set(domains.target_test.labels) == {0, 1, 2}
    assert set(domains.source_train.labels) == set(range(10))
    assert len(domains.target_test) == np.isin(whole.target_test.labels, (0, 1, 2)).sum()
    assert data.fingerprint(domains) != data.fingerprint(whole)


def test_a_prior_changes_the_shares_of_the_target_alone_and_the_same_way_everywhere():
    task, domains = read("fonts-optdigits[prior=0.5]")
    whole = read("fonts-optdigits")[1]
    assert task.family == "quick-label-shift"
    assert (domains.source_train.labels == whole.source_train.labels).all()
    train, test = (np.bincount(part.labels, minlength=10) for part in (domains.target_train, domains.target_test))
    assert train.min() >= 1
    assert train.max() > 10 * train.min()
    assert np.abs(train / train.sum() - test / test.sum()).max() < 0.03
    assert data.fingerprint(domains) == data.fingerprint(read("fonts-optdigits[prior=0.5]")[1])


def test_the_larger_the_concentration_the_more_even_the_classes():
    labels = np.repeat(np.arange(5), 200)
    spreads = []
    for concentration in (0.1, 1, 1000):
        kept = ClassPrior(concentration).kept(labels, 5)
        assert (np.diff(kept) > 0).all()
        shares = np.bincount(labels[kept], minlength=5) / len(kept)
        spreads.append(shares.max() - shares.min())
    assert spreads[0] > spreads[1] > spreads[2]
    assert spreads[2] < 0.05


def test_a_transductive_target_stays_one_domain(tiny_task):
    ((_, task),) = registry.tasks(str(tiny_task))

    def load(*given):
        domains = task.load(*given)
        return replace(domains, target_train=domains.target_test)

    shifted = replace(task, load=load, target_shifts=(FirstClasses(2),))
    domains = shifted.read(NOWHERE, NOWHERE, task.protocols[1])
    assert domains.target_train is domains.target_test
    assert set(domains.target_test.labels) == {0, 1}


@pytest.mark.parametrize("words", ["classes=0", "classes=11", "classes=2.5", "prior=0", "prior=nan", "prior=many"])
def test_what_no_target_can_have_is_refused(words):
    with pytest.raises(DabenchError, match=words.partition("=")[0]):
        registry.tasks(f"fonts-optdigits[{words}]")


def test_brackets_after_a_family_change_each_of_its_tasks():
    specs = [spec for spec, _ in registry.tasks("pacs-rest[classes=4]")]
    assert specs == [f"pacs-rest-{target}[classes=4]" for target in ("art", "cartoon", "photo", "sketch")]
    assert {registry.task(spec).family for spec in specs} == {"pacs-rest-partial"}
