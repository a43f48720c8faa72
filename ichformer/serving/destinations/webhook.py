"""A notification as JSON, which names nobody."""

from typing import Any

import requests

from ichformer.serving.destinations.dicomweb import bearer
from ichformer.serving.destinations.results import NotSentError, Results
from ichformer.serving.settings import Destination

FORMAT = "ichformer notification 1"
_TIMEOUT_S = (10, 30)


def notification(results: Results) -> dict[str, Any]:
    """What is said of a study.

    ``report_uid`` is the SOPInstanceUID of the report: with it, whoever may ask the archive finds the study.
    """
    series = []
    for folder in results.series:
        values, report = results.numbers(folder), results.report(folder)
        series.append(
            {
                "report_uid": str(report.SOPInstanceUID),
                "raised": [label for label, value in values["positive"].items() if value],
                "scores": values["scan"],
                "thresholds": values["thresholds"]["scan"],
                "ml": values.get("ml", {}),
                "not_scored": None if values["reason"] is None else values["reason"]["code"],
            }
        )
    return {"format": FORMAT, "research_use_only": True, "study": results.study, "series": series}


def send_by_webhook(results: Results, to: Destination) -> None:
    """Post the notification; any answer of 200 to 299 is one that it arrived.

    Raises:
      NotSentError: it did not.
    """
    try:
        answer = requests.post(
            to.url,
            json=notification(results),
            headers=bearer(to.token_variable),
            timeout=_TIMEOUT_S,
            allow_redirects=False,
        )
    except (requests.RequestException, OSError) as error:
        raise NotSentError(type(error).__name__) from None
    if not 200 <= answer.status_code < 300:
        raise NotSentError(f"http_{answer.status_code}")
