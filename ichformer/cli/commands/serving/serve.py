"""``ichformer serve``."""

from pathlib import Path

from ichformer.errors import InputError


def serve(
    *,
    config: Path | None = None,
    out: Path | None = None,
    run: str | None = None,
    aet: str | None = None,
    port: int | None = None,
    dicomweb: str | None = None,
    status_port: int | None = None,
) -> None:
    """Runs a DICOM node: it receives studies, scores them and sends the results to an archive. Research use only.

    Studies come by C-STORE. The results of each are a structured report, segmentations, key images and others, as
    `ichformer predict --dicom` writes them. They go to the archive by DICOMweb (STOW-RS), or where the file of --config
    says. Nothing that was received is lost where the node is killed: start it again with the same --out. It listens on
    this machine alone, unless the file says otherwise. It needs the extra "clinic". Example:

    ichformer serve --out node --port 11112 --dicomweb http://127.0.0.1:8042/dicom-web

    Args:
      config: TOML file with all settings: who may send, destinations, limits, TLS, what is fetched. Options given here
        take the place of its values. See docs/reading-room.md.
      out: Folder of the node. It holds the images of patients until their results are sent. Only its owner may read it.
      run: Folder of a run or of an ensemble. By default the weights that come with ichformer.
      aet: AE title of the node. By default ICHFORMER.
      port: TCP port for DICOM. By default 11112.
      dicomweb: Address of the archive's DICOMweb service, to which results are sent.
      status_port: TCP port of the status page, /health and /metrics, on this machine. By default 8090.
    """
    import importlib.util

    from ichformer.serving.settings import read_settings

    if importlib.util.find_spec("pynetdicom") is None:
        raise InputError("needs pynetdicom and others", where="serve", fix="pip install 'ichformer[clinic]'")
    from ichformer.serving.node import serve as serve_node

    listen = {name: value for name, value in (("aet", aet), ("port", port)) if value is not None}
    given = {
        "out": None if out is None else str(out),
        "run": run,
        "status_port": status_port,
        "listen": listen or None,
        "send": None if dicomweb is None else [{"kind": "dicomweb", "url": dicomweb}],
    }
    serve_node(read_settings(config, {name: value for name, value in given.items() if value is not None}))
