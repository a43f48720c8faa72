"""Results to an archive by STOW-RS (PS3.18, section 10.5)."""

import logging
import os

import requests
from dicomweb_client.web import DICOMwebClient

from ichformer.serving.destinations.results import NotSentError, Results
from ichformer.serving.settings import Destination, PullSettings

_TIMEOUT_S = (10, 120)
"""To connect, and until the archive answers."""

_WHOLE, _CHUNK = 1 << 40, 1 << 20
"""Bytes. What is sent goes in one request of known length, which all archives take; what is fetched comes in chunks."""


def send_by_stow(results: Results, to: Destination) -> None:
    """Store all objects in one request.

    Raises:
      NotSentError: the archive cannot be reached, refuses, or took only some.
    """
    objects = results.objects()
    try:
        answer = client(to, chunk=_WHOLE).store_instances(objects)
    except requests.HTTPError as error:
        raise NotSentError(f"http_{getattr(error.response, 'status_code', '')}") from None
    except (requests.RequestException, OSError, ValueError) as error:
        raise NotSentError(type(error).__name__) from None
    stored = {one.ReferencedSOPInstanceUID for one in answer.get("ReferencedSOPSequence", [])}
    lacking = [one for one in objects if one.SOPInstanceUID not in stored]
    if lacking:
        raise NotSentError(f"{len(lacking)} of {len(objects)} objects were not taken")


def client(of: Destination | PullSettings, *, chunk: int = _CHUNK) -> DICOMwebClient:
    """A client for an archive, which says nothing; ``chunk`` is in bytes."""
    logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL + 1)
    made = DICOMwebClient(
        of.url,
        headers=bearer(of.token_variable),
        chunk_size=chunk,
        permissive_uid=True,
        timeout=_TIMEOUT_S,
    )
    made.set_http_retry_params(retry=False)  # the queue sends again, and knows when
    return made


def bearer(token_variable: str) -> dict[str, str]:
    """The header with a token; the variable is read each time, as tokens change."""
    token = os.environ.get(token_variable, "") if token_variable else ""
    return {"Authorization": f"Bearer {token}"} if token else {}
