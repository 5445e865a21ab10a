"""The founding papers' claims, and the pages that judge them by our own rows."""
