"""Smoke run: cohort, store, four steps, a second call that finds nothing left to do.

Claim: the way from DICOM to a trained run works on this machine. It says nothing about accuracy.
Cost: under a minute on 2 CPU cores.
Command: python experiments/smoke.py
Expected: one line with a finite loss; then "resumed: nothing left to do".
"""

import json
import tempfile
from pathlib import Path

import ichformer as ich
from ichformer.testing import tiny_cohort


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_cohort(folder / "cohort", scans=16)
        store = ich.prepare(
            "phantom", source=folder / "cohort", out=folder / "store", config={"size": 64}, workers=1, progress=False
        )
        written = []
        for _ in range(2):
            ich.train(
                store, model="slice_vit_nano", out=folder / "run", steps=4, data={"num_slices": 8}, progress=False
            )
            written.append((folder / "run" / "metrics.jsonl").read_text())
        print(f"loss {json.loads(written[0].splitlines()[-1])['loss']:.3f}")
        print("resumed: nothing left to do" if written[0] == written[1] else "resumed: trained again?")


if __name__ == "__main__":
    main()
