"""CSVs of labels as people write them, over a folder of five small NIfTI scans."""

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.cli import main
from ichformer.cohorts.folder.adapter import read_folder
from ichformer.cohorts.folder.columns import LEFT_OUT, name_columns, numbers_something, parse_columns
from ichformer.cohorts.tables import read_table
from ichformer.errors import InputError
from tests.cohorts.nifti_sets import scan, write_nifti

SCANS = ("p1/a.nii.gz", "p1/b.nii.gz", "p2/a.nii.gz", "p3/a.nii", "p3/c.nii")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder") / "scans"
    for seed, name in enumerate(SCANS):
        write_nifti(root / name, scan(seed, slices=3))
    return root


def read(source, tmp_path, text, columns=(), patient_from=""):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return read_folder(source, cache=tmp_path / "cache", labels=path, columns=columns, patient_from=patient_from)


def by_path(source, folder):
    """Rows of the index by their path below the source."""
    return folder.index.set_index(folder.index["path"].str.removeprefix(f"{source}/"))


@pytest.mark.parametrize(
    "text",
    [
        "path,any\np1/a.nii.gz,1\np3/c.nii,0\n",
        "path,any\np2/../p1/a.nii.gz,1\np3//c.nii,0\n",
        "Filename;ICH\np1/a.nii.gz;yes\np3/c.nii;NO\n",
        "image\thaemorrhage\np1\\a.nii.gz\tTrue\n\np3/c\tfalse\n",
        "scan_path,Any Hemorrhage\n./p1/a.nii.gz,1.0\np3/c.nii,0.0\np2,\n",
        ",file,bleed\n0,p1/a,pos\n1,p3/c.nii,neg\n",
        'file;ich;\n"=""p1/a.nii.gz""";1,0;\np3/c.nii;0,0;\n',
    ],
)
def test_names_separators_and_values(source, tmp_path, text):
    index = by_path(source, read(source, tmp_path, text))
    np.testing.assert_array_equal(index.loc[list(SCANS), "any"], [1, np.nan, np.nan, np.nan, 0])
    assert [name for name in index if name.startswith("group_")] == []


def test_an_absolute_path_names_a_scan(source, tmp_path):
    index = by_path(source, read(source, tmp_path, f"path,any\n{source}/p2/a.nii.gz,1\n"))
    assert index["any"].dropna().to_dict() == {"p2/a.nii.gz": 1}


def test_a_path_may_start_at_the_csv(source, tmp_path):
    path = source.parent / "beside.csv"
    path.write_text("path,any\nscans/p2/a.nii.gz,1\n")
    index = by_path(source, read_folder(source, cache=tmp_path / "cache", labels=path))
    assert index["any"].dropna().to_dict() == {"p2/a.nii.gz": 1}


def test_uids_beside_the_paths_of_scans_that_have_none(source, tmp_path):
    text = "path,SeriesInstanceUID,StudyInstanceUID,any\np1/a.nii.gz,1.2.3,1.2,1\n"
    index = by_path(source, read(source, tmp_path, text))
    assert index["any"].dropna().to_dict() == {"p1/a.nii.gz": 1}
    assert index.loc["p1/a.nii.gz", "study"] == "1.2"


def test_a_row_of_a_folder_labels_what_lies_there_and_that_is_said(source, tmp_path):
    folder = read(source, tmp_path, "path,any\np1,1\n")
    assert by_path(source, folder)["any"].dropna().to_dict() == {"p1/a.nii.gz": 1, "p1/b.nii.gz": 1}
    assert "1 rows label more than one scan each (up to 2), as their path does" in folder.notes


def test_a_name_without_its_suffix_that_could_be_two_scans_is_none(tmp_path):
    root = tmp_path / "scans"
    for seed, name in enumerate(("a.nii", "a.nii.gz", "b.nii", "b/c.nii")):
        write_nifti(root / name, scan(seed, slices=2))
    with pytest.raises(InputError, match=r"line 2: matches no series: 'a' \(is it 'a\.nii' or 'a\.nii\.gz'\?\)"):
        read(root, tmp_path, "path,any\na,1\n")
    index = by_path(root, read(root, tmp_path, "path,any\nb,1\n"))
    assert index["any"].dropna().to_dict() == {"b/c.nii": 1}


def test_subtypes_by_their_usual_names(source, tmp_path):
    text = "path,EDH,IPH,IVH,SAH,SDH,ICH\np1/a,0,1,0,0,0,1\np2/a,0,0,0,0,0,\n"
    index = by_path(source, read(source, tmp_path, text))
    assert index.loc["p1/a.nii.gz", list(LABELS)].tolist() == [0, 1, 0, 0, 0, 1]
    assert index.loc["p2/a.nii.gz", list(LABELS)].tolist() == [0, 0, 0, 0, 0, 0]
    text = "path,Epidural_Hematoma,subdural haematoma,IntraventricularHemorrhage,SAH bleed\np1/a,1,0,0,0\n"
    index = by_path(source, read(source, tmp_path, text))
    assert index.loc["p1/a.nii.gz", ["epidural", "subdural", "intraventricular", "subarachnoid"]].tolist() == [
        1,
        0,
        0,
        0,
    ]


def test_what_stands_beside_the_key(source, tmp_path):
    text = (
        "path,PatientID,StudyInstanceUID,Hospital,Split,origin,scanner,any\n"
        "p1/a,Jane Doe,s1,A,Train,hemseg200,GE,1\n"
        "p1/b,Jane Doe,s2,A,TRAIN,hemseg200,GE,0\n"
        "p2/a,,,B,test,,Siemens,0\n"
    )
    folder = read(source, tmp_path, text)
    index = by_path(source, folder)
    assert index.loc["p1/a.nii.gz", "patient"] == index.loc["p1/b.nii.gz", "patient"]
    assert index.loc[list(SCANS), "patient_source"].tolist() == ["table", "table", "guessed", "guessed", "guessed"]
    assert index.loc[list(SCANS), "study"].tolist() == ["s1", "s2", "", "", ""]
    assert index.loc[list(SCANS), "site"].tolist() == ["A", "A", "B", "", ""]
    assert index.loc[list(SCANS), "split"].tolist() == ["train", "train", "test", "", ""]
    assert index.loc[list(SCANS), "origin"].tolist() == ["hemseg200", "hemseg200", "folder", "folder", "folder"]
    assert index.loc[list(SCANS), "group_scanner"].tolist() == ["GE", "GE", "Siemens", "", ""]
    assert "Jane" not in folder.index.to_csv()
    columns, without_row = folder.notes
    assert columns == (
        "columns of labels.csv: path, PatientID = patient, StudyInstanceUID = study, Hospital = site, Split = split, "
        "origin, any; subgroups of the evaluation: scanner"
    )
    assert without_row == "2 of 5 scans have no row in labels.csv and so no labels"
    assert folder.warnings == ()


def test_blank_rows_are_skipped_with_a_note(source, tmp_path):
    folder = read(source, tmp_path, "path,any\np1/a,1\n,\n,\np2/a,0\n")
    assert by_path(source, folder)["any"].dropna().tolist() == [1, 0]
    assert "blank rows of labels.csv that were skipped: 2" in folder.notes


def test_names_of_persons_and_long_lists_of_values_are_no_subgroups(source, tmp_path):
    rows = "".join(f"p1/a,a.nii.gz#{k % 3 + 1},Jane Doe,{k}\n" for k in range(3))
    folder = read(source, tmp_path, "path,slice,Patient Name,any\n" + rows.replace(",2\n", ",1\n"))
    assert "the column 'Patient Name' may name a person and was not read" in folder.notes
    assert "Jane" not in folder.index.to_csv()
    columns = name_columns(["path", "any", "date of birth", "MRN", "comment"], {})
    assert columns.meanings == ("path", "any", LEFT_OUT, LEFT_OUT, "group_comment")


def test_more_than_30_values_are_no_subgroup(tmp_path):
    root = tmp_path / "scans"
    for seed in range(31):
        write_nifti(root / f"{seed}.nii", scan(seed, slices=1)[:8, :8])
    text = "path,any,comment,fold\n" + "".join(f"{k}.nii,{k % 2},text {k},{k % 5}\n" for k in range(31))
    folder = read(root, tmp_path, text)
    assert "group_comment" not in folder.index
    assert sorted(set(folder.index["group_fold"])) == ["0", "1", "2", "3", "4"]
    assert folder.notes[1:] == ("the column comment has 31 values and was not read: put them into 30 or fewer",)


def test_what_may_number_persons_is_no_subgroup_unless_it_is_asked_for(tmp_path):
    root = tmp_path / "scans"
    for number in range(14):
        write_nifti(root / f"{number}.nii", scan(number, slices=1)[:8, :8])
    # Two scans of each patient; a reader of every third one; a column of 0 and 1 that ends like a number.
    rows = "".join(f"{k}.nii,{k % 2},{k // 2},Anna {k},R{k % 3},{k % 2},{k % 4}\n" for k in range(14))
    text = f"path,any,Fallnummer,alias,kernel,contrast_yes_no,scanner_id\n{rows}"
    folder = read(root, tmp_path, text)
    groups = {"group_kernel", "group_contrast_yes_no", "group_scanner_id"}
    assert {name for name in folder.index if name.startswith("group_")} == groups
    assert "Anna" not in folder.index.to_csv()
    told, number, alias = folder.notes
    assert told.endswith("; subgroups of the evaluation: kernel, contrast_yes_no, scanner_id")
    assert number.startswith("the column Fallnummer has 7 values in 14 scans and was not read: it may name persons or")
    assert alias.startswith(
        "the column alias has 14 values in 14 scans and was not read: it may name persons or scans."
    )
    asked = read(root, tmp_path, text, columns=["patient=Fallnummer", "group_alias=alias"])
    assert sorted(asked.index["group_alias"]) == sorted(f"Anna {k}" for k in range(14))
    assert set(asked.index["patient_source"]) == {"table"}
    named = read(root, tmp_path, text.replace(",alias,", ",group_alias,"))
    assert named.index["group_alias"].nunique() == 14
    assert folder.warnings == ()


def test_a_name_for_each_scan_in_rows_of_slices_is_no_subgroup(source, tmp_path):
    rows = "".join(f"{name},{name[3:]}#{k + 1},Name {name},0\n" for name in SCANS for k in range(3))
    folder = read(source, tmp_path, f"path,slice,reader,any\n{rows}")
    assert "group_reader" not in folder.index


@pytest.mark.parametrize("name", ["patient_no", "patient_nr", "pateint_id", "participant_ids", "slice_num"])
def test_what_is_near_a_known_name_is_asked_about_though_it_ends_like_a_number(name):
    (problem, *_) = name_columns(["path", "any", name], {}).problems
    assert f"has a column '{name}': {name} -> " in problem


@pytest.mark.parametrize("name", ["covid", "steroids", "thyroid", "yes_no_list", "sdh_status", "kernel"])
def test_words_that_only_end_like_a_number_are_none(name):
    assert not numbers_something(name)
    assert name_columns(["path", "any", name], {}).meanings[-1] == f"group_{name}"


@pytest.mark.parametrize("name", ["fall_id", "CaseID", "Fallnummer", "case", "ID", "subject code", "exam-no"])
def test_names_of_numbers(name):
    assert numbers_something(name)


def test_labels_under_names_that_nobody_knows_are_not_lost_in_silence(source, tmp_path):
    text = "path,Klinik,Blutung,SAH_present,parenchym,haemorrhage_seen\np1/a,north,1,1,0,1\np2/a,south,no,0,0,0\n"
    with pytest.raises(InputError, match=r"intraparenchymal=parenchym; not understood either.*: Klinik, Blutung;"):
        read(source, tmp_path, text)
    folder = read(source, tmp_path, text, columns=["intraparenchymal=parenchym"])
    index = by_path(source, folder)
    for name, values in {"any": [1, 0], "subarachnoid": [1, 0], "intraparenchymal": [0, 0]}.items():
        assert index[name].dropna().tolist() == values
    assert folder.notes[0] == (
        "columns of labels.csv: path, SAH_present = subarachnoid, parenchym = intraparenchymal, "
        "haemorrhage_seen = any; subgroups of the evaluation: Klinik, Blutung"
    )
    assert folder.warnings == ()  # "any" is known
    unsaid = text.replace("haemorrhage_seen", "grade")
    (warning,) = read(source, tmp_path, unsaid, columns=["intraparenchymal=parenchym"]).warnings
    assert warning.startswith("columns with 0 and 1 that became subgroups: Blutung, grade. No column is any. If one of")
    asked = unsaid.replace("Blutung", "group_male").replace("grade", "group_contrast")
    assert read(source, tmp_path, asked, columns=["intraparenchymal=parenchym"]).warnings == ()


def test_a_value_that_stands_often_is_named_once_under_the_name_of_its_column(source, tmp_path):
    text = "path,haemorrhage\n" + "".join(f"{name},ja\n" for name in SCANS)
    with pytest.raises(InputError, match=r"labels\.csv: line 2: haemorrhage \(any\) is 'ja' in 5 lines; the header"):
        read(source, tmp_path, text)


def test_no_scan_of_another_patient_is_suggested(tmp_path):
    root = tmp_path / "scans"
    for number in range(6):
        write_nifti(root / f"ct/pt{number:02d}/head.nii.gz", scan(number, slices=2))
    with pytest.raises(InputError, match=r"'ct/pt3/head.nii.gz' \(is it 'ct/pt03/head.nii.gz'\?\)"):
        read(root, tmp_path, "path,any\nct/pt3/head.nii.gz,1\n")
    for name in ("ct/pt9/head.nii.gz", "head.nii.gz", "pt/head.nii.gz", "ct/pt41/head.nii.gz"):
        with pytest.raises(InputError, match=f"matches no series: '{name}'; the header"):
            read(root, tmp_path, f"path,any\n{name},1\n")


def test_columns_with_the_names_of_their_meanings_need_no_word(source, tmp_path):
    folder = read(source, tmp_path, "path,patient,any,subdural\n" + "".join(f"{name},1,1,0\n" for name in SCANS))
    assert (folder.notes, folder.warnings) == ((), ())


@pytest.mark.parametrize("name", ["has", "label", "present", "has_label", "atrophy_present", "last_seen"])
def test_words_that_may_follow_a_bleed_are_none(name):
    assert name_columns(["path", "subdural", name], {}).meanings[-1].startswith("group_")


def test_rows_are_not_asked_for_a_column_that_is_not_there(source, tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv: there is no column 'nii' for path; the header is"):
        read(source, tmp_path, "file,any\np1/a,1\n", columns=["path=nii"])


def test_columns_that_are_named(source, tmp_path):
    text = "nii,truth,ICH\np1/a,1,x\np2/a,0,y\n"
    folder = read(source, tmp_path, text, columns=("path=nii", "any=truth", "group_kind=ICH"))
    index = by_path(source, folder)
    assert index["any"].dropna().to_dict() == {"p1/a.nii.gz": 1, "p2/a.nii.gz": 0}
    assert index.loc[["p1/a.nii.gz", "p2/a.nii.gz"], "group_kind"].tolist() == ["x", "y"]
    text = "path,EDH,ICH,IVH\np1/a,0,1,0\n"
    index = by_path(source, read(source, tmp_path, text, columns=("intraparenchymal=ICH",)))
    assert index.loc["p1/a.nii.gz", ["intraparenchymal", "any"]].tolist() == [1, 1]
    assert parse_columns(["any=ICH", " path = my file "]) == {"any": "ICH", "path": "my file"}


@pytest.mark.parametrize("given", ["any", "any=", "=ICH", "bleed=ICH", "group_=x"])
def test_columns_that_make_no_sense(given):
    with pytest.raises(InputError, match="--columns: found"):
        parse_columns([given])
    with pytest.raises(InputError, match="names 'any' twice"):
        parse_columns(["any=a", "any=b"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,id\n1,x\n", ["id -> path?", "label -> any?", "the header is: label, id"]),
        ("path,subdual,any\np1/a,1,1\n", ["subdual -> subdural?"]),
        ("path,anny\np1/a,1\n", ["has no labels", "anny -> any?"]),
        ("pathh,any\np1/a,1\n", ["has no column that names the scan", "pathh -> path?"]),
        ("path,any,bleed\np1/a,1,1\n", ["any and bleed both mean any"]),
        ("path,file,any\np1/a,p1/a,1\n", ["path and file both mean path"]),
        ("path,any,any\np1/a,1,0\n", ["any and any both mean any"]),
        ("path,EDH,SDH,ICH\np1/a,0,0,1\n", ["ICH can mean any bleed or the intraparenchymal one"]),
        ("path,any,No_Hemorrhage\np1/a,1,0\n", ["says the opposite of any"]),
        ("path,any,\np1/a,1,x\n", ["column 3 has no name"]),
        # Slices of one series: the files are not scans.
        ("path,any\np1/a.nii.gz/1,1\n", ["line 2: matches no series"]),
        ("path,any\n\n\np9/z.nii,1\n", ["line 4: matches no series: 'p9/z.nii'"]),
        ("path,any\n/mnt/x/p2/a.nii.gz,1\n", ["is it 'p2/a.nii.gz'?"]),
        ("path,any\nC:\\x\\p1\\a.nii.gz,1\n", ["is it 'p1/a.nii.gz'?"]),
        ("path,slice,any\np1/a.nii.gz,7,1\n", ["line 2: its scan has no slice '7'; it has 3, such as 'a.nii.gz#"]),
        ("path,any\nb.nii.gz,1\n", ["line 2: matches no series: 'b.nii.gz' (is it 'p1/b.nii.gz'?)"]),
        ('path,any,site\np1/a,1,"A\nB"\np2/a,-1,A\n', ["line 4: any is '-1'"]),
        ("path,any\np1/a,none\n", ["line 2: any is 'none'"]),
        ("path,any\np1/a,0.5\n", ["line 2: any is '0.5'"]),
        ("path,any,SDH\n\np1/a,0,1\n", ["line 3: any is 0 where a subtype is 1 (subdural)"]),
        ("path,any,split\np1/a,0,validation\n", ["line 2: split is 'validation', not train, val, test or nothing"]),
        ("path,any\np1/a,0\np1/a.nii.gz,1\n", ["line 3: labels what an earlier line labels (line 2)"]),
        ("path,series,any\np1/a,S-0123456789ab,0\n", ["line 2: matches no series: 'p1/a S-0123456789ab'"]),
        ("patient,any\np1,1\n", ["line 2: matches no series: 'p1'"]),
        (
            "path,slice,any,site\np1/a,a.nii.gz#1,1,x\np1/a,a.nii.gz#2,1,y\n",
            ["lines 2 and 3 give one series several sites"],
        ),
        (
            "path,slice,any,sex\np1/a,a.nii.gz#1,1,x\np1/a,a.nii.gz#2,1,y\n",
            ["give one series several values of group_sex"],
        ),
        ("path,slice,any\np1/a,a.nii.gz#4,1\n", ["line 2: its scan has no slice 'a.nii.gz#4'; it has 3"]),
    ],
)
def test_what_is_refused(source, tmp_path, text, words):
    with pytest.raises(InputError) as refused:
        read(source, tmp_path, text)
    for said in words:
        assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_problems_are_in_one_message(source, tmp_path):
    text = "path,any,SDH,bleeding\np1/a,2,0,\nnowhere.nii,0,0,\n\np2/a,0,1,\np3/a,maybe,0,\n"
    with pytest.raises(InputError) as refused:
        read(source, tmp_path, text)
    message = str(refused.value)
    assert "5 problems" in message
    for said in ("any and bleeding both mean", "line 2: any is '2'", "line 3: matches no series: 'nowhere.nii'"):
        assert said in message
    assert "line 5: any is 0 where" in message
    assert "line 6: any is 'maybe'" in message
    assert "the header is: path, any, SDH, bleeding" in message


def test_many_problems_are_counted_and_the_message_says_how_to_fix_them(source, tmp_path):
    with pytest.raises(InputError) as refused:
        read(source, tmp_path, "path,any\n" + "".join(f"gone/{k}.nii,1\n" for k in range(1000)))
    message = str(refused.value)
    assert "1000 problems" in message
    shown = message.count("matches no series")
    assert 5 < shown < 40
    assert f"and {1000 - shown} more" in message
    assert message.endswith("--example-labels writes an example with the path of every scan")
    assert "Labels are" not in message  # nothing is wrong with the labels


def test_a_hostile_csv_stays_one_line(source, tmp_path):
    with pytest.raises(InputError) as refused:
        read(source, tmp_path, 'path,"a\x1b[31m\nb",any\n"\x1b]0;x\x07\n",1,"\u202e"\n')
    assert str(refused.value).isprintable()


def test_a_patient_in_two_splits_is_refused_with_names_and_lines(source, tmp_path):
    text = "path,any,split\np1/a,1,train\np2/a,0,test\np1/b,0,val\n"
    assert read(source, tmp_path, text).index["split"].tolist().count("val") == 1
    with pytest.raises(InputError, match=r"p1/a\.nii\.gz \(line 2\) is in train, p1/b\.nii\.gz \(line 4\) in val"):
        read(source, tmp_path, text, patient_from="folder")
    text = "path,any,split,patient\np1/a,1,train,x\np2/a,0,test,x\n"
    with pytest.raises(InputError, match=r"p1/a\.nii\.gz \(line 2\) is in train, p2/a\.nii\.gz \(line 3\) in test"):
        read(source, tmp_path, text)


def test_an_example_is_written_from_the_scans_that_are_there(source, tmp_path, capsys):
    path = tmp_path / "labels.csv"
    main(["prepare", "--dataset", "folder", "--source", str(source), "--example-labels", str(path)])
    assert "a row for each of 5 scans" in capsys.readouterr().out
    table = read_table(path, columns=("path", "patient", "site", "split", *LABELS))
    assert table["path"].tolist() == sorted(SCANS)
    assert (table.drop(columns="path") == "").all(axis=None)
    # Filled in, it is a CSV of labels.
    path.write_text(path.read_text().replace(",,,,,,,,,\n", ",x,,,1,,,,,\n"))
    folder = read_folder(source, cache=tmp_path / "cache", labels=path)
    assert (folder.index["any"] == 1).all()
    with pytest.raises(SystemExit):
        main(["prepare", "--dataset", "folder", "--source", str(source), "--example-labels", str(path)])
    assert "is there already" in capsys.readouterr().err
