"""``python -m urgentmos``: the command line, for launchers that start a module in each process."""

from urgentmos.cli import main

if __name__ == "__main__":
    main()
