import re

import pytest

from dabench import registry
from dabench.authoring import contract

VARIANTS = registry.methods("all")


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.label)
def test_every_method_keeps_the_contract(check, variant):
    kept, words = contract.outcome(check, variant)
    assert kept, words


LEAK = """
for batch in target_data.batches(model):
    weight = next(model.parameters())
    weight.data += 1e-3 * batch.target_labels.float()[0]
"""
CHANCE = """
import time
next(model.parameters()).data += time.perf_counter() % 1
"""
SHARED = """
import gc
from dabench.authoring import contract
next(contract._source_model().parameters()).data += 1
"""
NONFINITE = "next(model.parameters()).data.fill_(float('nan'))"
SEEDS = "import torch; torch.manual_seed(0)"
SETTINGS = "import torch; torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())"
SHAPE = "import torch; model = torch.nn.Sequential(model, torch.nn.Linear(4, 3))"


@pytest.mark.parametrize(
    ("body", "check", "complaint"),
    [
        (LEAK, contract.gives_finite_logits, "asked for target_labels, which its setting 'source-free'"),
        (CHANCE, contract.same_seed_gives_the_same_weights, "from the same seed"),
        (NONFINITE, contract.gives_finite_logits, "not finite"),
        (SEEDS, contract.leaves_the_random_state_to_the_harness, "seeds torch"),
        (SETTINGS, contract.keeps_the_settings_of_the_process, "deterministic mode"),
        (SHAPE, contract.gives_finite_logits, r"logits \(96, 3\), not \(96, 4\)"),
        ("return None", contract.gives_finite_logits, "returns NoneType"),
        (
            "raise ValueError('no luck')",
            contract.gives_finite_logits,
            r"ValueError: no luck \(mine_raises.py, line \d+\)",
        ),
    ],
    ids=["leak", "chance", "nonfinite", "seeds", "settings", "shape", "nothing", "raises"],
)
def test_a_broken_promise_is_found(own_method, request, body, check, complaint):
    (variant,) = registry.methods(str(own_method(f"mine_{request.node.callspec.id}", body)))
    kept, words = contract.outcome(check, variant)
    assert not kept
    assert re.search(complaint, words)


def test_a_method_that_changes_the_source_model_is_found(own_method):
    (variant,) = registry.methods(str(own_method("mine_shared", SHARED)))
    kept, words = contract.outcome(contract.leaves_the_source_model_alone, variant)
    contract._source_model.cache_clear()
    assert not kept
    assert "of the source model" in words


def test_the_canary_sings_when_the_harness_grants_too_much(own_method, monkeypatch):
    (variant,) = registry.methods(str(own_method("mine_canary", LEAK)))
    monkeypatch.setattr(contract, "grant", lambda needs, data, cell: {"target": data.target_train})
    kept, words = contract.outcome(contract.labels_it_may_not_see_change_nothing, variant)
    assert not kept
    assert "permuted" in words


def test_a_method_with_nothing_to_do_passes_with_its_reason(own_method):
    body = "from dabench.core import NotApplicable; raise NotApplicable('no batch norm')"
    (variant,) = registry.methods(str(own_method("mine_idle", body)))
    assert contract.outcome(contract.gives_finite_logits, variant) == (True, "not applicable here: no batch norm")


def test_a_hyper_parameter_given_by_position_is_found(own_method):
    file = own_method("mine_positional")
    file.write_text(file.read_text().replace(", kw_only=True", ""))
    (variant,) = registry.methods(str(file))
    kept, words = contract.outcome(contract.hyper_parameters_are_keyword_only_and_plain, variant)
    assert not kept
    assert "strength by position" in words
