"""Networks by name, and a person's own checkpoints."""

from dabench.models.networks import OWN_NETS, PACKAGED, build, check_name, load_weights, save

__all__ = ["OWN_NETS", "PACKAGED", "build", "check_name", "load_weights", "save"]
