"""Results to an archive by C-STORE (PS3.4, annex B)."""

import contextlib
from collections.abc import Iterator

from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from ichformer.serving.destinations.results import NotSentError, Results
from ichformer.serving.settings import Destination, PullSettings

_TIMEOUT_S = 60.0
_TAKEN = (0x0000, 0xB000, 0xB006, 0xB007)
"""Success, and warnings with which the object is stored (PS3.4, table B.2-1)."""


def send_by_c_store(results: Results, to: Destination, *, aet: str) -> None:
    """Store all objects over one association.

    Args:
      results: what is sent.
      to: the archive.
      aet: AE title of the node.

    Raises:
      NotSentError: the archive cannot be reached, does not take a kind of object, or refuses one.
    """
    objects = results.objects()
    kinds = sorted({(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in objects})
    contexts = [build_context(*kind) for kind in kinds]
    try:
        with associated(to, contexts, aet=aet, timeout_s=_TIMEOUT_S) as association:
            for one in objects:
                status = association.send_c_store(one)
                if "Status" not in status:
                    raise NotSentError("the association ended")
                if status.Status not in _TAKEN:
                    raise NotSentError(f"status {status.Status:04X}")
    except ValueError:  # no presentation context was accepted for a kind of object
        raise NotSentError("a kind of object is not accepted") from None
    except ConnectionError as error:
        raise NotSentError(str(error)) from None


@contextlib.contextmanager
def associated(
    archive: Destination | PullSettings, contexts: list[PresentationContext], *, aet: str, timeout_s: float
) -> Iterator[Association]:
    """An association with an archive, which is released at the end of the block.

    Args:
      archive: where.
      contexts: what is asked of it.
      aet: AE title of the node.
      timeout_s: for each answer.

    Raises:
      ConnectionError: there is none.
    """
    entity = AE(ae_title=aet)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = timeout_s
    association = entity.associate(archive.host, archive.port, contexts=contexts, ae_title=archive.aet)
    if not association.is_established:
        raise ConnectionError("no association")
    try:
        yield association
    finally:
        association.release()
