"""`python -m dabench`: the command line."""

from dabench.cli import main

main()
