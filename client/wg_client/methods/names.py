"""Names of the methods, as manifests, model files and commands have them.

Three mechanisms have a name each: models of known kinds are *handed on*, what other sites released
is *pooled*, and weights for a stated machine are *generated*.
"""

LOCAL = "local-only"
HANDED_ON = "handed-on"
GENERATED = "generated"
POOLED = "pooled"
HANDED_ON_FINETUNED = "handed-on-finetuned"
GENERATED_FINETUNED = "generated-finetuned"
POOLED_FINETUNED = "pooled-finetuned"
