"""AdaMatch: FixMatch across domains, with pseudo-labels corrected for what the source's predictions are distributed as.

David Berthelot, Rebecca Roelofs, Kihyuk Sohn, Nicholas Carlini, Alex Kurakin: AdaMatch: A Unified Approach to
Semi-Supervised Learning and Domain Adaptation, ICLR 2022, arXiv:2106.04732.

    min over all weights of  CE(weak s) / 2 + CE(strong s) / 2 + mu mean [max q > tau c] CE(strong t, argmax q)
    q = p(weak t) (P_s + 1e-6) / (P_t + 1e-6), divided by its sum     c = mean of max p(weak s)
    logits of s: z + u (z' - z), u uniform for each     z with the target in the batch, z' without
    mu = weight * (1 - cos(pi min(1, 2 p))) / 2     p: progress over the whole run

P_s and P_t are the mean predictions for weak views over the last `memory` batches; q, c and the mask are constant for
the gradient. Batch norm sees both views of both domains as one batch; the source's pass alone leaves the running
statistics as they were. Departs from the authors' code in starting from the source-trained model, in one target batch
for each of the source's (theirs: three), in P_s (theirs: a moving average of rate .999), in FixMatch's rates here
(theirs: .03, a cosine), and in the network answering, not its moving average: budgets here are short.
"""

from collections import deque
from dataclasses import dataclass
from math import cos, pi

import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import anneal, strong


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Berthelot et al., ICLR 2022")
@dataclass(frozen=True, kw_only=True)
class AdaMatch:
    lr: float = between(0.003, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    weight: float = between(1.0, 1e-3, 1e2, log=True)
    threshold: float = between(0.9, 0.0, 1.0)
    memory: int = between(128, 1, 4096)

    def adapt(self, model, target_data):
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )
        seen_source, seen_target = deque(maxlen=self.memory), deque(maxlen=self.memory)
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            source_views = torch.cat([batch.source_images, strong(batch.source_raw)])
            target_views = torch.cat([batch.target_images, strong(batch.target_raw)])
            alone = without_statistics(model, source_views)
            together, target = model(torch.cat([source_views, target_views])).chunk(2)
            source = together + torch.rand_like(together) * (alone - together)
            classification = cross_entropy(source, batch.source_labels.repeat(2))
            sure = source.chunk(2)[0].detach().softmax(1)
            predicted = target.chunk(2)[0].detach().softmax(1)
            seen_source.append(sure.mean(0))
            seen_target.append(predicted.mean(0))
            aligned = align(predicted, torch.stack([*seen_source]).mean(0), torch.stack([*seen_target]).mean(0))
            mask = aligned.amax(1) >= self.threshold * sure.amax(1).mean()
            consistency = (mask * cross_entropy(target.chunk(2)[1], aligned.argmax(1), reduction="none")).mean()
            losses = {"classification": classification, "consistency": consistency}
            warm = self.weight * (1 - cos(pi * min(1, 2 * batch.progress))) / 2
            batch.minimise(classification + warm * consistency, optimizer, losses=losses)
        return model


def align(predictions, source, target):
    """Predictions (n, classes) with the mean prediction moved from the target's to the source's, (classes,) each."""
    aligned = predictions * (source + 1e-6) / (target + 1e-6)
    return aligned / aligned.sum(1, keepdim=True)


def without_statistics(model, images):
    """The logits in training mode, the batch norms' running statistics left as they are."""
    return functional_call(model, {name: buffer.clone() for name, buffer in model.named_buffers()}, (images,))
