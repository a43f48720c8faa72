"""A notification as an HL7 version 2 message: ORU^R01, sent by MLLP."""

import re
import socket
import time
from typing import Any

import hl7
from pydicom.dataset import Dataset

from ichformer import __version__
from ichformer.serving.destinations.results import NotSentError, Results
from ichformer.serving.settings import Destination

_TIMEOUT_S = 30.0
_SENDER, _SCHEME = "ICHFORMER", "99ICHFORMER"
_ACCEPTED = ("AA", "CA")
_START, _END = b"\x0b", b"\x1c\r"
"""Around a message: the minimal lower layer protocol, HL7 version 2, appendix C."""

_LONGEST_ANSWER = 1 << 16


def oru_message(values: dict[str, Any], report: Dataset, *, at: float) -> str:
    """An ORU^R01 of version 2.5.1 about a series: the patient as the report has it, and a segment for each score.

    OBX-8 holds "A" (abnormal) where a score is raised, and OBX-11 "F" for a final result or "X" where there is none.

    Args:
      values: of ``prediction.json``.
      report: the structured report.
      at: time of the message, seconds.
    """
    when = time.strftime("%Y%m%d%H%M%S+0000", time.gmtime(at))
    uid = str(report.SOPInstanceUID)
    name = report.PatientName
    person = "^".join(_field(part) for part in (name.family_name, name.given_name, name.middle_name)) if name else ""
    patient, birth, sex, accession = (
        _field(report.get(keyword, ""))
        for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber")
    )
    about = f"ICH^Intracranial haemorrhage, research use only^{_SCHEME}"
    lines = [
        f"MSH|^~\\&|{_SENDER}||||{when}||ORU^R01^ORU_R01|{uid[-20:]}|P|2.5.1|||NE|AL||UNICODE UTF-8",
        f"PID|1||{patient}||{person}||{birth}|{sex}",
        f"OBR|1|{accession}|{uid}|{about}|||{when}{'|' * 15}{when}||CT|F",
    ]
    reason = values["reason"]
    for number, (label, score) in enumerate(values["scan"].items(), 1):
        is_scored = reason is None and score is not None
        value, status = (f"{score:.4f}", "F") if is_scored else ("", "X")
        flag = "A" if values["positive"].get(label) else ""
        code = f"{_field(label)}^Score of {_field(label)}^{_SCHEME}"
        lines.append(f"OBX|{number}|NM|{code}||{value}||{_threshold(values, label)}|{flag}|||{status}|||{when}")
    said = "not scored: " + reason["code"] if reason else "see the structured report"
    lines.append(f"NTE|1||Research use only. Not for diagnosis. ichformer {__version__}, {_field(said)}")
    return "\r".join(lines) + "\r"


def send_by_mllp(results: Results, to: Destination) -> None:
    """Send a message for each series, and wait for each answer.

    Raises:
      NotSentError: nobody is there, or a message was not accepted.
    """
    try:
        with socket.create_connection((to.host, to.port), timeout=_TIMEOUT_S) as connection:
            for folder in results.series:
                text = oru_message(results.numbers(folder), results.report(folder), at=time.time())
                connection.sendall(_START + text.encode() + _END)
                code = str(hl7.parse(_answer(connection)).segment("MSA")(1))
                if code not in _ACCEPTED:
                    raise NotSentError(f"answer {code[:2]}")
    except (OSError, KeyError, IndexError, ValueError, hl7.HL7Exception) as error:
        raise NotSentError(type(error).__name__) from None


def _answer(connection: socket.socket) -> str:
    received = b""
    while not received.endswith(_END):
        chunk = connection.recv(4096)
        if not chunk or len(received) > _LONGEST_ANSWER:
            raise OSError("no whole answer came")
        received += chunk
    return received[len(_START) : -len(_END)].decode("utf-8", "replace")


def _threshold(values: dict[str, Any], label: str) -> str:
    threshold = values["thresholds"]["scan"].get(label)
    return "" if threshold is None else f"below {threshold:.4f}"


def _field(value: object) -> str:
    r"""A text as a field holds it: HL7's own characters escaped, control characters left out (version 2.5.1, 2.7).

    Example:
      >>> _field("A|B^C")
      'A\\F\\B\\S\\C'
    """
    text = re.sub(r"[\x00-\x1f\x7f]", "", "" if value is None else str(value))
    escapes = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}
    return "".join(escapes.get(one, one) for one in text)
