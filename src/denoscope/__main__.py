"""`python -m denoscope`."""

from denoscope.cli.command import main

main()
