"""``ichformer worklist`` on folders as ``ichformer predict`` writes them."""

import json
from pathlib import Path

import pytest

from ichformer.cli import main
from ichformer.files.csv_fields import write_csv
from ichformer.labels import SIX
from ichformer.reporting.scan.scores_table import as_columns, row_without_scores, table_columns
from ichformer.workflows.prediction.choose_series import choose
from tests.workflows.counter import write_head


def predictions(out: Path, csv: Path) -> Path:
    rows = [
        {"number": 1, "key": "1" * 20, "folder": "head-1", "score_any": 0.2, "positive_any": 0},
        {"number": 2, "key": "2" * 20, "folder": "=head-2", "score_any": 0.8, "positive_any": 1},
        row_without_scores(3, "3" * 20, error="unreadable: no pixels", source={}),
    ]
    (out / "=head-2").mkdir(parents=True)
    (out / "=head-2" / "report.html").write_text("a page")
    (out / "=head-2" / "prediction.json").write_text("{}")
    write_csv(as_columns(rows, table_columns(SIX, with_uids=False)), csv)
    return out


def test_the_list_is_written_beside_the_predictions(tmp_path, capsys):
    out = predictions(tmp_path / "out", tmp_path / "out" / "scores.csv")
    before = (out / "scores.csv").read_bytes()
    main(["worklist", str(out)])
    said = capsys.readouterr().out
    assert "not listed" not in said
    assert said.startswith("1 raised, 1 not scored, 1 not raised, 0 set aside\nNothing is known about scans that are")
    main(["worklist", str(out), "--json"])
    values = json.loads(capsys.readouterr().out)
    assert [entry["key"][0] for entry in values["entries"]] == ["2", "3", "1"]
    assert values["counts"] == {"raised": 1, "not_scored": 1, "scored": 1, "set_aside": 0}
    assert 'href="%3Dhead-2/report.html"' in Path(values["page"]).read_text()
    assert (out / "scores.csv").read_bytes() == before
    assert {file.name for file in out.iterdir()} == {"=head-2", "scores.csv", "worklist.csv", "worklist.html"}


def test_the_table_may_lie_elsewhere_and_has_to_be_one(tmp_path, capsys):
    out = predictions(tmp_path / "out", tmp_path / "table.csv")
    (tmp_path / "other.csv").write_text("patient,any\na,1\n")
    for words, said in (
        ([tmp_path / "nowhere"], "nowhere: is no folder; name the folder of ichformer predict --out"),
        ([out], "scores.csv: is not there; predict again with --csv and --skip-existing"),
        ([out, "--csv", tmp_path / "other.csv"], "other.csv: lacks the column 'number'"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["worklist", *map(str, words)])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
    assert not (out / "worklist.html").exists()
    (out / "of-another-call").mkdir()
    (out / "of-another-call" / "prediction.json").write_text("{}")
    main(["worklist", str(out), "--csv", str(tmp_path / "table.csv")])
    assert "1 prediction is not in this list" in (out / "worklist.html").read_text()
    assert "1 in the folder not listed" in capsys.readouterr().out


@pytest.mark.slow
def test_only_series_beside_a_chosen_one_are_said_to_be_so(tmp_path):
    """Of a study in which none is chosen, nobody would look at any."""
    for study, contrasts in (("a", (False, True)), ("b", (True, True))):
        for number, contrast in enumerate(contrasts):
            tags = {"StudyInstanceUID": f"1.2.{ord(study)}", "series_uid": f"1.2.{ord(study)}.{number}"}
            agent = {"ContrastBolusAgent": "IOPAMIDOL"} if contrast else {}
            write_head(tmp_path / study / str(number), step_mm=9.0, degrees=0.0, **tags, **agent)
    found = choose([tmp_path / "a", tmp_path / "b"], series=None, all_series=False, progress=False)
    assert [(one.is_wanted, one.is_beside_chosen) for one in found.candidates] == [
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]
