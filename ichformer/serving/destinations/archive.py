"""Results to an archive by C-STORE (PS3.4, annex B)."""

from pynetdicom import AE, build_context

from ichformer.serving.destinations.results import NotSentError, Results
from ichformer.serving.settings import Destination

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
    entity = AE(ae_title=aet)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _TIMEOUT_S
    contexts = [build_context(*kind) for kind in kinds]
    association = entity.associate(to.host, to.port, contexts=contexts, ae_title=to.aet)
    if not association.is_established:
        raise NotSentError("no association")
    try:
        for one in objects:
            status = association.send_c_store(one)
            if "Status" not in status:
                raise NotSentError("the association ended")
            if status.Status not in _TAKEN:
                raise NotSentError(f"status {status.Status:04X}")
    except ValueError:  # no presentation context was accepted for a kind of object
        raise NotSentError("a kind of object is not accepted") from None
    finally:
        association.release()
