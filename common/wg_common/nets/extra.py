"""Packages that only some plants need: is one there?"""

from importlib import metadata


def there(requirement: str) -> bool:
    """Whether a package ``NAME==VERSION`` is installed, in whatever version.

    What it holds is checked by hash when it is first used.
    """
    try:
        metadata.distribution(requirement.partition("==")[0])
    except metadata.PackageNotFoundError:
        return False
    return True
