"""From rows to what may be said of them: tables, selection, comparison, rankings. Needs no torch."""
