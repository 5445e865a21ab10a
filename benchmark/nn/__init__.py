"""Building blocks that methods share; they import nothing of dabench but `core` and one another."""

from dabench.nn.alignment import (
    DomainCritic,
    JointFeatures,
    coral,
    cross_entropy_of,
    domain_loss,
    gaussian_kernels,
    mmd,
    reverse_gradient,
    squared_distances,
)
from dabench.nn.classifier import Classifier, InputAdapted
from dabench.nn.layers import answer_in_binary, follow_by, freeze, hooked, layers_of, unfreeze
from dabench.nn.norms import batch_norms, mix_batch_statistics, norms_of_the_batch, use_batch_statistics
from dabench.nn.predictions import diversity, entropy, entropy_of_sure_and_new
from dabench.nn.training import anneal, follow, predict_target, strong

__all__ = [
    "Classifier",
    "DomainCritic",
    "InputAdapted",
    "JointFeatures",
    "anneal",
    "answer_in_binary",
    "batch_norms",
    "coral",
    "cross_entropy_of",
    "diversity",
    "domain_loss",
    "entropy",
    "entropy_of_sure_and_new",
    "follow",
    "follow_by",
    "freeze",
    "gaussian_kernels",
    "hooked",
    "layers_of",
    "mix_batch_statistics",
    "mmd",
    "norms_of_the_batch",
    "predict_target",
    "reverse_gradient",
    "squared_distances",
    "strong",
    "unfreeze",
    "use_batch_statistics",
]
