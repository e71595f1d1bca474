"""A root file system as a tar archive: packages from mmdebstrap, then what the recipe adds; kept in a cache.

Nothing of a package is run and nothing is unpacked on this machine: the archive is rewritten on its way through. A
cached archive is complete or absent, however many builds run at once and wherever they are stopped.
"""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from images.recipes import Recipe


class ImageError(Exception):
    """An image could not be built; the message says what to do."""


def cache_folder() -> Path:
    """Where archives are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "warmlane" / "images"


def archive(recipe: Recipe) -> Path:
    """The recipe's archive, built when the cache has none."""
    path = cache_folder() / f"{recipe.slug}-{recipe.key}.tar"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{recipe.slug}-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as target:
            _build(recipe, target)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def _build(recipe: Recipe, target: IO[bytes]) -> None:
    program = shutil.which("mmdebstrap")
    if program is None:
        raise ImageError("mmdebstrap is needed to build the test images: apt-get install mmdebstrap")
    # `extract` unpacks without running a package's scripts: seconds instead of a minute, and enough for Python.
    command = [program, "--quiet", "--variant=extract", "--format=tar", f"--include={','.join(recipe.packages)}"]
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen([*command, recipe.suite, "-"], stdout=subprocess.PIPE, stderr=words) as packages,
    ):
        assert packages.stdout is not None
        try:
            rewrite(recipe, packages.stdout, target)
        except tarfile.TarError:
            packages.kill()  # what it printed says more than the broken archive
        if packages.wait() != 0:
            words.seek(0)
            said = words.read().decode(errors="replace").strip()
            raise ImageError(f"mmdebstrap could not build {recipe.tag}:\n{said}")


def rewrite(recipe: Recipe, source: IO[bytes], target: IO[bytes]) -> None:
    """Copy the archive of the packages, without what the recipe leaves out, and add what it brings."""
    with tarfile.open(fileobj=source, mode="r|") as packages, tarfile.open(fileobj=target, mode="w") as image:
        additions = list(_additions(recipe))
        replaced = {member.name for member, _ in additions}  # a path may stand in an image's archive once
        for member in packages:
            name = member.name.removeprefix("./")
            if name not in replaced and not recipe.leaves_out(name):
                image.addfile(member, packages.extractfile(member) if member.isreg() else None)
        for member, content in additions:
            image.addfile(member, content)


def _additions(recipe: Recipe) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    for directory in recipe.directories:
        member = tarfile.TarInfo(directory.path)
        member.type, member.mode = tarfile.DIRTYPE, directory.mode
        member.uid = member.gid = directory.owner
        yield member, None
    for path, text in recipe.files:
        member = tarfile.TarInfo(path)
        member.mode, member.size = 0o644, len(text.encode())
        yield member, io.BytesIO(text.encode())
    for path, points_to in recipe.links:
        member = tarfile.TarInfo(path)
        member.type, member.linkname = tarfile.SYMTYPE, points_to
        yield member, None
