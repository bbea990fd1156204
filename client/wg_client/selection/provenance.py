"""Sentences of the report on the kept model's origin, and on the generated model's accuracy."""

from collections.abc import Iterator

from wg_client.methods.method_names import (
    GENERATED,
    GENERATED_FINETUNED,
    HANDED_ON,
    HANDED_ON_FINETUNED,
    LOCAL_ONLY,
    POOLED_FINETUNED,
)
from wg_client.models.manifest import ModelsManifest
from wg_client.selection.model_selection import SelectionOutcome
from wg_common.language import Text, text
from wg_common.weights_package import GeneratorCondition


def provenance_sentences(outcome: SelectionOutcome, manifest: ModelsManifest) -> Iterator[Text]:
    """Yield sentences on the kept model's origin, and on the generated model's accuracy."""
    kept_name = outcome.kept_name
    if kept_name == LOCAL_ONLY:
        if manifest.candidates:
            yield text("The selected model is your own; nothing delivered is used in it.")
    elif kept_name in (GENERATED, GENERATED_FINETUNED):
        yield _condition_sentence(manifest.condition)
    elif kept_name in (HANDED_ON, HANDED_ON_FINETUNED):
        yield text(
            "The selected model is handed on: the operator trained it on their own records "
            "of such plants."
        )
    else:
        yield text(
            "The selected model is pooled: it is computed from {count} releases of other "
            "sites with your classes.",
            count=manifest.pool_releases,
        )
    if kept_name in (HANDED_ON_FINETUNED, GENERATED_FINETUNED, POOLED_FINETUNED):
        yield text("It was then fine-tuned on your own labelled records.")
    of_generated, local = (
        outcome.estimate_accuracy(name) if name in outcome.models else None
        for name in (GENERATED, LOCAL_ONLY)
    )
    if of_generated is not None and local is not None:
        yield text(
            "On your own records the generated model, as delivered, classifies about "
            "{generated} of 100 correctly; a model from your own labels alone classifies "
            "{own}.",
            generated=round(100 * of_generated.mean),
            own=round(100 * local.mean),
        )
    elif of_generated is None and kept_name == GENERATED:
        yield text(
            "Its accuracy on your own records was not measured, because your labels do not "
            "allow it."
        )


def _condition_sentence(condition: GeneratorCondition) -> Text:
    """Describe the data sheet and the statistic that generated weights were made for."""
    words = {"release": condition.statistic[:12], "epsilon": condition.epsilon}
    if condition.data_sheet and condition.statistic:
        return text(
            "The selected model is generated for the machine in your data sheet, from the "
            "statistic of your records in release {release} at ε {epsilon}.",
            **words,
        )
    if condition.statistic:
        return text(
            "The selected model is generated from the statistic of your records in release "
            "{release} at ε {epsilon}, without a data sheet.",
            **words,
        )
    if condition.data_sheet:
        return text(
            "The selected model is generated for the machine in your data sheet, without a "
            "statistic of your records."
        )
    return text(
        "The selected model is generated, without a data sheet and without a statistic "
        "of your records."
    )
