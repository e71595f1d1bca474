"""The root file systems of the test images, and when one must be made again."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from images.archive import ImageError, archive, rewrite
from images.recipes import RECIPES, WITH_PYTHON, Directory, Recipe

RECIPE = Recipe(
    tag="small:latest",
    packages=("one",),
    directories=(Directory("tmp", mode=0o1777), Directory("home/app", owner=1000)),
    files=(("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),),
    links=(("usr/bin/python", "python3"),),
)


def packages(*paths: str) -> io.BytesIO:
    """An archive such as mmdebstrap writes, each file holding its own path."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path in paths:
            member = tarfile.TarInfo(path)
            member.size = len(path)
            archive.addfile(member, io.BytesIO(path.encode()))
    target.seek(0)
    return target


def rewritten(source: io.BytesIO) -> dict[str, tarfile.TarInfo]:
    target = io.BytesIO()
    rewrite(RECIPE, source, target)
    target.seek(0)
    with tarfile.open(fileobj=target) as image:
        members = image.getmembers()
        assert len({member.name.removeprefix("./") for member in members}) == len(members), "a path stands there twice"
        for member in members:
            if member.isreg() and member.name.startswith("./"):
                content = image.extractfile(member)
                assert content is not None
                assert content.read().decode() == member.name
        return {member.name.removeprefix("./"): member for member in members}


def test_documentation_is_left_out_and_the_rest_kept() -> None:
    image = rewritten(packages("./usr/bin/python3", "./usr/share/doc/one/copyright", "./usr/share/docs"))
    assert "usr/bin/python3" in image
    assert "usr/share/docs" in image
    assert "usr/share/doc/one/copyright" not in image


def test_what_the_recipe_adds_takes_the_place_of_what_a_package_brought() -> None:
    image = rewritten(packages("./etc/passwd", "./tmp"))
    assert image["etc/passwd"].size == len(RECIPE.files[0][1])
    assert image["tmp"].isdir()


def test_additions_have_their_modes_and_owners() -> None:
    image = rewritten(packages())
    assert (image["tmp"].mode, image["tmp"].uid) == (0o1777, 0)
    assert (image["home/app"].uid, image["home/app"].gid) == (1000, 1000)
    assert image["usr/bin/python"].issym()
    assert image["usr/bin/python"].linkname == "python3"


def test_any_change_of_a_recipe_changes_its_key() -> None:
    others = [
        replace(RECIPE, packages=("two",)),
        replace(RECIPE, directories=()),
        replace(RECIPE, files=(("etc/passwd", ""),)),
        replace(RECIPE, changes=("CMD sh",)),
        replace(RECIPE, suite="trixie"),
    ]
    assert len({RECIPE.key, *(other.key for other in others)}) == 6
    assert replace(RECIPE).key == RECIPE.key


def test_the_two_images_do_not_share_a_place_in_the_cache() -> None:
    assert len({recipe.slug for recipe in RECIPES}) == len(RECIPES)


def test_a_cached_archive_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")  # nothing could be built
    cached = tmp_path / "warmlane" / "images" / f"warmlane-test-{WITH_PYTHON.key}.tar"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"whole")
    assert archive(WITH_PYTHON) == cached


def test_a_failed_build_says_why_and_leaves_nothing_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'E: the mirror is away' >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(ImageError, match=r"small:latest(?s:.*)the mirror is away"):
        archive(RECIPE)
    assert list((tmp_path / "warmlane" / "images").iterdir()) == []


def test_without_mmdebstrap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageError, match="apt-get install mmdebstrap"):
        archive(RECIPE)
