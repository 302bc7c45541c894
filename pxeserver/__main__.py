"""`python -m pxeserver`: the command line."""

from pxeserver.cli import main

if __name__ == "__main__":
    main()
