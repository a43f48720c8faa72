"""Finds out what the columns of a CSV of labels mean, by the names that people usually give them."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ichformer import LABELS
from ichformer.cohorts.index import GROUP_PREFIX
from ichformer.errors import InputError, nearest, one_line
from ichformer.labels import SIX, LabelSet

KEYS = ("path", "series", "study", "patient")
"""What a row of labels can be tied to: a path below the folder, SeriesInstanceUID, StudyInstanceUID, PatientID."""

ATTRIBUTES = ("patient", "study", "site", "split", "origin")
"""What a row can say about a scan beside its labels; ``patient`` and ``study`` where they are not its key."""

VERY_LIKE = 0.82
"""How like a known name a name has to be where a wrong guess costs more than none (``errors.nearest``)."""

LEFT_OUT = ""
"""The meaning of a column that is not read."""

_SYNONYMS = {
    "path": "file filename filepath image imagepath nifti niftifile niftipath dicompath relativepath scan scanpath",
    "series": "seriesid seriesinstanceuid seriesuid",
    "study": "exam examid studyid studyinstanceuid studyuid",
    "patient": "participant participantid patid patientid person personid pid subject subjectid",
    "slice": "instanceuid sliceid slicename sopinstanceuid sopuid",
    "site": "center centre hospital institution siteid",
    "split": "partition subset",
    "origin": "",
    "epidural": "edh extradural",
    "intraparenchymal": "iph parenchymal",
    "intraventricular": "ivh ventricular",
    "subarachnoid": "sah",
    "subdural": "sdh",
    "any": "anyich hasich ich intracranial",
}
"""Names of columns without case and signs. A word of ``_BLEED`` and one of ``_STATE`` may follow a bleed."""

_BLEED = re.compile(r"(bleed|bleeding|ha?ematoma|ha?emorrhage)s?$")
_STATE = re.compile(r"(?<=.)(present|visible|seen|flag|label|positive)$")
_NO_BLEED = re.compile(r"^(no|non|not|without|free)\w*(bleed|ha?emorrhage|ich)|^normal$|^healthy$")
_IDENTITY = re.compile(r"name$|birth|^dob$|^mrn$|accession|address|phone|email|insurance|^ssn$")
_NUMBER = re.compile(
    r"(?:(?:^|[\W_]|(?<=[a-z])(?=[A-Z]))(?i:ids?|uid|guid|key|nr|no|num|code)|(?i:number|nummer|numero|pseudonym|initials))$"
)
"""Ends of names of columns that number something, mostly patients, scans or visits."""

_VAGUE = {
    "bleedtype": "any", "class": "any", "diagnosis": "any", "finding": "any", "label": "any", "labels": "any",
    "target": "any", "y": "any", "id": "path", "name": "path", "case": "path", "caseid": "path", "uid": "series",
    "folder": "path", "dir": "path", "directory": "path", "sliceno": "slice", "slicenumber": "slice",
}  # fmt: skip
"""Names that say too little to be taken for anything, and what they may mean."""


def all_meanings(label_set: LabelSet = SIX) -> tuple[str, ...]:
    """Returns all that a column can mean, except subgroups (``GROUP_PREFIX``)."""
    return (*KEYS, "slice", *ATTRIBUTES[2:], *label_set.columns)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The meaning of each column of a table.

    Attributes:
      meanings: of each column: one of ``all_meanings``, a name that begins with ``GROUP_PREFIX``, or ``LEFT_OUT``.
      problems: why the table cannot be read so, in words; nothing where it can.
      notes: what was done without being asked.
    """

    meanings: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def told(self, names: Sequence[str], groups: Collection[str]) -> str:
        """What each column of the header is read as, in a line; "" where every column has the name of its meaning.

        Args:
          names: the header.
          groups: the subgroups that were kept.
        """
        read = [(one_line(name, max_chars=40), own) for name, own in zip(names, self.meanings, strict=True)]
        subgroups = [name for name, meaning in read if meaning in groups]
        others = [(name, own) for name, own in read if own != LEFT_OUT and not own.startswith(GROUP_PREFIX)]
        if not subgroups and all(name == meaning for name, meaning in others):
            return ""
        parts = [", ".join(name if name == meaning else f"{name} = {meaning}" for name, meaning in others)]
        parts += [f"subgroups of the evaluation: {', '.join(subgroups)}"] * bool(subgroups)
        return "; ".join(parts)


def parse_columns(given: Sequence[str], label_set: LabelSet = SIX) -> dict[str, str]:
    """Parses ``("any=ICH", "path=file")`` into the column of each meaning; InputError for anything else."""
    said: dict[str, str] = {}
    meanings = all_meanings(label_set)
    for text in given:
        meaning, equals, name = (part.strip() for part in text.partition("="))
        if not equals or not name or (meaning not in meanings and not re.fullmatch(rf"{GROUP_PREFIX}\w+", meaning)):
            raise InputError(
                f"found {one_line(text)!r}",
                where="--columns",
                fix=f"give MEANING=COLUMN, such as any=ICH; MEANING is one of {', '.join(meanings)} or group_NAME",
            )
        if meaning in said:
            raise InputError(f"names {meaning!r} twice", where="--columns", fix="name it once")
        said[meaning] = name
    return said


def name_columns(names: Sequence[str], given: Mapping[str, str], label_set: LabelSet = SIX) -> Columns:
    """Finds the meaning of each column of a header.

    Names are compared without case, blanks and signs. A name that nobody knows sorts scans into subgroups, unless it is
    so near to a known one that it may be mistyped, or names a person. The six labels have synonyms; every label and
    target of another set needs a column of its name.

    Args:
      names: the header.
      given: what is meant -> the name of a column (``parse_columns``); it goes before every other rule.
      label_set: which columns are labels and which are targets.
    """
    absent = [(meaning, name) for meaning, name in given.items() if name not in names]
    problems = [f"there is no column {one_line(name)!r} for {meaning}" for meaning, name in absent]
    if absent:
        return Columns(meanings=(LEFT_OUT,) * len(names), problems=tuple(problems), notes=())
    of_name = {name: meaning for meaning, name in given.items()}
    owners = _owners(label_set)
    meanings: list[str] = []
    notes: list[str] = []
    for name in names:
        meaning, problem, note = (of_name[name], "", "") if name in of_name else _meaning(name, owners, label_set)
        if name not in of_name and meaning in given:
            meaning = _group(name)
        meanings.append(meaning)
        problems += [problem] * bool(problem)
        notes += [note] * bool(note)
    if problems and (others := [name for name, own in zip(names, meanings, strict=True) if _is_group(name, own)]):
        shown = ", ".join(one_line(name, max_chars=40) for name in others)
        problems.append(f"not understood either, and subgroups if nothing else is said: {shown}")
    for meaning in sorted(set(meanings) - {LEFT_OUT}):
        same = [one_line(name, max_chars=40) for name, own in zip(names, meanings, strict=True) if own == meaning]
        if len(same) > 1:
            problems.append(
                f"the columns {' and '.join(same)} both mean {meaning}: keep one, or say which by --columns"
            )
    problems += _missing(names, meanings, owners, label_set)
    subtypes = set(meanings) & set(LABELS[:-1]) if label_set.has_subtypes else set()
    if "ich" in map(_plain, names) and "any" not in given and subtypes and "intraparenchymal" not in subtypes:
        problems.append(
            "ICH can mean any bleed or the intraparenchymal one: give --columns any=ICH or intraparenchymal=ICH"
        )
    return Columns(meanings=tuple(meanings), problems=tuple(problems), notes=tuple(notes))


def _owners(label_set: LabelSet) -> dict[str, str]:
    """Names of columns without case and signs -> what they mean."""
    six = LABELS if label_set.has_subtypes else ()
    known = {meaning: others for meaning, others in _SYNONYMS.items() if meaning not in LABELS or meaning in six}
    owners = {synonym: meaning for meaning, others in known.items() for synonym in (meaning, *others.split())}
    return owners | {_plain(name): name for name in label_set.columns}


def _meaning(name: str, owners: Mapping[str, str], label_set: LabelSet) -> tuple[str, str, str]:
    """What a column means, what is wrong with its name, and what has to be noted."""
    plain, shown = _plain(name), one_line(name, max_chars=40)
    if name in label_set.columns:
        return name, "", ""
    if not plain:
        return LEFT_OUT, "", ""
    if name.startswith(GROUP_PREFIX):
        return _group(name.removeprefix(GROUP_PREFIX)), "", ""
    if plain in owners:
        return owners[plain], "", ""
    if label_set.has_subtypes and _NO_BLEED.search(plain):
        return LEFT_OUT, f"the column {shown!r} says the opposite of any: leave it out, or turn it round", ""
    if label_set.has_subtypes:
        stated = _STATE.sub("", plain.removeprefix("has"))
        bleed = _BLEED.sub("", stated)
        meant = "any" if stated and not bleed else owners.get(bleed)
        if meant in LABELS:
            return meant, "", ""
    if _IDENTITY.search(plain):
        return LEFT_OUT, "", f"the column {shown!r} may name a person and was not read"
    if near := nearest(plain, owners, likeness=VERY_LIKE):
        meant = owners[near]
        problem = f"has a column {shown!r}: {shown} -> {meant}? Rename it, or give --columns {meant}={shown}"
        return LEFT_OUT, problem, ""
    return _group(name), "", ""


def _missing(
    names: Sequence[str], meanings: Sequence[str], owners: Mapping[str, str], label_set: LabelSet
) -> list[str]:
    """What the table of labels needs and lacks, with columns that may be meant."""
    problems = []
    unread = [name for name, meaning in zip(names, meanings, strict=True) if meaning not in all_meanings(label_set)]
    needed: list[tuple[Sequence[str], str]] = [(KEYS, f"has no column that names the scan ({' or '.join(KEYS)})")]
    if label_set.is_default:
        needed.append((LABELS, f"has no labels ({' or '.join(LABELS)})"))
    else:
        asked = label_set.targets if label_set.has_subtypes else label_set.columns
        needed += [((name,), f"has no column {name}, which was asked for") for name in asked]
    for wanted, what in needed:
        if set(wanted) & set(meanings):
            continue
        found = [(one_line(name, max_chars=40), _near(name, wanted, owners)) for name in unread]
        near = [f"{name} -> {meant}?" for name, meant in found if meant]
        problems.append(f"{what}{': ' if near else ''}{' '.join(near)}")
    return problems


def _near(name: str, wanted: Sequence[str], owners: Mapping[str, str]) -> str:
    """Which of the wanted columns a name may mean; "" for none."""
    plain = _plain(name)
    if _VAGUE.get(plain) in wanted:
        return _VAGUE[plain]
    near = nearest(plain, [owner for owner, meaning in owners.items() if meaning in wanted])
    return owners[near] if near else ""


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def numbers_something(name: str) -> bool:
    """Whether a column is called as those are that number patients, scans or visits."""
    return bool(_NUMBER.search(name)) or _VAGUE.get(_plain(name)) in KEYS


def _is_group(name: str, meaning: str) -> bool:
    """Whether a column is a subgroup because nobody knows its name."""
    return meaning.startswith(GROUP_PREFIX) and not name.startswith(GROUP_PREFIX)


def _group(name: str) -> str:
    return GROUP_PREFIX + re.sub(r"\W+", "_", name).strip("_").lower()[:40]
