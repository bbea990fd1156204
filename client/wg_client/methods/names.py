"""Names of the methods, as manifests, model files and commands have them. They never change."""

LOCAL = "local-only"
GENERATED = "generated"
POSTERIOR_HEAD = "completed"
GENERATED_FINETUNED = "generated-finetuned"
ENSEMBLE = "completed-finetuned"
