"""What a developer runs to make generated files. Nothing here runs on a user's machine."""
