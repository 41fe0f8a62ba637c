"""`python -m edgewright.frontend.cli`."""

from edgewright.frontend.cli.app import main

main()
