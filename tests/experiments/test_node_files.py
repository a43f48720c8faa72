"""The files with which a node is started: their settings are known, and say what the node's defaults are."""

import dataclasses
import tomllib
from pathlib import Path

import yaml

from ichformer.serving.settings import Destination, NodeSettings, PullSettings, read_settings
from tests.typecheck import unchecked

FOLDER = Path(__file__).parents[2] / "experiments" / "launch" / "node"


def test_the_complete_file_has_every_setting_with_its_default():
    with unchecked():
        found = read_settings(FOLDER / "node.toml", {})
    assert dataclasses.replace(found, send=(), out="node") == NodeSettings(out="node")
    text = (FOLDER / "node.toml").read_text()
    parts = [NodeSettings, *(type(getattr(found, name)) for name in ("listen", "study", "limits"))]
    names = {one.name for part in (*parts, Destination, PullSettings) for one in dataclasses.fields(part)}
    assert [name for name in sorted(names) if f"{name}" not in text] == []


def test_what_stands_behind_a_hash_is_right_too():
    lines = (FOLDER / "node.toml").read_text().splitlines()[1:]
    plain = [
        line.removeprefix("# ") if line.startswith(("# [[", "# k", "# u", "# a", "# h", "# p", "# e", "# d")) else line
        for line in lines
    ]
    values = tomllib.loads("\n".join(plain))
    with unchecked():
        found = NodeSettings(
            out="node",
            send=tuple(Destination(**one) for one in values["send"]),
            pull=tuple(PullSettings(**one) for one in values["pull"]),
        )
    assert [one.kind for one in found.send] == ["dicomweb", "dicom", "webhook", "hl7"]


def test_the_settings_in_the_compose_file_are_known(tmp_path):
    values = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    (tmp_path / "node.toml").write_text(values["configs"]["settings"]["content"])
    with unchecked():
        found = read_settings(tmp_path / "node.toml", {})
    ports = {int(one.rpartition(":")[2]) for one in values["services"]["node"]["ports"]}
    assert ports == {found.listen.port, found.status_port}
    assert found.send[0].url == "http://archive:8042/dicom-web"


def test_the_unit_starts_a_command_that_is_there():
    text = (FOLDER / "ichformer-node.service").read_text()
    (start,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert start.endswith("ichformer serve --config /etc/ichformer/node.toml")
    assert "StateDirectory=ichformer" in text
    assert tomllib.loads((FOLDER / "node.toml").read_text())["out"].startswith("/var/lib/ichformer/")
