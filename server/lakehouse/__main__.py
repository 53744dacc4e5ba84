"""`python -m lakehouse` is the command line."""

from lakehouse.faces.cli import main

main()
