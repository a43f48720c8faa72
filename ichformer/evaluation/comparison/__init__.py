"""The steps of a comparison of models: pairing of rows, figures of a level, correction of p values, text."""
