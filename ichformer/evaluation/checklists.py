"""Check-lists for papers, each item by its number and a short title of our own: what a run can say for itself.

Sources: CLAIM 2024, Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300, 44 items; TRIPOD+AI, Collins
et al., BMJ 2024;385:e078378, 27 items in 52 parts. The wording of the lists is their authors'; look there for what an
item asks.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One item.

    Attributes:
      number: in the list.
      title: what it is about, in short.
      knows: name of what a run may know of it (``cards.known``), "" where only people can.
    """

    number: str
    title: str
    knows: str = ""


CLAIM = (
    Item("1", "Title names AI and its kind", "kind"),
    Item("2", "Abstract in sections"),
    Item("3", "Background, intended use and role"),
    Item("4", "Aims and hypotheses"),
    Item("5", "Prospective or retrospective"),
    Item("6", "Goal of the study"),
    Item("7", "Where the data come from", "data"),
    Item("8", "Who was included and excluded"),
    Item("9", "Preprocessing", "preprocessing"),
    Item("10", "Parts of the data that were chosen"),
    Item("11", "De-identification"),
    Item("12", "Missing data", "missing"),
    Item("13", "How the images were acquired"),
    Item("14", "Reference standard"),
    Item("15", "Why this reference standard"),
    Item("16", "Who annotated"),
    Item("17", "How the test set was annotated"),
    Item("18", "Agreement within and between annotators"),
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
    Item("30", "Robustness and sensitivity", "strata"),
    Item("31", "Explanations"),
    Item("32", "Results on internal data"),
    Item("33", "Results on external data"),
    Item("34", "Registration of a trial"),
    Item("35", "Numbers included and excluded", "numbers"),
    Item("36", "Characteristics of patients, by partition"),
    Item("37", "Performance with its uncertainty", "performance"),
    Item("38", "Diagnostic accuracy with its precision", "accuracy"),
    Item("39", "Analysis of failures"),
    Item("40", "Limitations"),
    Item("41", "What it means for practice"),
    Item("42", "Protocol and further details"),
    Item("43", "Where software, model and data are", "code"),
    Item("44", "Funding"),
)

TRIPOD_AI = (
    Item("1", "Title"),
    Item("2", "Abstract"),
    Item("3a", "Clinical context and rationale"),
    Item("3b", "Intended patients, purpose and users"),
    Item("3c", "Known inequalities in health"),
    Item("4", "Objectives"),
    Item("5a", "Sources of data", "data"),
    Item("5b", "Dates of the data"),
    Item("6a", "Setting and centres", "sites"),
    Item("6b", "Eligibility"),
    Item("6c", "Treatments"),
    Item("7", "Preparation of the data", "preprocessing"),
    Item("8a", "Outcome and its assessment", "outcome"),
    Item("8b", "Who assessed the outcome"),
    Item("8c", "Blinding of the outcome's assessment"),
    Item("9a", "Choice of predictors", "predictors"),
    Item("9b", "Predictors and their measurement", "predictors"),
    Item("9c", "Who assessed the predictors"),
    Item("10", "Sample size"),
    Item("11", "Missing data", "missing"),
    Item("12a", "How data were used for development and evaluation", "partitions"),
    Item("12b", "How predictors were handled", "preprocessing"),
    Item("12c", "Model, its building and its internal validation", "training"),
    Item("12d", "Differences between clusters", "strata"),
    Item("12e", "Measures and plots of performance", "metrics"),
    Item("12f", "Updating of the model", "recalibration"),
    Item("12g", "How predictions were computed", "model"),
    Item("13", "Imbalance of classes", "imbalance"),
    Item("14", "Fairness: methods"),
    Item("15", "Output of the model and thresholds", "output"),
    Item("16", "Differences between training and evaluation data"),
    Item("17", "Ethical approval"),
    Item("18a", "Funding"),
    Item("18b", "Conflicts of interest"),
    Item("18c", "Protocol"),
    Item("18d", "Registration"),
    Item("18e", "Sharing of data"),
    Item("18f", "Sharing of code", "code"),
    Item("19", "Involvement of patients and public"),
    Item("20a", "Flow and number of participants", "numbers"),
    Item("20b", "Characteristics of participants"),
    Item("20c", "Development and evaluation data side by side"),
    Item("21", "Numbers in each analysis", "numbers"),
    Item("22", "Full specification of the model", "model"),
    Item("23a", "Performance, also in subgroups", "performance"),
    Item("23b", "Heterogeneity between clusters", "heterogeneity"),
    Item("24", "Results of updating the model", "recalibration"),
    Item("25", "Interpretation, with fairness"),
    Item("26", "Limitations"),
    Item("27a", "Poor or missing input in use"),
    Item("27b", "Users' part and expertise"),
    Item("27c", "Next steps"),
)
