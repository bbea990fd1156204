"""Names of the methods in manifests, model files and commands.

There are three mechanisms: models of known kinds are *handed on*, statistics that other sites
released are *pooled*, and weights for a declared machine are *generated*.
"""

LOCAL_ONLY = "local-only"
HANDED_ON = "handed-on"
GENERATED = "generated"
POOLED = "pooled"
HANDED_ON_FINETUNED = "handed-on-finetuned"
GENERATED_FINETUNED = "generated-finetuned"
POOLED_FINETUNED = "pooled-finetuned"
