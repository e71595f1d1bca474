"""Giving a daemon the test images: only those that it lacks, or that were made from another recipe."""

from collections.abc import Callable

from dockerd.api import Daemon
from images.archive import archive
from images.recipes import EXAMPLES_TAG, RECIPES, WITH_PYTHON

_LABEL = "warmlane.test.recipe"


def supply(daemon: Daemon, *, for_examples: bool, say: Callable[[str], None]) -> None:
    """Give the daemon every test image. `for_examples` also gives it the image that the examples name, if it has none.

    Raises ImageError when an image cannot be built, DaemonError when the daemon does not take it.
    """
    for recipe in RECIPES:
        if daemon.label(recipe.tag, _LABEL) == recipe.key:
            continue
        say(f"making the image {recipe.tag}")
        with archive(recipe).open("rb") as file:
            daemon.import_image(recipe.tag, file, [*recipe.changes, f"LABEL {_LABEL}={recipe.key}"])
    if for_examples and not daemon.has_image(EXAMPLES_TAG):
        daemon.tag_image(WITH_PYTHON.tag, EXAMPLES_TAG)
