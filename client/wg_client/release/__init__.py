"""Preview of a release: its contents, its cost, hints, and the canary audit."""
