"""Texts that this program writes in charges, and their translation for display.

A charge is evidence, so the auditor's page quotes its texts unchanged. The page's own sentences
repeat these texts in the reader's language. A text of another program is not translated.
"""

import functools
import re

from wg_common.language import list_names, template, text

_TRANSLATABLE_TEXTS = (
    template("none"),
    template("never"),
    template("record"),
    template("add-remove"),
    template("each record is a unit"),
    template("the m records of a unit weigh 1/m each"),
    template("(epsilon, delta)-DP by Gaussian DP"),
    template("two discrete Gaussians over exact integers, sums about a centre from the first"),
    template("one discrete Gaussian over exact integers, machine statistics without labels"),
    template("discrete Gaussians over exact integers, a sum of clipped gradients each step"),
    template("dp-accounting {version} PLD, add or remove one"),
    template("exact integer statistics and an exact discrete sampler"),
    template("answers in fixed time slots"),
    template(
        "OpenDP's cryptographic generator, in user space (AES CTR-DRBG), seeded by the operating"
        " system"
    ),
    template("label domain"),
    template("data sheet"),
    template("clip radius"),
    template("encoder"),
    template("feature projection"),
    template("that, when and how often the site releases"),
)

_KNOWN_TEXTS = {
    "variant": ("(epsilon, delta)-DP by Gaussian DP",),
    "unprotected": (
        "label domain",
        "data sheet",
        "clip radius",
        "encoder",
        "feature projection",
        "that, when and how often the site releases",
    ),
    "accountant": ("dp-accounting {version} PLD, add or remove one",),
    "randomness": (
        "OpenDP's cryptographic generator, in user space (AES CTR-DRBG), seeded by the operating"
        " system",
    ),
    "floating_point": ("exact integer statistics and an exact discrete sampler",),
    "timing": ("answers in fixed time slots",),
    "library": ("opendp", "dp-accounting", "numpy"),
    "post_processing": ("any; costs nothing (post-processing)",),
}
"""Texts that this program writes in charges, by field; any other text is reported as a problem."""


def is_known_text(field_name: str, text: str) -> bool:
    """Return True if ``text`` is one that this program writes in the named field of a charge."""
    return any(_template_pattern(shape).fullmatch(text) for shape in _KNOWN_TEXTS[field_name])


def translatable_sentence(*texts: str) -> str:
    """Return texts of a charge, joined to one translatable list; unknown ones stay as stated."""
    return list_names([_translate_text(sentence) for sentence in texts])


def _translate_text(charge_text: str) -> str:
    for shape in _TRANSLATABLE_TEXTS:
        match = _template_pattern(shape).fullmatch(charge_text)
        if match is not None:
            return text(
                shape, **{name: _translate_text(value) for name, value in match.groupdict().items()}
            )
    return charge_text


@functools.cache
def _template_pattern(text_template: str) -> re.Pattern[str]:
    """Compile a text template into a regular expression, with a named group for each value."""
    return re.compile(
        re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9A-Za-z.+!-]+|not installed)", re.escape(text_template))
    )
