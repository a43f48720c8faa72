"""The page and the cards of an evaluation, and the folder that holds them."""
