"""Names of the methods, as manifests, model files and commands have them. They never change."""

LOCAL = "local-only"
GENERATED = "generated"
POSTERIOR_HEAD = "completed"
GENERATED_FINETUNED = "generated-finetuned"
CONTRIBUTED = "contributed"
CONTRIBUTED_FINETUNED = "contributed-finetuned"
ENSEMBLE = "completed-finetuned"
