"""Methods of explanation, one idea a file."""
