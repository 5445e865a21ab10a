"""From a request to stored rows: the plan, the sweep, the cell, and what a method holds in its hands."""
