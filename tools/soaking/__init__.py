"""The long forms of what the suite proves in short; `tools/soak` runs them."""
