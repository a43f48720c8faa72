"""Free text of headers cut down to words that can name nobody.

Anything may be typed into SeriesDescription, ConvolutionKernel or the model's name, the patient's name too. What is
written for others keeps only words of a closed list, kernels and thicknesses.
"""

import re
from dataclasses import replace

from ichformer.ct.audit import AUDIT_CODES, Audit, Note

_LIST = """
ct ncct nect cect cta ctp head brain skull cranium cranial crane cerebral cerebro cerebrum neuro kopf schadel
schaedel hirn encephale tete testa cranio cabeza craneo encefalo neck spine sinus orbit orbits face facial
base posterior anterior fossa vertex temporal petrous routine standard trauma stroke emergency adult child
pediatric paediatric infant

axial ax transversal transverse helical spiral sequence sequential seq volume vol scout localizer topogram
surview coronal cor sagittal sag oblique mpr mip minip vrt reformat reformatted recon reconstruction thin
thick slice slices mm kv kvp ma mas fov tilt gantry supine prone series original primary derived secondary
dose report bolus tracking monitoring perfusion dynamic angio angiography venous arterial delayed phase early
late post pre

contrast kontrast contraste contrasto km mdc civ iv with without w/o w wo mit ohne sans avec con sin senza sem
com no non enhanced unenhanced noncontrast plain native nativ nativa natif nativo blanco simple basale

iopamidol iohexol iodixanol iopromide iomeprol iobitridol ioversol omnipaque isovue ultravist visipaque iomeron
imeron xenetix optiray oxilan accupaque solutrast iodine iodinated oral intravenous
contrastbolusagent contrastbolusvolume contrastbolusroute contrastbolustotaldose contrastbolusingredient
contrastflowrate contrastflowduration convolutionkernel modality mr the description says

bone bones soft tissue hard sharp smooth medium window parenchyma subdural blood hemorrhage haemorrhage std
stnd knochen weichteil os parties molles osso boneplus detail lung chest ultra edge filter kernel fbp asir
asirv safire admire idose aidr adaptive iterative model based metal artifact reduction mar imr deep learning
true fidelity

canon fujifilm ge hitachi neurologica neusoft philips siemens toshiba uih united imaging medical systems
system healthineers healthcare corporation company co ltd inc gmbh ag technologies electric general samsung
somatom definition as as+ flash force drive go edge+ emotion sensation perspective spirit volume zoom x.cite
naeotom alpha lightspeed brightspeed hispeed revolution discovery optima vct ct750 hd evo frontier apex
brilliance ingenuity ict iqon incisive spectral mx aquilion asteion alexion activion astelion one prime
lightning genesis scenaria supria eclos presto ceretom bodytom neuviz epoch ues
"""
"""Words of the examination, of how it was taken and reconstructed, of contrast medium, windows, makers and models."""

_WORDS = frozenset(_LIST.split())
_KERNEL = r"(?:[a-z]{1,2}\d{2}[a-z]{0,2})(?:\\\d)?"
_LENGTH = r"\d(?:[.,]\d{1,3})? ?mm|\d[.,]\d{1,3}|\d{2}(?:[.,]\d{1,3})? ?mm|\d{2}[.,]\d{1,3}|\d"
_TOKEN = re.compile(
    rf"(?P<length>(?<![\w.,/\\-])(?:{_LENGTH})(?![\w.,/\\-]))|(?P<kernel>(?<![^\W_])(?:{_KERNEL})(?![\w.]))"
    r"|(?P<word>w/o|x\.cite|as\+|edge\+|[^\W_]+)",
    re.IGNORECASE,
)
_MAX_CHARS = 200

_QUOTING = ("kernel_varies", "series_divided")
"""Notes whose text holds words of the header."""


def known_words(text: str) -> str:
    """The words of a text that are on the list, kernels such as "H30s" and lengths such as "5 mm", joined by blanks."""
    kept = []
    for match in _TOKEN.finditer(text[:_MAX_CHARS]):
        if match.lastgroup != "word" or match[0].casefold() in _WORDS:
            kept.append(match[0])
    return " ".join(kept)


def known_kernel(text: str) -> str:
    """ConvolutionKernel as makers name kernels: "STANDARD", "H30s", "FC68", "UB"; "" for other text."""
    name = text.strip()
    return name if re.fullmatch(rf"{_KERNEL}|[A-Z]{{1,2}}", name, re.IGNORECASE) else known_words(name)


def without_free_text(audit: Audit) -> Audit:
    """The audit without words of the header that are not on the list.

    A maker that is not on it becomes "other". Ages become whole years.
    """
    maker = known_words(audit.manufacturer)
    notes = [
        Note(code=note.code, text=AUDIT_CODES[note.code]) if note.code in _QUOTING else note for note in audit.notes
    ]
    return replace(
        audit,
        modality=audit.modality if audit.modality in ("", "CT") else "other",
        description=known_words(audit.description),
        kernel=known_kernel(audit.kernel),
        manufacturer=maker or ("other" if audit.manufacturer else ""),
        age_years=None if audit.age_years is None else float(int(audit.age_years)),
        notes=tuple(notes),
    )
