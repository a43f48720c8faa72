"""The command ``ichformer``, also as ``python -m ichformer``.

Nothing is imported before ``main`` runs: every worker process imports this file anew and needs no command line.
"""


def main() -> None:
    """Run the command line on ``sys.argv``."""
    from ichformer.cli import main as run

    run()


if __name__ == "__main__":
    main()
