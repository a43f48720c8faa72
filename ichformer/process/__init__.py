"""What a command does with its own process: workers, streams, Ctrl-C, messages of libraries, memory."""
