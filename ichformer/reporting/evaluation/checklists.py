"""Check-lists for papers: the number of each item, a short title of our own, and what a run can fill in.

Sources: CLAIM 2024, Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300, doi:10.1148/ryai.240300, 44
items; TRIPOD+AI, Collins et al., BMJ 2024;385:e078378, doi:10.1136/bmj-2023-078378, 27 items in 52 parts. Numbers and
subjects were checked against both lists. The titles are ours and say less than the items ask.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One item of a check-list.

    Attributes:
      number: in the list.
      title: what it is about, in short.
      knows: name of the fact that fills it in (``cards.known``), "" where only people can.
      study: "D" where TRIPOD+AI asks it only of a study that develops a model, "E" only of one that evaluates a model.
    """

    number: str
    title: str
    knows: str = ""
    study: str = ""


CLAIM = (
    Item("1", "Title names AI and the kind of it", "kind"),
    Item("2", "Summary of design, methods, results and conclusions"),
    Item("3", "Background, intended use and role of the AI"),
    Item("4", "Aims, objectives, hypotheses"),
    Item("5", "Prospective or retrospective"),
    Item("6", "Goal of the study"),
    Item("7", "Where the data come from", "data"),
    Item("8", "Who was included and excluded"),
    Item("9", "Preprocessing", "preprocessing"),
    Item("10", "Parts of the data that were chosen"),
    Item("11", "De-identification"),
    Item("12", "How missing data were handled", "missing"),
    Item("13", "Protocol of the image acquisition"),
    Item("14", "How the reference standard was obtained"),
    Item("15", "Why this reference standard"),
    Item("16", "Who or what the annotations come from"),
    Item("17", "Annotation of the test set"),
    Item("18", "Variability within and between annotators"),
    Item("19", "How data were assigned to partitions", "partitions"),
    Item("20", "Level at which partitions are disjoint", "disjoint"),
    Item("21", "Intended size of the test set"),
    Item("22", "The model", "model"),
    Item("23", "Software", "software"),
    Item("24", "Initial parameters", "initialisation"),
    Item("25", "Training", "training"),
    Item("26", "How the final model was chosen", "selection"),
    Item("27", "Ensembles", "ensemble"),
    Item("28", "Metrics", "metrics"),
    Item("29", "Uncertainty and significance", "uncertainty"),
    Item("30", "Robustness or sensitivity analysis", "strata"),
    Item("31", "Methods for explainability"),
    Item("32", "Evaluation on internal data"),
    Item("33", "Testing on external data"),
    Item("34", "Registration of a clinical trial"),
    Item("35", "Patients or examinations included and excluded", "numbers"),
    Item("36", "Demographic and clinical characteristics, by partition", "characteristics"),
    Item("37", "Performance with its uncertainty", "performance"),
    Item("38", "Diagnostic performance and its precision", "accuracy"),
    Item("39", "Failure analysis of wrong results"),
    Item("40", "Limitations"),
    Item("41", "Implications for practice"),
    Item("42", "Where protocol or further technical details are"),
    Item("43", "Availability of software, model and data", "code"),
    Item("44", "Funding, other support, role of funders"),
)

TRIPOD_AI = (
    Item("1", "Title: development or evaluation, population, outcome"),
    Item("2", "Abstract, by its own check-list"),
    Item("3a", "Healthcare context, rationale, existing models"),
    Item("3b", "Target population, purpose and users"),
    Item("3c", "Known health inequalities"),
    Item("4", "Objectives: development, validation or both"),
    Item("5a", "Sources of data", "data"),
    Item("5b", "Dates of the data"),
    Item("6a", "Setting and centres", "sites"),
    Item("6b", "Eligibility criteria"),
    Item("6c", "Treatments received"),
    Item("7", "Pre-processing and quality checks", "preprocessing"),
    Item("8a", "Outcome and how it was assessed", "outcome"),
    Item("8b", "Qualifications of the outcome's assessors"),
    Item("8c", "Blinding of the outcome's assessment"),
    Item("9a", "Choice of the initial predictors", "predictors", study="D"),
    Item("9b", "Definition and measurement of the predictors", "predictors"),
    Item("9c", "Qualifications of the predictors' assessors"),
    Item("10", "Study size and its justification"),
    Item("11", "Missing data and omitted data", "missing"),
    Item("12a", "How data were used for development and evaluation", "partitions", study="D"),
    Item("12b", "How predictors were handled", "preprocessing", study="D"),
    Item("12c", "Type of model, its building, internal validation", "training", study="D"),
    Item("12d", "Heterogeneity across clusters: methods", "strata"),
    Item("12e", "Measures and plots of performance", "metrics"),
    Item("12f", "Updating of the model (recalibration)", "recalibration", study="E"),
    Item("12g", "How predictions were calculated", "model", study="E"),
    Item("13", "Methods for imbalance of classes", "imbalance"),
    Item("14", "Fairness: methods"),
    Item("15", "Output, and how thresholds were found", "output", study="D"),
    Item("16", "Differences between development and evaluation data"),
    Item("17", "Ethical approval and consent"),
    Item("18a", "Funding"),
    Item("18b", "Conflicts of interest"),
    Item("18c", "Protocol"),
    Item("18d", "Registration"),
    Item("18e", "Availability of the data"),
    Item("18f", "Availability of the analytical code", "code"),
    Item("19", "Involvement of patients and public"),
    Item("20a", "Flow of participants, with and without the outcome", "numbers"),
    Item("20b", "Characteristics of participants, by source", "characteristics"),
    Item("20c", "Predictors and outcome beside the development data", study="E"),
    Item("21", "Participants and outcome events in each analysis", "numbers"),
    Item("22", "The full model, for predictions in new individuals", "model", study="D"),
    Item("23a", "Performance with intervals, also in subgroups", "performance"),
    Item("23b", "Heterogeneity across clusters: results", "heterogeneity"),
    Item("24", "Results of updating the model", "recalibration", study="E"),
    Item("25", "Interpretation, with fairness"),
    Item("26", "Limitations"),
    Item("27a", "Poor or unavailable input in use", study="D"),
    Item("27b", "Users' interaction and expertise", study="D"),
    Item("27c", "Next steps, applicability, generalizability"),
)
