"""``tpu_vm.sh`` with a ``gcloud`` that plays a slice: what it asks for in which order, and what becomes of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "launch" / "tpu_vm.sh"

# Notes each call. The next line of `states` is the request's state, the next of `ends` how a training ends: what it
# prints and its exit code. A training runs in a real shell, so that what it is given went through real quoting.
GCLOUD = r"""#!/bin/bash
printf '%s\0' "$@" >> "$PLAY/calls"
echo >> "$PLAY/calls"
next() { sed -n 1p "$PLAY/$1"; sed -i 1d "$PLAY/$1"; }
case "$3 $4" in
  "queued-resources create") if [[ -e $PLAY/no_quota ]]; then exit 1; fi ;;
  "queued-resources list")
    [[ -s $PLAY/states ]] || { echo "asked once more than the play has states" >&2; kill "$PPID"; exit 1; }
    now=$(next states)
    [[ $now == unreachable ]] && exit 1
    echo "$now" ;;
  "queued-resources describe") echo "no capacity" ;;
  "tpu-vm ssh")
    command=${*: -1}
    command=${command#--command=}
    if [[ $command == *"ichformer train"* ]]; then
      read -r code said <<< "$(next ends)"
      HOME=$PLAY/home CODE=$code SAID=$said bash -c "$command"
    else
      bash -n -c "$command"
    fi ;;
esac
"""
TRAINING = """#!/bin/bash
printf '%s\\0' "$@" > "$PLAY/arguments"
[[ -n $SAID ]] && echo "$SAID"
exit "$CODE"
"""
DONE, STOPPED, BAD_INPUT, HOST_LOST = "0 runs/x: loss 0.1", "0", "2", "1"
START = ["tpu-vm scp", "tpu-vm ssh", "tpu-vm ssh"]
LIST, CREATE, DELETE = (f"queued-resources {verb}" for verb in ("list", "create", "delete"))


class Play:
    def __init__(self, folder: Path):
        self.folder = folder
        for name, text in (("bin/gcloud", GCLOUD), ("home/ichformer/bin/ichformer", TRAINING)):
            file = folder / name
            file.parent.mkdir(parents=True)
            file.write_text(text)
            file.chmod(0o755)

    def __call__(self, states: list[str], ends: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
        for name, lines in (("states", states), ("ends", ends)):
            (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        given = {"ZONE": "us-east5-a", "SHARE": "10.0.0.2:/ichformer", "PAUSE_S": "0", "PLAY": str(self.folder)}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            [SCRIPT, "base", *arguments],
            env=os.environ | given | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=600,
        )

    @property
    def calls(self) -> list[list[str]]:
        lines = (self.folder / "calls").read_text().split("\0\n")
        return [line.split("\0") for line in lines if line]

    @property
    def verbs(self) -> list[str]:
        return [" ".join(call[2:4]) for call in self.calls]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def test_a_preempted_slice_is_asked_for_again_and_deleted_when_all_is_done(play):
    states = ["", "WAITING_FOR_RESOURCES", "ACTIVE", "SUSPENDING", "SUSPENDED", "", "PROVISIONING", *["ACTIVE"] * 2]
    done = play(states, [STOPPED, DONE], "--out", "/mnt/share/runs/x")
    assert done.returncode == 0, done.stderr
    first = [LIST, CREATE, LIST, LIST, *START, LIST]
    again = [LIST, DELETE, LIST, CREATE, LIST, LIST, *START]
    assert play.verbs == [*first, *again, LIST, DELETE]
    assert all("--zone=us-east5-a" in call for call in play.calls)
    assert "runs/x: loss 0.1" in done.stdout


def test_arguments_reach_the_training_as_they_were_given(play):
    given = ["--out", "/mnt/share/a 'run' of \"mine\"", "--optim.freeze", "encoder/*", "$HOME"]
    assert play(["ACTIVE", "ACTIVE"], [DONE], *given).returncode == 0
    assert (play.folder / "arguments").read_text().split("\0")[:-1] == ["train", *given]


def test_a_slice_that_a_start_before_left_is_used(play):
    assert play(["ACTIVE", "ACTIVE"], [DONE]).returncode == 0
    assert play.verbs == [LIST, *START, LIST, DELETE]


def test_bad_input_is_not_tried_again(play):
    assert play(["", "ACTIVE", "ACTIVE"], [BAD_INPUT]).returncode == 2
    assert play.verbs == [LIST, CREATE, LIST, *START, LIST, DELETE]


def test_a_training_that_fails_on_a_slice_that_is_there_is_started_five_times(play):
    done = play(["", *["ACTIVE"] * 11], [HOST_LOST] * 5)
    assert done.returncode == 1
    assert "five failures in a row" in done.stderr
    assert play.verbs == [LIST, CREATE, *[LIST, *START, LIST] * 5, LIST, DELETE]


def test_a_look_that_fails_is_no_state(play):
    assert play(["", "unreachable", "ACTIVE", "unreachable"], [DONE]).returncode == 0
    assert play.verbs == [LIST, CREATE, LIST, LIST, *START, LIST, DELETE]


def test_a_request_that_failed_says_why_and_is_deleted(play):
    done = play(["", "FAILED", "FAILED"], [])
    assert done.returncode == 1
    assert "no capacity" in done.stderr
    assert play.verbs[-1] == DELETE


def test_a_request_that_is_refused_ends_it(play):
    (play.folder / "no_quota").touch()
    assert play(["", ""], []).returncode == 1
    assert play.verbs == [LIST, CREATE, LIST]


@pytest.mark.slow
def test_gcloud_knows_every_command(play, tmp_path):
    """Google's own parses them, without an account: what it does not know it names before it asks for one."""
    if shutil.which("gcloud") is None:
        pytest.skip("no gcloud here: apt-get install google-cloud-cli")
    play(["", "FAILED", "FAILED"], [])
    play(["", "ACTIVE", "ACTIVE"], [DONE])
    nobody = os.environ | {"CLOUDSDK_CONFIG": str(tmp_path / "nobody"), "CLOUDSDK_CORE_PROJECT": "nobody"}

    def said(call: list[str]) -> str:
        return subprocess.run(["gcloud", *call], env=nobody, capture_output=True, text=True, timeout=600).stderr

    calls = {" ".join(call[2:4]): call for call in play.calls}
    assert set(calls) == {LIST, CREATE, DELETE, "queued-resources describe", "tpu-vm scp", "tpu-vm ssh"}
    for call in calls.values():
        assert "active account" in said(call), said(call)
    assert "unrecognized arguments" in said([*calls[CREATE], "--spott"])
