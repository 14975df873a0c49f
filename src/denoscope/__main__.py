"""`python -m denoscope`."""

from denoscope.cli import main

main()
