"""The process of a command: workers, standard streams, Ctrl-C, messages of libraries, memory."""
