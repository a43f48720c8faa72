"""Whether a series was taken with contrast medium, by its tags and by words of its name in many languages."""

import re
import unicodedata

from ichformer.ct.io.dicom.headers import Header
from ichformer.errors import one_line

_LIMIT = 200

_MEDIUM = (
    r"(?:contrast\w*|kontras\w*|km|mdc|civ|pdc|contr|inject\w*|injekt\w*|iniezion\w*|inyec\w*|injec\w*|enh\w*|con|c|iv|ev"
    r"|k l|varjoain\w*|medium|agent|dye|контраст\w*|ку|σκιαγραφ\w*|can quang|tiem|thuoc|ניגוד|צבע|صبغ\w*|تباين)"
)
_FILLER = (
    r"(?:iv|i v|ev|intravenous|intraven\w*|oral|any|the|de|di|del|da|do|d|produit|medio|mezzo|mdo|agent|medium|inj"
    r"|tiem|thuoc|חומר|болюсн\w*)"
)
_NOT = (
    r"(?:no|non|not|without|wo|ohne|kein\w*|sans|pas|sin|senza|sem|zonder|geen|uten|utan|uden|ilman|bez|без|sine"
    r"|pre|before|vor|avant|antes|prima|voor|fore|innan|perfore|до|un|tanpa|khong|χωρισ|ללא|بدون)"
)
_WITH = r"(?:with|w|mit|avec|con|com|met|med|z|с|cu|dengan|με|עם|مع)"  # noqa: RUF001, it is Cyrillic
_AND = r"(?:and|und|et|y|e|en|och|og|or|i|и)"

_DENIED_WHOLE = r"kontrasts.z|\w*(?:[非无無不](?:造影|增强|增強|强化|強化|조영)|造影(?:なし|無)|비조영)\w*"
_NEGATED = rf"{_NOT} (?:{_FILLER} )*{_MEDIUM}|{_MEDIUM} (?:free|frei|nelkul|not given|none)|{_DENIED_WHOLE}"
_BOTH = rf"{_WITH} (?:{_AND} )?{_NOT}(?= |$)|{_NOT} (?:{_AND} )?{_WITH} {_MEDIUM}|pre (?:{_AND} )?post"
_PLAIN = (
    r"plain|noncon\w*|nonenh\w*|unenh\w*|without|wo|native?|nativ[aeo]?|nativn\w*|ncct|nect|blanco|leer|simple"
    r"|basale?(?! gang| cist)|dirett[ao]|nelkul|tanpa|khong|χωρισ|ללא|بدون|pre|ohne|sans|sin|senza|sem|zonder"
    r"|нативн\w*|单纯|平扫|単純|平掃"
)
_STRONG = (
    r"contrast\w*|kontras\w*|contr|km|mdc|cmdc|civ|pdc|c\+|ce|cect|enhanced|post ?con\w*|postcon\w*"
    r"|k l|varjoain\w*|ку|σκιαγραφ\w*|can quang|co tiem|co thuoc|ניגוד|صبغ\w*|circle of willis|cow"
    r"|inject\w*|injekt\w*|iniezion\w*|inyec\w*|angio\w*|cta|ctv|venogra\w*|arteriogra\w*"
    r"|omnipaque|omnipaq\w*|iopam\w*|isovue|ultravist|visipaque|iomeron|imeron|xenetix|iohexol|iodixanol|iopromid\w*"
    r"|iomeprol|optiray|oxilan|iod[eo]?|iodine|iodinated|jod\w*|accupaque|solutrast|iobitridol|ioversol"
    r"|контраст\w*|\w*(?:造影|增强|增強|强化|強化|조영)\w*"
)
_GIVEN = rf"{_WITH} (?:{_FILLER} )*(?:{_MEDIUM}|cont)"
_AFTER_SOMETHING_ELSE = (
    r"fossa|op|ops|operat\w*|surg\w*|trauma\w*|cranio\w*|evac\w*|drain\w*|proc\w*|shunt|treat\w*|tx|tpa|lysis|thromb\w*"
    r"|stroke|clip\w*|coil\w*|evd|fall|ictal|partum|bleed|haem\w*|hem\w*|mortem|intervention\w*|embol\w*|vp"
    r"|\d+ ?(?:h|hr|hrs|hours?|d|days?|std|stunden)"
)
_LATER = r"(?! \d+ ?(?:h|hr|hrs|hours?|d|days?|std|stunden)\b)"
"""Hours and days lie between scans; a medium has left the brain by then."""

_WEAK = (
    rf"post(?! (?:{_AFTER_SOMETHING_ELSE}))|arteri\w*|(?:venous|venos)\w*|portal\w*|delay\w*{_LATER}|tardi\w*|spatphase"
    r"|spaetphase|\d+ ?(?:cc|ml)|bolus|(?:iv|ev)(?! (?:bleed|ha?em|ventr))|(?:with|w)(?=$)"
)

_NONE_GIVEN = re.compile(
    rf"(?:{_NOT}|none|nothing|n|n a|na|nil|null|nul|nein|nee|nao|nej|0+|plain|nativ\w*|unenh\w*|noncon\w*|unknown)"
    r"(?! ?ioni\w*)(?: .*)?|"
)


def contrast_said(header: Header) -> str | None:
    """The tag or word that says that contrast medium was given; None where there is none.

    ContrastBolusAgent (0018,0010) or the agent's code, then volume, dose, flow rate and route of administration, then
    the words of SeriesDescription, or of ProtocolName where there is none. "No contrast", in any of the fields, is no
    contrast; a route alone counts only where the agent is not denied, as consoles fill it in beforehand.
    """
    agent = plain_words(header.contrast_agent)
    if not _NONE_GIVEN.fullmatch(agent) and not _match(_NEGATED, agent):
        return f"ContrastBolusAgent {header.contrast_agent[:_LIMIT]}"
    for given in header.contrast_given:
        name, _, text = given.partition(" ")
        if name != "ContrastBolusRoute" or not (agent or _NONE_GIVEN.fullmatch(plain_words(text))):
            return one_line(given)
    if word := contrast_in_words(header.description or header.protocol):
        return f"the description says {word!r}"
    return None


def contrast_in_words(text: str) -> str | None:
    """The word in a series' name that means contrast medium; None where there is none, or where it is negated."""
    words = plain_words(text)
    if both := _match(_BOTH, words):
        return both
    left = re.sub(rf"(?<!\w)(?:{_NEGATED})(?![\w+])", " plain ", words)
    if found := _match(_STRONG, left) or _match(_GIVEN, left):
        return found
    return None if _match(_PLAIN, left) else _match(_WEAK, left)


def plain_words(text: str) -> str:
    """A text in lower case, without accents, with single spaces; "W/O" becomes "without", "C-" "plain", "+C" "c+"."""
    letters = unicodedata.normalize("NFKD", text[:_LIMIT].casefold())
    lower = "".join(letter for letter in letters if not unicodedata.combining(letter))
    lower = unicodedata.normalize("NFC", lower)
    for pattern, meant in (
        (r"(?<![^\W_])w[ /_]+o(?![^\W_])", " without "),
        (r"\bw ?/ ?wo\b", " with without "),
        (r"\bs ?/ ?c\b", " without contrast "),
        (r"\bc ?/ ?c\b", " with contrast "),
        (r"\b[so] ?/ ?(?=contr|kontr|civ|mdc|km|ev\b|iv\b)", " without "),
        (r"\b[cmw] ?/ ?(?=contr|kontr|civ|mdc|km|ev\b|iv\b)", " with "),
        (r"\bo[._ ] ?(?=km|kontr)", " ohne "),
        (r"\bm\. ?(?=km|kontr)", " mit "),
        (r"\bk\. ?m\b\.?", " km "),
        (r"\b(?:c|km|iv|cm|ic|k) ?\( ?- ?\)", " plain "),
        (r"\b(?:c|km|iv|cm|ic|k) ?\( ?\+ ?\)", " c+ "),
        (r"\( ?- ?\) ?(?=c\b|contr|kontr|km)", " without "),
        (r"\( ?\+ ?\)", " c+ "),
        (r"(?:(?<=[\s_(])|^)- ?(?:c|km|iv)\b", " plain "),
        (r"\b(?:c|km|iv|cm|ic|k)-(?![^\W_])", " plain "),
        (r"(?<![^\W_])(?:c|km|iv|cm|ic|k) ?\+|\+ ?(?:c|km|iv|cm|contr\w*|kontr\w*)\b", " c+ "),
    ):
        lower = re.sub(pattern, meant, lower)
    return re.sub(r"(?:[^\w+]|_)+", " ", lower).strip()


def _match(pattern: str, words: str) -> str | None:
    match = re.search(rf"(?<!\w)(?:{pattern})(?![\w+])", words)
    return match[0] if match else None
