"""Model selection: candidates of a package against local-only, on records that none has seen."""
