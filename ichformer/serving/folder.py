"""The folder of a node: what lies where in it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ichformer.serving.queue.database import Round


@dataclass(frozen=True)
class NodeFolder:
    """The folder of a node."""

    path: Path

    @property
    def temporary(self) -> Path:
        """Files while they come; nothing in it outlives the node's process."""
        return self.path / "temporary"

    @property
    def audit_log(self) -> Path:
        """What the node did, a JSON object a line."""
        return self.path / "audit.jsonl"

    @property
    def compiled(self) -> Path:
        """What XLA compiled for the model."""
        return self.path / "compiled"

    def images(self, study: str) -> Path:
        """The instances of a study, a file each."""
        return self.path / "images" / study

    def results(self, of: Round) -> Path:
        """What was made of a round of a study: a folder for each series."""
        return self.path / "results" / of.study / str(of.number)

    def make(self) -> None:
        """Make what is missing, for nobody else to read, and empty what does not outlive a process."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)
        for place in (self.temporary, self.path / "images", self.path / "results", self.compiled):
            place.mkdir(mode=0o700, exist_ok=True)

    def studies(self) -> set[str]:
        """Names of all studies of which something lies here."""
        return {one.name for kind in ("images", "results") for one in (self.path / kind).iterdir()}

    def wipe(self, study: str) -> None:
        """Delete images and results of a study."""
        shutil.rmtree(self.images(study), ignore_errors=True)
        shutil.rmtree(self.path / "results" / study, ignore_errors=True)
