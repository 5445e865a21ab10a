"""BN-1: every batch norm takes the statistics of the test batch instead of the source's; nothing is learned.

Zachary Nado, Shreyas Padhy, D. Sculley, Alexander D'Amour, Balaji Lakshminarayanan, Jasper Snoek: Evaluating
Prediction-Time Batch Normalization for Robustness under Covariate Shift, arXiv:2006.10963.

    mu, sigma^2  <-  mean and variance of the batch itself; gamma and beta stay

No state goes from batch to batch. The smaller the batch, the less its statistics say: from one image they are those of
its own maps. Where a channel has one value alone there is no variance, and the source's statistics answer. A backbone
without batch norm is refused.
"""

from dataclasses import dataclass

from dabench.core import Needs, Reach, register
from dabench.nn import batch_norms, freeze, use_batch_statistics


@register(needs=Needs.TEST_STREAM, paper="Nado et al., 2020", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class BN1:
    def adapt(self, model, target_data):
        for norm in batch_norms(freeze(model)):
            use_batch_statistics(norm)
        return model
