"""DINE: a network of one's own is distilled from the answers of a source model that nobody may look into.

Jian Liang, Dapeng Hu, Jiashi Feng, Ran He: DINE: Domain Adaptation from Single and Multiple Black-box Predictors,
CVPR 2022, arXiv:2104.01539.

    first  min over all weights of  KL(q, p) + KL(mixed p, f(mixed x)) + mean H(p) - H(mean p)
           q: the source model's answers, all but the `kept` greatest levelled; each tenth  q <- ema q + (1 - ema) p
           mixed: l x_i + (1 - l) x_j and l p_i + (1 - l) p_j (constant), l from Beta(.3, .3), one for the batch
    then   mean H(p) - H(mean p)  for the rest of the budget

The network starts at its initial weights (published ones where there are some), not at the source model's. All weights
learn; batch norm is in training mode. Departs from the authors' code in one rate for all weights, annealed by the same
power in both stages, and in halving the budget between the stages rather than stopping the second when it is still.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import kl_div

from dabench.core import Needs, between, register
from dabench.nn import anneal, diversity, entropy, predict_target


@register(needs=Needs.TARGET_IMAGES | Needs.SOURCE_ANSWERS, paper="Liang et al., CVPR 2022")
@dataclass(frozen=True, kw_only=True)
class DINE:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    ema: float = between(0.6, 0.0, 1.0)
    mix: float = between(1.0, 0.0, 10.0)
    kept: int = between(1, 1, 1000)
    distil_share: float = between(0.5, 0.01, 1.0)

    def adapt(self, model, target_data):
        optimizer, taught, tenths = self.optimizer(model), level(target_data.source_answers, self.kept), 0
        for batch in target_data.batches(model, share=self.distil_share):
            progress = batch.progress / self.distil_share
            anneal(optimizer, progress)
            if int(10 * progress) > tenths:
                tenths = int(10 * progress)
                taught = self.ema * taught + (1 - self.ema) * predict_target(model, target_data)[1]
            logits = model(batch.target_images)
            distance = kl_div(
                logits.log_softmax(1), taught[batch.target_index.to(taught.device)], reduction="batchmean"
            )
            mixed = mixup_distance(model, batch.target_images, logits.softmax(1).detach())
            sure, varied = entropy(logits).mean(), diversity(logits)
            losses = {"distillation": distance, "mixup": mixed, "entropy": sure, "diversity": varied}
            batch.minimise(distance + self.mix * mixed + sure - varied, optimizer, losses=losses)
        optimizer = self.optimizer(model)
        for batch in target_data.batches(model):
            anneal(optimizer, (batch.progress - self.distil_share) / (1 - self.distil_share))
            logits = model(batch.target_images)
            sure, varied = entropy(logits).mean(), diversity(logits)
            batch.minimise(sure - varied, optimizer, losses={"entropy": sure, "diversity": varied})
        return model

    def optimizer(self, model):
        """SGD as both stages begin with."""
        return torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )


def level(answers, kept):
    """The answers (n, classes) with their `kept` greatest as they are, and the same for all the others."""
    greatest = answers.topk(min(kept, answers.shape[1]))
    others = max(answers.shape[1] - kept, 1)
    rest = (1 - greatest.values.sum(1, keepdim=True)) / others
    return rest.expand_as(answers).scatter(1, greatest.indices, greatest.values)


def mixup_distance(model, images, predictions):
    """How far the answers to mixtures of two images are from the mixtures of their predictions."""
    share = torch.distributions.Beta(0.3, 0.3).sample().to(images.device)
    other = torch.randperm(len(images), device=images.device)
    logits = model(share * images + (1 - share) * images[other])
    mixed = share * predictions + (1 - share) * predictions[other]
    return kl_div(logits.log_softmax(1), mixed, reduction="batchmean")
