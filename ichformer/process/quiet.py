"""What libraries print by themselves about a user's files: nothing of it reaches who runs a command.

What counts is said in our own words, as a note of the scan's audit or as an error.
"""

import logging
import os
import sys
import warnings

_READERS = ("PIL", "libjpeg", "matplotlib", "nibabel", "openjpeg", "pydicom")
"""Loggers of libraries that read and draw."""


def quiet_command() -> None:
    """For the rest of this process and those that it starts; only for a program that owns its process.

    Whoever asks for Python's warnings, with ``-W`` or ``PYTHONWARNINGS``, gets them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"
    quiet_readers()


def quiet_readers() -> None:
    """For the rest of this process: nibabel prints every oddity of a header to standard error, as others do."""
    for name in _READERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
