"""The command ``ichformer``, also as ``python -m ichformer``.

Nothing is imported before ``main`` runs: every worker process imports this file anew and needs no command line.
"""


def main() -> None:
    """Run the command line on ``sys.argv``."""
    from ichformer.process.ctrl_c import end_at_ctrl_c, raising_at_ctrl_c

    end_at_ctrl_c()
    from ichformer.process.quiet import quiet_command
    from ichformer.process.streams import own_streams

    own_streams()
    quiet_command()
    from ichformer.cli import main as run

    with raising_at_ctrl_c():
        run()


if __name__ == "__main__":
    main()
