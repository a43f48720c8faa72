"""What is written about a table of predictions: page, cards and JSON, from Python and from the command line."""

import base64
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from ichformer import LABELS
from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.thresholds import fix_thresholds, read_thresholds
from ichformer.reporting.evaluation.cards import TO_FILL, Facts, known
from ichformer.reporting.evaluation.checklists import CLAIM, TRIPOD_AI
from ichformer.reporting.evaluation.folder import FILES
from ichformer.statistics.metrics import auroc
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table, write_predictions, write_thresholds
from tests.evaluation.test_subgroups import spread_out

HOSTILE = (
    "</td></style><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
    "$\\frac{\u202eKCIRT\x1b[31m|`"
)
MAY_RUN_OR_LOAD = {"script", "iframe", "object", "embed", "link", "base", "form", "audio", "video"}


class Parsed(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.style = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "style" and not self.style:
            self.style = data
        self.words.append(data)


@pytest.fixture(scope="module")
def table():
    table = spread_out(prediction_table(n_patients=60, n_slices=3))
    # Ids that can be told from everything else on a page.
    return table.assign(patient="ZQX" + table["patient"], series="ZQX1.2.840")


@pytest.fixture(scope="module")
def validation():
    return prediction_table("val", n_patients=60, n_slices=3, seed=1)


@pytest.fixture(scope="module")
def written(table, validation, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation") / "deep" / "out"
    facts = Facts(name="our model", model="hybrid, 1 parameter", code="commit abc")
    thresholds = fix_thresholds(check_table(validation))
    summary = evaluate(
        table, out=out, thresholds=thresholds, calibrate_on=validation, prevalence=0.1, facts=facts, replicates=50
    )
    return out, summary


@pytest.mark.slow
def test_labels_that_no_row_knows_fill_nothing_but_a_warning(table, tmp_path):
    unknown = table.assign(epidural=np.nan)
    summary = evaluate(unknown, out=tmp_path / "out", replicates=10)
    assert [label.label for label in summary.levels[0].labels] == list(LABELS)  # the figures keep their places
    page = (tmp_path / "out" / "evaluation.html").read_text(encoding="utf-8")
    warnings, _, shown = page.partition("Figures, slice level")
    assert "epidural" in warnings
    assert "epidural" not in shown
    assert shown.count("subdural") > 5


@pytest.mark.slow
def test_every_curve_of_a_row_of_pictures_is_in_its_legend(table, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "legend", lambda self, handles=(), labels=(), **_: drawn.append(list(labels)))
    # The first label has positives only, so that its decision curve cannot be drawn.
    evaluate(table.assign(epidural=1.0, any=1.0), out=tmp_path / "out", replicates=2)
    assert ["treat nobody", "treat everybody", "model"] in drawn


def test_all_files_are_written_and_only_the_predictions_name_patients(written):
    out, _ = written
    assert {path.name for path in out.iterdir()} == set(FILES)
    for name in FILES:
        assert ("ZQX" in (out / name).read_text(encoding="utf-8")) == (name == "predictions.csv")


@pytest.mark.slow
def test_the_page_fetches_and_runs_nothing(written):
    page = Parsed((written[0] / "evaluation.html").read_text(encoding="utf-8"))
    assert not {tag for tag, _ in page.elements} & MAY_RUN_OR_LOAD
    sources = [attrs["src"] for _, attrs in page.elements if "src" in attrs]
    assert len(sources) == 10
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "style"]
    (policy,) = (attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"


def test_the_page_shows_the_figures(written, table):
    out, summary = written
    words = [" ".join(word.split()) for word in Parsed((out / "evaluation.html").read_text(encoding="utf-8")).words]
    for level in summary.levels:
        assert f"{level.n} {level.level}s of {level.n_patients} patients" in " ".join(words)
        for label in level.labels:
            area = label.auroc
            assert any(
                word.startswith(f"{area.value:.3f} ({area.interval.low:.3f}-{area.interval.high:.3f})")
                for word in words
            )
            mcc = label.operating_points[0].mcc
            assert any(word.startswith(f"{mcc.value:.3f} ({mcc.interval.low:.3f}") for word in words)
        for pooled in level.pooled_sites:
            if pooled.value is not None:
                said = f"{pooled.value:.3f} ({pooled.interval.low:.3f}-{pooled.interval.high:.3f})"
                assert said in words
    for said in ("site 3", "By sex", "(unknown)", "PPV at 0.1", "isotonic", "our model"):
        assert any(said in word for word in words), said
    assert all(warning in words for warning in summary.warnings)


@pytest.mark.slow
def test_figures_of_few_positives_are_marked(table, tmp_path):
    rare = table.assign(epidural=np.where(table["patient"].isin(["ZQXtest1", "ZQXtest2"]), 1.0, 0.0))
    summary = evaluate(rare, out=tmp_path / "out", replicates=10, labels=("epidural",))
    words = Parsed((tmp_path / "out" / "evaluation.html").read_text(encoding="utf-8")).words
    label = summary.levels[0].labels[0]
    assert sum(word.startswith(f"{label.auroc.value:.3f} (") and word.endswith("†") for word in words) >= 1
    assert any("fewer than 10" in warning for warning in summary.warnings)


def test_the_calibration_before_and_after_is_in_the_json(written):
    found = json.loads((written[0] / "metrics.json").read_text(encoding="utf-8"))
    assert len(found["calibration"]) == 12
    one = found["calibration"][5]
    assert set(one["after"]) == {"temperature", "platt", "isotonic"}
    assert one["after"]["platt"]["ece_mass"] < one["before"]["ece_mass"]
    assert sum(b["n"] for b in one["before"]["curve"]) == one["before"]["n"]


@pytest.mark.slow
def test_hostile_names_stay_text_everywhere(table, tmp_path):
    hostile = table.rename(columns={"any": HOSTILE, "score_any": f"score_{HOSTILE}"})
    hostile["site"] = np.where(hostile["site"] == "site 1", HOSTILE, "日本 $x_1$")
    hostile[f"group_{HOSTILE}"] = np.where(hostile["patient"] < "ZQXtest3", HOSTILE, "b")
    out = tmp_path / "out"
    evaluate(hostile, out=out, labels=(HOSTILE, "epidural"), facts=Facts(name=HOSTILE, data=HOSTILE), replicates=10)
    page = Parsed((out / "evaluation.html").read_text(encoding="utf-8"))
    assert not {tag for tag, _ in page.elements} & MAY_RUN_OR_LOAD
    assert all(attrs["src"].startswith("data:") for tag, attrs in page.elements if tag == "img")
    assert any("<script>alert(1)" in word for word in page.words)
    for tag, attrs in page.elements:
        if tag == "img":
            svg = base64.b64decode(attrs["src"].partition(",")[2]).decode("utf-8")
            assert "<script" not in svg
            assert "<image" not in svg
    for name in ("evaluation.html", "model_card.md", "claim.md"):
        text = (out / name).read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "<script" not in text.replace("\\<script", "")
    for line in (out / "claim.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == 4


def test_the_check_lists_are_whole_and_filled_with_what_is_known(written):
    assert [item.number for item in CLAIM] == [str(i) for i in range(1, 45)]
    assert len(TRIPOD_AI) == 52
    # As the statement's table marks them (Collins et al. 2024).
    assert [i.number for i in TRIPOD_AI if i.study == "D"] == ["9a", "12a", "12b", "12c", "15", "22", "27a", "27b"]
    assert [i.number for i in TRIPOD_AI if i.study == "E"] == ["12f", "12g", "20c", "24"]
    assert sorted({int(re.sub(r"\D", "", item.number)) for item in TRIPOD_AI}) == list(range(1, 28))
    text = (written[0] / "claim.md").read_text(encoding="utf-8")
    assert text.count("\n| ") == 44 + 52 + 2
    assert "| 22 | The model | hybrid, 1 parameter |" in text
    assert f"| 44 | Funding, other support, role of funders | *{TO_FILL}* |" in text
    everything = Facts(**dict.fromkeys(Facts.__dataclass_fields__, "x"))
    names = {item.knows for item in (*CLAIM, *TRIPOD_AI)} - {""}
    assert names == known(everything, written[1]).keys()
    card = (written[0] / "model_card.md").read_text(encoding="utf-8")
    label = written[1].levels[1].labels[5]
    assert f"| any | {label.n_positive}/{label.n} | {label.auroc.value:.3f} (" in card


@pytest.mark.slow
def test_nothing_is_written_where_the_table_is_faulty(table, validation, tmp_path):
    with pytest.raises(InputError, match="score 2"):
        evaluate(table.assign(score_any=2.0), out=tmp_path / "out")
    with pytest.raises(InputError, match="60 patients are in both"):
        evaluate(table, out=tmp_path / "out", calibrate_on=table.assign(split="val"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        evaluate(table, out=tmp_path / "file", replicates=2, labels=("any",))


# The command line.


@pytest.fixture
def files(table, validation, tmp_path):
    table = table.iloc[:60]
    write_predictions(table, tmp_path / "model.csv")
    write_predictions(table.assign(score_any=1 - table["score_any"]), tmp_path / "worse.csv")
    write_predictions(validation, tmp_path / "val.csv")
    write_thresholds(fix_thresholds(check_table(validation)), tmp_path / "thresholds.json")
    return tmp_path


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    return captured.err


@pytest.mark.slow
def test_evaluate_a_table_of_any_model(capsys, files, table):
    out = files / "out"
    main(["evaluate", "--predictions", str(files / "model.csv"), "--calibrate-on", str(files / "val.csv"), "--json",
          "--out", str(out), "--prevalence", "0.2", "--labels", "any", "epidural"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    truth, scores = (table[name].to_numpy()[:60] for name in ("any", "score_any"))
    assert found["levels"][0]["labels"][0]["auroc"]["value"] == auroc(truth, scores)
    assert (found["thresholds_from"], found["prevalence"]) == ("val", 0.2)
    assert {path.name for path in out.iterdir()} == {*FILES, "thresholds.json"}
    frozen, ours = (read_thresholds(folder / "thresholds.json") for folder in (files, out))
    assert [ours.of("scan", label) for label in ("any", "epidural")] == [
        frozen.of("scan", label) for label in ("any", "epidural")
    ]
    main(["evaluate", "--predictions", str(files / "model.csv"), "--thresholds", str(files / "thresholds.json"),
          "--labels", "any"])  # fmt: skip
    said = capsys.readouterr().out
    assert str(files / "model-evaluation" / "evaluation.html") in said
    assert "subdural" not in said


def test_compare_tables(capsys, files):
    main(["compare", str(files / "worse.csv"), str(files / "model.csv"), "--margin", "0.05", "--replicates", "20",
          "--thresholds", *[str(files / "thresholds.json")] * 2, "--json"])  # fmt: skip
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (found["reference"], found["candidate"]) == ("worse", "model")
    label = found["levels"][0]["labels"][5]
    assert label["auroc"]["value"] > 0.5
    assert label["auroc_p_holm"] >= label["auroc"]["p_value"]
    assert label["non_inferior"]
    main(["compare", str(files / "worse.csv"), str(files / "model.csv"), "--labels", "any", "--replicates", "20"])
    assert "model minus worse" in capsys.readouterr().out


def test_bad_use_is_one_line(capsys, files):
    model, val = files / "model.csv", files / "val.csv"
    assert "needs a run or --predictions" in refused(capsys, "evaluate")
    assert "needs a run or --predictions" in refused(capsys, "evaluate", files, "--predictions", model)
    assert "--predictions only" in refused(capsys, "evaluate", files, "--labels", "any")
    assert "with a run only" in refused(capsys, "evaluate", "--predictions", model, "--store", files)
    assert "no row of the split 'train'" in refused(capsys, "evaluate", "--predictions", model, "--split", "train")
    assert "no column x, score_x" in refused(capsys, "evaluate", "--predictions", model, "--labels", "x")
    assert "holds no thresholds" in refused(capsys, "evaluate", "--predictions", model, "--thresholds", val)
    assert "cannot be read" in refused(capsys, "evaluate", "--predictions", ".")
    assert "in both tables" in refused(capsys, "evaluate", "--predictions", model, "--calibrate-on", model)
    assert "needs two models" in refused(capsys, "compare", model)
    assert "its rows are not those in model" in refused(capsys, "compare", model, val)
    assert "stands there twice" in refused(capsys, "compare", model, model)
    assert "1 for 2 tables" in refused(capsys, "compare", model, val, "--thresholds", files / "thresholds.json")
    assert sorted(path.name for path in files.iterdir()) == ["model.csv", "thresholds.json", "val.csv", "worse.csv"]
