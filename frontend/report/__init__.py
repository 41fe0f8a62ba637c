"""Reports as HTML pages (`report`, `split`, `profile`), as JSON, and in the terminal (`render*`)."""
