"""The page and the cards of an evaluation."""
