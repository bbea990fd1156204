"""The plant's policy on requests, applied before any record is read.

Every refusal here depends only on the request, the configuration and the clock, never on the data:
a refusal must not be a side channel.
"""

from typing import Protocol

from wg_core import text_grammars
from wg_core.errors import ConfigError, DecodeError, PolicyRefused
from wg_core.privacy.schema import statistics_kind
from wg_core.site.config import ANY_PURPOSE, ClientConfig, positive_decimal
from wg_core.wire import flower_messages
from wg_core.wire.protocol import StatisticsQuery

_PURPOSE_GRAMMAR = text_grammars.PrintableText(text_grammars.SENTENCE_CHARACTERS_LIMIT)


class PrivacyPrice(Protocol):
    """Price of a release in (epsilon, delta)."""

    @property
    def epsilon(self) -> str:
        """Epsilon of the release, decimal string."""

    @property
    def delta(self) -> str:
        """Delta of the release, decimal string."""


def check_message_type(config: ClientConfig, message_type: str) -> None:
    """Check that the plant answers messages of this type.

    Raises:
        PolicyRefused: The type is not allowed.
    """
    if message_type not in config.privacy.message_types:
        raise PolicyRefused(
            f"message type {message_type!r}: this plant answers"
            f" {', '.join(config.privacy.message_types) or 'none'}"
        )


def check_query(
    config: ClientConfig, query: StatisticsQuery, *, encoder_sha256: str, current_time: float
) -> None:
    """Check a query against the plant's policy at ``current_time``, Unix seconds.

    ``encoder_sha256`` is the id of the encoder that the plant holds, hex.

    Raises:
        PolicyRefused: The query is malformed, for another site or encoder, expired, or asks for
            more than the policy allows.
    """
    if query.site != config.site:
        raise PolicyRefused(f"query: for site {query.site!r}, this is {config.site!r}")
    try:
        flower_messages.check_request_id(query.request_id)
    except DecodeError as error:
        raise PolicyRefused(str(error)) from error
    if current_time >= query.expires:
        raise PolicyRefused(f"query {query.request_id}: expired at {query.expires}")
    if query.encoder != encoder_sha256:
        raise PolicyRefused(
            f"query {query.request_id}: encoder {query.encoder[:16]}, this plant holds"
            f" {encoder_sha256[:16]}"
        )
    subject, privacy = f"query {query.request_id}", config.privacy
    statistics = statistics_kind(query.statistics)
    if not query.asks_only_statement and statistics not in privacy.statistics:
        raise PolicyRefused(
            f"{subject}: {statistics} statistics, this plant allows"
            f" {', '.join(privacy.statistics) or 'none'} (privacy.statistics)"
        )
    if not query.asks_only_statement:
        check_price(config, query, subject)
    if not _PURPOSE_GRAMMAR.is_match(query.purpose):
        raise PolicyRefused(f"{subject}: purpose is too long or not printable")
    if ANY_PURPOSE not in privacy.purposes and query.purpose not in privacy.purposes:
        raise PolicyRefused(f"{subject}: this plant does not allow its purpose")


def check_price(config: ClientConfig, order: PrivacyPrice, request_name: str) -> None:
    """Check that a price does not exceed the policy's limits for a request.

    Raises:
        PolicyRefused: The price is too high, or malformed.
    """
    privacy = config.privacy
    for name, request, setting, largest in (
        ("epsilon", order.epsilon, "max_request_epsilon", privacy.max_request_epsilon),
        ("delta", order.delta, "cap_delta", privacy.cap_delta),
    ):
        try:
            value = positive_decimal(request, name)
        except ConfigError as error:
            raise PolicyRefused(f"{request_name}: {error}") from error
        if value > positive_decimal(largest, f"privacy.{setting}"):
            raise PolicyRefused(
                f"{request_name}: {name} {request}, this plant allows {largest} a request"
            )
