"""The settings of a node, as one TOML file holds them."""

import dataclasses
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ichformer.errors import InputError, one_line
from ichformer.files.writing import read_bytes
from ichformer.settings import check_ranges, check_settings, make_settings

_MAX_BYTES = 1 << 20
_FIX = "see docs/reading-room.md for a complete file"


@dataclass(frozen=True, kw_only=True)
class ListenSettings:
    """Who may send studies, and where to.

    Attributes:
      aet: AE title of the node. Associations that call another one are rejected.
      host: Address to listen on. Only this machine reaches 127.0.0.1.
      port: TCP port for DICOM; 0 takes a free one.
      allowed_aets: AE titles that may call; empty lets all in.
      allowed_addresses: Addresses or networks that may connect, such as "10.0.0.0/24"; empty lets all in.
      stow_port: TCP port for STOW-RS, at /studies; by default there is none. It takes what C-STORE takes.
      tls_certificate: File with the node's certificate (PEM). With it, only TLS is spoken.
      tls_key: File with the key of the certificate (PEM).
      tls_clients: File with the authorities (PEM) that have signed the certificates of those who may connect; without
        it, clients need none.
    """

    aet: str = "ICHFORMER"
    host: str = "127.0.0.1"
    port: int = 11112
    stow_port: int | None = None
    allowed_aets: tuple[str, ...] = ()
    allowed_addresses: tuple[str, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    tls_clients: str = ""

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "listen.")
        for name, aets in (("aet", (self.aet,)), ("allowed_aets", self.allowed_aets)):
            for aet in aets:
                check_aet(aet, where=f"listen.{name}")
        for name, port in (("port", self.port), ("stow_port", self.stow_port or 0)):
            check_ranges("listen.", (name, port, 0 <= port < 1 << 16, "0 to 65535"))
        for address in self.allowed_addresses:
            try:
                ipaddress.ip_network(address)
            except ValueError as error:
                raise InputError(
                    f"{one_line(error)}", where="listen.allowed_addresses", fix="give addresses or networks"
                ) from None
        if bool(self.tls_certificate) != bool(self.tls_key) or (self.tls_clients and not self.tls_certificate):
            raise InputError("TLS needs a certificate and its key", where="listen.tls_certificate", fix="give both")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """When a study is complete, and which is scored first.

    Attributes:
      quiet_s: A study is complete when nothing of it has come for so many seconds. Raise it above the longest pause of
        your senders.
      cut_short_s: The same for a study whose last association is open still, or was cut short: more may come.
      first_aets: AE titles whose studies are scored before all others, such as that of the emergency room's scanner.
      minutes: A study that takes longer to score is given up.
      tries: So often is a study scored that ends the process which scores it.
    """

    quiet_s: float = 10.0
    cut_short_s: float = 300.0
    first_aets: tuple[str, ...] = ()
    minutes: float = 15.0
    tries: int = 5

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "study.")
        check_ranges(
            "study.",
            ("quiet_s", self.quiet_s, self.quiet_s > 0, "more than 0"),
            ("cut_short_s", self.cut_short_s, self.cut_short_s >= self.quiet_s, "at least quiet_s"),
            ("minutes", self.minutes, self.minutes > 0, "more than 0"),
            ("tries", self.tries, self.tries > 0, "1 or more"),
        )


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What is refused, so that no sender can fill memory or disk.

    Attributes:
      associations: At most so many at once.
      instance_mb: Size of one instance.
      study_instances: Instances of one study.
      study_mb: Size of one study.
      waiting_mb: Size of all that waits for results.
      instances_per_s: Instances that one address may send in a second, over ten seconds.
      free_disk_mb: Nothing is taken where less is free on the disk.
      silence_s: An association is ended when so many seconds pass without a word, or within one message.
    """

    associations: int = 10
    instance_mb: int = 600
    study_instances: int = 5000
    study_mb: int = 4000
    waiting_mb: int = 50_000
    instances_per_s: int = 500
    free_disk_mb: int = 2000
    silence_s: float = 30.0

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "limits.")
        for name in (one.name for one in dataclasses.fields(self)):
            value = getattr(self, name)
            check_ranges("limits.", (name, value, value > 0 or name == "free_disk_mb", "more than 0"))


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where results are sent.

    Attributes:
      kind: "dicomweb" stores the DICOM objects by STOW-RS, "dicom" by C-STORE; "webhook" posts a JSON object that names
        nobody, "hl7" sends an ORU message by MLLP.
      url: For dicomweb the address that "/studies" is put behind; for webhook the whole address.
      aet: For dicom, the AE title of the archive.
      host: For dicom and hl7.
      port: For dicom and hl7.
      token_variable: Environment variable with the token that is sent as "Authorization: Bearer".
      raised_only: Send nothing about scans that are not raised, and were scored.
    """

    kind: Literal["dicomweb", "dicom", "webhook", "hl7"]
    url: str = ""
    aet: str = ""
    host: str = ""
    port: int = 0
    token_variable: str = ""
    raised_only: bool = False

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "send.")
        if self.kind in ("dicomweb", "webhook"):
            if not self.url.startswith(("http://", "https://")):
                raise InputError(f"{self.kind} needs a url", where="send.url", fix="give one that starts with https://")
        else:
            check_ranges("send.", ("port", self.port, 0 < self.port < 1 << 16, "1 to 65535"))
            if not self.host:
                raise InputError(f"{self.kind} needs a host", where="send.host", fix="give a name or an address")
        if self.kind == "dicom":
            check_aet(self.aet, where="send.aet")

    @property
    def name(self) -> str:
        """What logs, metrics and the queue call it."""
        return f"{self.kind} {self.url or f'{self.aet}@{self.host}:{self.port}'.lstrip('@')}"


@dataclass(frozen=True, kw_only=True)
class PullSettings:
    """Where studies are fetched that nobody sends.

    Attributes:
      kind: "dicomweb" asks by QIDO-RS and fetches by WADO-RS; "dicom" asks by C-FIND and lets the archive send with
        C-MOVE to the node, whose AE title the archive has to know.
      url, aet, host, port, token_variable: As for a destination.
      every_s: Seconds from one query to the next.
      days: Studies of the last so many days are asked for; 1 is today alone.
    """

    kind: Literal["dicomweb", "dicom"]
    url: str = ""
    aet: str = ""
    host: str = ""
    port: int = 0
    token_variable: str = ""
    every_s: float = 60.0
    days: int = 1

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "pull.")
        Destination(kind=self.kind, url=self.url, aet=self.aet, host=self.host, port=self.port)
        check_ranges(
            "pull.",
            ("every_s", self.every_s, self.every_s >= 1, "1 or more"),
            ("days", self.days, self.days >= 1, "1 or more"),
        )


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """Everything that a node needs to know.

    Attributes:
      run: Folder of a run or of an ensemble; "default" stands for the weights that come with ichformer.
      out: Folder of the node: its queue, what waits, and its audit log. It holds the images of patients until their
        results are sent.
      status_host: Address of the status page, health and metrics (HTTP).
      status_port: Its TCP port; 0 takes a free one.
      keep_s: Images and results are deleted so many seconds after the results were sent, or could not be.
      remember_days: A study that is sent again within so many days is known again.
      listen, study, limits, send, pull: see there.
    """

    run: str = "default"
    out: str = ""
    status_host: str = "127.0.0.1"
    status_port: int = 8090
    keep_s: float = 3600.0
    remember_days: float = 30.0
    listen: ListenSettings = field(default_factory=ListenSettings)
    study: StudySettings = field(default_factory=StudySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    send: tuple[Destination, ...] = ()
    pull: tuple[PullSettings, ...] = ()

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "")
        check_ranges(
            "",
            ("status_port", self.status_port, 0 <= self.status_port < 1 << 16, "0 to 65535"),
            ("keep_s", self.keep_s, self.keep_s >= 0, "0 or more"),
            ("remember_days", self.remember_days, self.remember_days * 86400 >= self.keep_s, "longer than keep_s"),
        )
        names = [one.name for one in self.send]
        if len(set(names)) < len(names):
            raise InputError("a destination is named twice", where="send", fix="leave one of them out")
        if not self.out:
            raise InputError("is missing", where="out", fix="name a folder with --out, or in the file")


def read_settings(file: Path | None, given: Mapping[str, Any]) -> NodeSettings:
    """The settings of a file, with those of the command line in place of its own.

    Args:
      file: TOML; None where there is none.
      given: names of ``NodeSettings`` -> values; those of parts are dictionaries.

    Raises:
      InputError: the file cannot be read, or holds a setting that is not known or a value that does not fit.
    """
    values: dict[str, Any] = {}
    where = "serve" if file is None else one_line(file)
    if file is not None:
        try:
            values = tomllib.loads(read_bytes(file, max_bytes=_MAX_BYTES, fix=_FIX).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"is not TOML ({one_line(error)})", where=file, fix=_FIX) from None
    for name, value in given.items():
        before = values.get(name)
        values[name] = {**before, **value} if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    for name, kind in (("send", Destination), ("pull", PullSettings)):
        each = values.get(name, ())
        if not isinstance(each, list | tuple):
            raise InputError("is not a list", where=f"{where}, {name}", fix=f"write [[{name}]] in place of [{name}]")
        values[name] = tuple(_of_a_kind(kind, one, where=f"{where}, {name}") for one in each)
    return make_settings(NodeSettings, values, where=where)


def _of_a_kind(kind: type, given: Any, *, where: str) -> Any:
    if isinstance(given, Mapping) and "kind" not in given:
        raise InputError("kind is missing", where=where, fix=_FIX)
    return make_settings(kind, given, where=where)


def check_aet(aet: str, *, where: str) -> None:
    """InputError for what is no AE title (PS3.5, section 6.2: 1 to 16 printable characters, no backslash)."""
    if not (0 < len(aet.strip()) <= 16 and aet.isascii() and aet.isprintable() and "\\" not in aet):
        raise InputError(
            f"{one_line(repr(aet))} is no AE title", where=where, fix="give 1 to 16 ASCII characters without backslash"
        )
