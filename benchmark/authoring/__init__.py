"""For method and task authors: the contract's checks and the files that `dabench new` writes."""
