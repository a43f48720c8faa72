"""A Chromium without a window, driven over its debugging pipe: keys are real, and scripts need not be in the page."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NARROW, WIDE = (360, 780), (1280, 900)


class Browser:
    """One page; ``send`` is a command of the DevTools protocol."""

    def __init__(self, writing: int, reading: int):
        self._writing, self._reading = writing, os.fdopen(reading, "rb")
        self._numbers, self._rest = itertools.count(1), b""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")

    _session = ""

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            self._rest += self._reading.read1(1 << 16) or pytest.fail("Chromium has ended")
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def send(self, method: str, **given: object) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._message()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path, *, size: tuple[int, int], scheme: str = "light") -> None:
        """Shows a file once it has run, with so many pixels and in light or dark colours."""
        width, height = size
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=page.as_uri())
        ready = "document.readyState === 'complete' && document.body.dataset.ready !== '0'"
        here = f"location.href === {json.dumps(page.as_uri())}"
        while not self.run(f"{here} && {ready}"):
            pass

    def close(self) -> None:
        """Closes this end of the pipes."""
        os.close(self._writing)
        self._reading.close()

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key goes down and up."""
        given = {"key": key, "windowsVirtualKeyCode": 9 if key == "Tab" else 0, "modifiers": 8 * shift}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, **given)

    def click(self, x: float, y: float) -> None:
        """The mouse goes down and up, at pixels of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


# Chromium looks for the pipes there. In a program of its own: JAX has threads, and warns of what runs after a fork.
_AT_3_AND_4 = """
import os, sys
theirs, answers = (os.dup2(int(pipe), 1003 + k) for k, pipe in enumerate(sys.argv[1:3]))
os.dup2(theirs, 3), os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser that ends with the block."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    theirs, ours = os.pipe()
    answers, their_answers = os.pipe()

    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_3_AND_4, str(theirs), str(their_answers), program, *options],
        pass_fds=(theirs, their_answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs), os.close(their_answers)
    browser = Browser(ours, answers)
    try:
        yield browser
    finally:
        process.terminate()
        process.wait(timeout=600)
        browser.close()
