"""The stored rows: their schema, the folder they lie in, and what made them."""
