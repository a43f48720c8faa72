"""One file for each command. A file's function has the command's name, and its parameters are the options."""
