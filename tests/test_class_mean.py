"""Accuracy as the mean over classes, where a task says so."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dabench.core import Domain, Domains, Stream
from dabench.registry import known_tasks
from dabench.run import metrics
from dabench.run.task_data import task_data

LABELS = torch.tensor([0, 0, 0, 1])
LOGITS = torch.tensor([[3.0, 0.0, 0.0]] * 4)  # every image is taken for the first class


def test_a_rare_class_counts_as_much_as_a_frequent_one_and_an_absent_one_not_at_all():
    assert metrics.accuracy(LOGITS, LABELS) == 0.75
    assert metrics.mean_class_accuracy(LOGITS, LABELS) == 0.5


def test_logits_that_are_not_finite_have_no_mean_over_classes():
    assert np.isnan(metrics.mean_class_accuracy(LOGITS * float("nan"), LABELS))


@pytest.mark.parametrize(("class_mean", "accuracy"), [(True, 0.5), (False, 0.75)])
def test_a_task_says_which_accuracy_is_its_own(class_mean, accuracy):
    visda = known_tasks()["visda-synthetic-real"]
    assert visda.class_mean
    domain = Domain(np.zeros((4, 3, 8, 8), np.uint8), LABELS.numpy())
    task = replace(visda, class_mean=class_mean)
    data = task_data(task, Domains(domain, domain, domain, domain), torch.device("cpu"), Stream())
    assert data.accuracy(LOGITS, LABELS) == accuracy
