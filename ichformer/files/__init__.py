"""How files are read and written: whole or not at all, with bounds on what is believed."""
