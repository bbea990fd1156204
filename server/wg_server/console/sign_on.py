"""Login through an OpenID Connect provider: authorization code flow with PKCE (RFC 7636).

``keys/oidc.json`` names the provider and this server's registration there; without the file this
login is disabled. Members of the group ``OPERATORS`` may use all of the console, members of
``VIEWERS`` may only read, and all others are refused, by the claim ``groups`` of the ID token. The
token's signature, issuer, audience, authorised party, time and nonce are checked (OpenID Connect
Core 1.0, section 3.1.3.7).

A browser keeps one secret from the first redirect until its return: state, nonce and verifier are
hashes of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from wg_core import atomic
from wg_core.errors import ConfigError, PeerError, RefusedError, WgError
from wg_core.text_grammars import check_name
from wg_core.wire import canonical
from wg_server.site.home import ServerHome

if TYPE_CHECKING:
    import httpx

Role = Literal["operator", "viewer"]

OPERATORS, VIEWERS = "weightgate-operators", "weightgate-viewers"
_TIMEOUT_SECONDS = 10.0
_TOKEN_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]


class OidcProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OpenID Connect provider: the settings in ``keys/oidc.json``, and the login there.

    Attributes:
        issuer: URL of the provider, as in its tokens; https, except on this machine.
        client_id: Id of this server at the provider.
        client_secret: Secret of this server at the provider.
    """

    issuer: str
    client_id: str
    client_secret: str

    def authorization_url(self, browser_secret: str, callback_url: str) -> str:
        """Return the URL to which a browser is sent for login.

        Args:
            browser_secret: Random secret that the browser keeps in a cookie until it returns.
            callback_url: URL of this server to which the provider sends the browser back.

        Raises:
            PeerError: The provider does not answer.
        """
        verifier = hashlib.sha256(_derive_secret(browser_secret, "verifier").encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": callback_url,
            "scope": "openid profile email groups",
            "state": _derive_secret(browser_secret, "state"),
            "nonce": _derive_secret(browser_secret, "nonce"),
            "code_challenge": base64.urlsafe_b64encode(verifier).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        with self._provider_client_and_metadata() as (_, metadata):
            return f"{metadata['authorization_endpoint']}?{urlencode(query)}"

    def fetch_user_and_role(
        self, browser_secret: str, state: str, code: str, callback_url: str
    ) -> tuple[str, Role]:
        """Return name (for the log) and role of a person who returns with an authorization code.

        Args:
            browser_secret: Secret from the browser's cookie, as for ``authorization_url``.
            state: Parameter ``state`` of the request with which the browser returns.
            code: Authorization code in that request.
            callback_url: URL of that request, as for ``authorization_url``.

        Raises:
            PeerError: The provider does not answer, or its answer violates OpenID Connect.
            RefusedError: The login was not started by this browser, or the person is in no group.
        """
        if not hmac.compare_digest(
            state.encode(), _derive_secret(browser_secret, "state").encode()
        ):
            raise RefusedError("login: not begun here")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback_url,
            "code_verifier": _derive_secret(browser_secret, "verifier"),
        }
        with self._provider_client_and_metadata() as (client, metadata):
            credentials = (quote(self.client_id, safe=""), quote(self.client_secret, safe=""))
            answer = client.post(metadata["token_endpoint"], data=form, auth=credentials)
            token = answer.raise_for_status().json()["id_token"]
            keys = client.get(metadata["jwks_uri"]).raise_for_status().json()
            claims = self._verify_id_token(token, keys, _derive_secret(browser_secret, "nonce"))
        # An unverified address or a user name may be anybody's (OpenID Connect Core, 5.1 and 5.7).
        email = claims.get("email") if claims.get("email_verified") is True else None
        name = email or f"{claims.get('preferred_username', '')} {claims['sub']}".strip()
        person = f"{name} ({urlsplit(self.issuer).hostname})"  # differs from token operators
        check_name(person)
        return person, _role_of_groups(claims.get("groups"))

    @contextmanager
    def _provider_client_and_metadata(self) -> Iterator[tuple[httpx.Client, dict[str, Any]]]:
        """Yield an HTTP client for the provider, and the provider's metadata."""
        import httpx

        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
                yield client, client.get(url).raise_for_status().json()
        except WgError:
            raise
        except Exception as error:  # two libraries raise many types on a provider's answer
            raise PeerError(f"{self.issuer}: {error}") from error

    def _verify_id_token(self, token: str, keys: Any, nonce: str) -> dict[str, Any]:
        """Verify an ID token, and return the claims in the token."""
        from joserfc import jwt
        from joserfc.jwk import KeySet

        id_token = jwt.decode(token, KeySet.import_key_set(keys), algorithms=_TOKEN_ALGORITHMS)
        jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(id_token.claims)
        claims = dict(id_token.claims)
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self.client_id) != self.client_id:
            raise RefusedError("login: the ID token was issued to another client (azp)")
        return claims


def read_oidc_provider(home: ServerHome) -> OidcProvider | None:
    """Return the provider of a home, or None.

    Raises:
        ConfigError: The issuer's URL is not trustworthy, or the extra is not installed.
        DecodeError: ``keys/oidc.json`` cannot be read.
    """
    if not home.oidc_file.is_file():
        return None
    data = atomic.read_bytes(home.oidc_file, limit=1 << 14)
    provider = canonical.decode_known_fields(OidcProvider, data, input_name="keys/oidc.json")
    url = urlsplit(provider.issuer)
    if url.scheme != "https" and url.hostname not in ("localhost", "127.0.0.1"):
        raise ConfigError(f"keys/oidc.json: issuer {provider.issuer!r}, expected https://")
    try:
        import joserfc  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError("keys/oidc.json: install the extra 'weightgate[oidc]'") from error
    return provider


def _derive_secret(secret: str, purpose: str) -> str:
    return hashlib.sha256(f"{purpose} {secret}".encode()).hexdigest()


def _role_of_groups(groups: Any) -> Role:
    for group, role in ((OPERATORS, "operator"), (VIEWERS, "viewer")):
        if isinstance(groups, list) and group in groups:
            return role  # type: ignore[return-value]
    raise RefusedError(f"login: neither of {OPERATORS} nor of {VIEWERS}")
