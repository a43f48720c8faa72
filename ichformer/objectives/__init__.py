"""What is optimised; the training loop knows none of them."""
