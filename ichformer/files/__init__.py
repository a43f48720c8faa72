"""Reading and writing files: whole or not at all, with bounds on what is believed."""
