"""``ichformer export``: bundles that every command takes, cards that a hub reads, and what is refused."""

import json
import shutil

import pytest

import ichformer as ich
from ichformer.cli.main import main
from ichformer.errors import InputError
from ichformer.inference.trained import open_trained
from ichformer.training.labels import LABELS_NAME
from ichformer.workflows.exports.write_export import export_folder


@pytest.fixture(scope="module")
def bundle(tiny_run, tiny_store, tmp_path_factory):
    """As the command makes it, with thresholds of the store that the run was trained on."""
    file = tmp_path_factory.mktemp("bundle") / "first.ichformer"
    main(["export", str(tiny_run), "--out", str(file), "--store", str(tiny_store)])
    return file


@pytest.mark.slow
def test_every_command_takes_a_bundle(bundle, tiny_run, tiny_store, tmp_path, capsys):
    scan = next(path.parent for path in sorted((tiny_store.parent / "cohort").rglob("*.dcm")))
    main(["predict", str(scan), "--run", str(bundle), "--out", str(tmp_path / "out"), "--no-report", "--json"])
    assert json.loads(capsys.readouterr().out)
    main(["evaluate", str(bundle), "--store", str(tiny_store), "--json"])
    assert json.loads(capsys.readouterr().out)["levels"]
    assert (bundle.parent / "first-evaluation" / "evaluation.html").is_file()
    main(["explain", str(bundle), str(scan), "--out", str(tmp_path / "explained")])
    volume = ich.read_volume(scan)
    theirs, ours = (ich.open_run(one).predict(volume).scan_scores for one in (bundle, tiny_run))
    assert theirs == pytest.approx(ours, abs=2e-3)


@pytest.mark.slow
def test_it_is_the_same_file_again(bundle, tiny_run, tiny_store, tmp_path):
    main(["export", str(tiny_run), "--out", str(tmp_path / "again"), "--store", str(tiny_store)])
    assert (tmp_path / "again").read_bytes() == bundle.read_bytes()


def test_a_bundle_is_exported_with_its_thresholds(bundle, tmp_path, capsys):
    """Its parameters are float16 already, so that nothing that was fixed for them changes."""
    main(["export", str(bundle), "--out", str(tmp_path / "copy"), "--to", "folder", "--json"])
    assert json.loads(capsys.readouterr().out) == {"export": str(tmp_path / "copy"), "to": "folder"}
    copy, before = ich.open_run(tmp_path / "copy"), ich.open_run(bundle)
    assert copy.run.fingerprint == before.run.fingerprint
    for name in ("thresholds.json", "validation.csv", "ood.npz", "seen.csv", LABELS_NAME):
        assert (copy.path / name).read_bytes() == (before.path / name).read_bytes()


def test_the_card_is_one_that_the_hub_reads(bundle):
    hub = pytest.importorskip("huggingface_hub")
    text = (ich.open_run(bundle).path / "README.md").read_text()
    data = hub.ModelCard(text).data
    assert (data.license, data.library_name) == ("apache-2.0", "ichformer")
    assert [one.metric_type for one in data.eval_results] == ["roc_auc"] * len(data.eval_results)
    assert all(f"{one.metric_value:.3f}" in text for one in data.eval_results)
    assert "esearch use only" in text


@pytest.mark.slow
def test_nothing_private_is_passed_on(tiny_run, tmp_path):
    """As a run on a store that was prepared --with-uids has it."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    seen = (run / "seen.csv").read_text().splitlines()
    header, first = seen[0].split(","), seen[1].split(",")
    first[header.index("origin")], first[header.index("study")] = "folder", "1.2.840.113619.2.55.3.604688119.971"
    (run / "seen.csv").write_text("\n".join([seen[0], ",".join(first)]) + "\n")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run), "--out", str(tmp_path / "a.ichformer")])
    assert ended.value.code == 2
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_what_is_in_the_way(bundle, tiny_run, tmp_path):
    run = open_trained(tiny_run)
    with pytest.raises(InputError, match="is there already; name a new file"):
        export_folder(run, bundle, as_bundle=True)
    with pytest.raises(InputError, match="is there and is not an empty folder"):
        export_folder(run, bundle.parent, as_bundle=False)


def test_what_was_trained_is_passed_on(tiny_run, tmp_path):
    """Which outputs have a loss; the others mean nothing."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    labels = json.loads((run / LABELS_NAME).read_text())
    labels["trained"]["slice"] = ["any"]
    (run / LABELS_NAME).write_text(json.dumps(labels))
    export_folder(open_trained(run), tmp_path / "out", as_bundle=False)
    assert open_trained(tmp_path / "out").objective.slice_labels == ("any",)
