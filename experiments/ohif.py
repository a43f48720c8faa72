"""OHIF's viewer beside an archive, on this machine alone, to see what `ichformer serve` has stored there.

Claim: OHIF 3.13.2 shows the scan from Orthanc with the bleeds (SEG) and the explanation (parametric map) over it.
  It does not know fractional segmentations, so not the probabilities; it lists the report without showing its text.
Cost: none; the viewer is a download of 50 MB.
Command: npm pack @ohif/app@3.13.2 && tar xzf ohif-app-3.13.2.tgz
  python -m experiments.ohif package/dist --archive http://127.0.0.1:8042 --port 3000
  Then open http://127.0.0.1:3000/viewer?StudyInstanceUIDs=UID and click twice on a result in the list at the left.
Seen: in headless Chromium 156 with Orthanc 1.10.1 and its DICOMweb plug-in 1.7, on a phantom with a bleed.
"""

import argparse
import http.server
import urllib.error
import urllib.request
from pathlib import Path

CONFIG = b"""window.config = {
  routerBasename: '/', extensions: [], modes: [], showStudyList: true, investigationalUseDialog: { option: 'never' },
  strictZSpacingForVolumeViewport: false, defaultDataSourceName: 'archive',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'archive',
    configuration: {
      friendlyName: 'archive', name: 'archive', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web', wadoUriRoot: '/wado',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      bulkDataURI: { enabled: true, relativeResolution: 'studies' },
    },
  }],
};
"""
_TIMEOUT_S = 120


def server(viewer: Path, archive: str, port: int) -> http.server.ThreadingHTTPServer:
    """A server on loopback: the viewer's files, and under /dicom-web the archive's, so that both are of one origin."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(viewer))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if self.path.startswith("/dicom-web/"):
                asked = urllib.request.Request(
                    archive + self.path, headers={"Accept": self.headers.get("Accept", "*/*")}
                )
                try:
                    with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:
                        self._answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
                except urllib.error.HTTPError as error:
                    self._answer(error.code, "text/plain", b"")
                except OSError:
                    self._answer(502, "text/plain", b"the archive does not answer\n")
            elif self.path == "/app-config.js":
                self._answer(200, "text/javascript", CONFIG)
            else:
                if not Path(self.translate_path(self.path)).is_file():
                    self.path = "/index.html"  # the viewer has addresses of its own
                super().do_GET()

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def end_headers(self) -> None:  # without these two, browsers give the viewer no memory that threads share
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: addresses hold UIDs."""

    return http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("viewer", type=Path, help="the folder dist of @ohif/app")
    parser.add_argument("--archive", default="http://127.0.0.1:8042")
    parser.add_argument("--port", type=int, default=3000)
    asked = parser.parse_args()
    if not (asked.viewer / "index.html").is_file():
        parser.error(f"{asked.viewer} holds no index.html")
    print(f"http://127.0.0.1:{asked.port}/", flush=True)
    with server(asked.viewer, asked.archive.rstrip("/"), asked.port) as serving:
        serving.serve_forever()


if __name__ == "__main__":
    main()
