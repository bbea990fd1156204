"""Provenance of the kept model, and the accuracy of the generated model as delivered."""

from collections.abc import Iterator

from wg_client.methods.names import (
    GENERATED,
    GENERATED_FINETUNED,
    HANDED_ON,
    HANDED_ON_FINETUNED,
    LOCAL,
    POOLED_FINETUNED,
)
from wg_client.models.manifest import ModelsManifest
from wg_client.selection.model_selection import Outcome
from wg_common.language import Text, text
from wg_common.weights_package import Condition


def provenance(outcome: Outcome, manifest: ModelsManifest) -> Iterator[Text]:
    """Yield sentences on the kept model's mechanism and condition, and its accuracy."""
    kept_name = outcome.kept
    if kept_name == LOCAL:
        if manifest.candidates:
            yield text("The kept model is your own: nothing that was delivered has a part in it.")
    elif kept_name in (GENERATED, GENERATED_FINETUNED):
        yield _condition(manifest.condition)
    elif kept_name in (HANDED_ON, HANDED_ON_FINETUNED):
        yield text(
            "The kept model is handed on: the operator has trained it on own records of such"
            " plants."
        )
    else:
        yield text(
            "The kept model is pooled: it is made of what {count} releases of other sites say of"
            " your classes.",
            count=manifest.pool_releases,
        )
    if kept_name in (HANDED_ON_FINETUNED, GENERATED_FINETUNED, POOLED_FINETUNED):
        yield text("It was then trained on with your own labelled records.")
    of_generated, local = (
        outcome.accuracy(name) if name in outcome.models else None for name in (GENERATED, LOCAL)
    )
    if of_generated is not None and local is not None:
        yield text(
            "On your own records the generated model, as it came, names about {generated} of 100"
            " right; the model of your own labels alone names {own}.",
            generated=round(100 * of_generated.mean),
            own=round(100 * local.mean),
        )
    elif of_generated is None and kept_name == GENERATED:
        yield text("What it is worth on your own records was not measured: labels do not say.")


def _condition(condition: Condition) -> Text:
    """Describe the data sheet and the statistic that generated weights were made for."""
    words = {"release": condition.statistic[:12], "epsilon": condition.epsilon}
    if condition.data_sheet and condition.statistic:
        return text(
            "The kept model is generated: for the machine that your data sheet states, and for the"
            " statistic of your records that left in release {release} at ε {epsilon}.",
            **words,
        )
    if condition.statistic:
        return text(
            "The kept model is generated: for the statistic of your records that left in release"
            " {release} at ε {epsilon}, without a data sheet.",
            **words,
        )
    if condition.data_sheet:
        return text(
            "The kept model is generated: for the machine that your data sheet states. No statistic"
            " of your records has a part in it."
        )
    return text(
        "The kept model is generated: neither a data sheet nor a statistic of your records has a"
        " part in it."
    )
