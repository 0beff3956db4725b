"""``augment push``: a hub on this machine is asked for a repository and gets one commit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from typer.testing import CliRunner

import augment
from augment.cli import app
from augment.contract import Fault, FileDamaged, UsageError, Version, open_version, verify
from augment.contract.errors import HubRefused
from tests.contract.conftest import write_version
from tests.hub import Hub, Repo, hub

__all__ = ["hub"]
ONLINE = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
NAME = "datasets/owner/remarks"


@pytest.fixture
def version(tmp_path: Path) -> Version:
    return write_version(tmp_path / "versions")


def names(version: Version) -> set[str]:
    places = (place for place in version.path.rglob("*") if place.is_file())
    return {place.relative_to(version.path).as_posix() for place in places}


def test_a_version_is_there_byte_by_byte(hub: Hub, version: Version, tmp_path: Path) -> None:
    """Whoever downloads it can open, verify and load it."""
    (version.path / ".lock-here").write_text("")
    (version.path / ".data.partial").write_text("")
    done = augment.push(version, "owner/remarks")
    repo = hub.repos[NAME]

    assert repo.private
    assert set(repo.files) == names(version) - {".lock-here", ".data.partial"}
    assert done.left_out == (".data.partial", ".lock-here")
    assert done.url.startswith(hub.url)
    assert repo.commits == [f"augment push {version.reference} ({version.manifest.id[:12]})"]
    there = tmp_path / "download" / "v0001"
    for name, content in repo.files.items():
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_bytes(content)
    (there / ".gitattributes").write_text("*.parquet filter=lfs")
    assert verify(open_version(there)) == 3
    assert datasets.load_dataset(str(there), cache_dir=str(tmp_path))["train"].num_rows == 3


def test_what_an_earlier_push_left_goes_and_the_rest_stays(hub: Hub, version: Version) -> None:
    """Rows of another version would be read with these."""
    augment.push(version, "owner/remarks")
    files = hub.repos[NAME].files
    files |= {
        "data/train-00001-of-00002.parquet": b"old",
        "notes.md": b"mine",
        ".gitattributes": b"",
    }
    augment.push(str(version.path), "owner/remarks")

    assert set(files) == names(version) | {"notes.md", ".gitattributes"}


def test_a_dry_run_asks_nobody(hub: Hub, version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = CliRunner().invoke(app, ["push", str(version.path), "owner/remarks", "--dry-run"])

    assert done.exit_code == 0, done.output
    assert hub.asked == []
    for name in names(version):
        assert f"{(version.path / name).stat().st_size:,} bytes  {name}" in done.output
    assert "nothing was sent: 6 files" in done.output
    assert "(private)" in done.output


def test_public_is_said(hub: Hub, version: Version) -> None:
    """A data set that is public already gets no row by mistake."""
    augment.push(version, "owner/remarks", public=True)
    assert not hub.repos[NAME].private
    hub.repos[NAME].files.clear()

    with pytest.raises(UsageError, match="is there and public"):
        augment.push(version, "owner/remarks")
    assert hub.repos[NAME].files == {}


def test_what_is_private_stays_private(hub: Hub, version: Version) -> None:
    """``--public`` is for what it makes: nobody is told that others read what they do not."""
    augment.push(version, "owner/remarks")
    augment.push(version, "owner/remarks")
    with pytest.raises(UsageError, match="is there and private") as found:
        augment.push(version, "owner/remarks", public=True)

    assert "Leave out --public" in found.value.hint
    assert hub.repos[NAME].private
    assert len(hub.repos[NAME].commits) == 2


@pytest.mark.parametrize(
    "name", ["data/train.csv", "manifest.json", "data/train-00000-of-00001.parquet"]
)
def test_what_no_push_brought_there_stays(hub: Hub, version: Version, name: str) -> None:
    """A name mistyped may be that of other rows of one's own."""
    others = {name: b"mine", "README.md": b"mine", "more.txt": b""}
    hub.repos[NAME] = Repo(True, dict(others), ["Upload rows"])
    with pytest.raises(UsageError, match=f"no augment push brought there.*: {name}") as found:
        augment.push(version, "owner/remarks")

    assert "another name" in found.value.hint
    assert hub.repos[NAME].files == others
    del hub.repos[NAME].files[name]
    augment.push(version, "owner/remarks")
    assert set(hub.repos[NAME].files) == names(version) | {"more.txt"}


def test_of_two_pushes_at_once_one_is_told_and_none_is_mixed(
    hub: Hub, version: Version, tmp_path: Path
) -> None:
    """The other has committed between its look at the repository and its own commit."""
    other = write_version(tmp_path / "others", more=" and more")
    augment.push(version, "owner/remarks")
    path = "/api/datasets/owner/remarks/preupload"
    hub.before[path] = lambda: augment.push(other, "owner/remarks")
    with pytest.raises(HubRefused, match="did not take owner/remarks") as found:
        augment.push(version, "owner/remarks")

    def there(own: Version) -> bool:
        content = {name: (own.path / name).read_bytes() for name in names(own)}
        return hub.repos[NAME].files == content

    assert "push again" in found.value.hint
    assert there(other)
    augment.push(version, "owner/remarks")
    assert there(version)


def test_a_push_that_is_killed_leaves_nothing_and_can_be_repeated(
    hub: Hub, version: Version
) -> None:
    command = [sys.executable, "-m", "augment.cli", "push", str(version.path), "owner/remarks"]
    pushing = subprocess.Popen(command, env={**os.environ, **ONLINE, "HF_ENDPOINT": hub.url})
    hub.before["/blobs/"] = pushing.kill

    assert pushing.wait() == -9
    assert hub.repos[NAME].files == {}
    augment.push(version, "owner/remarks")
    assert set(hub.repos[NAME].files) == names(version)


@pytest.mark.parametrize("name", ["remarks", "a/b/c", "o/../x", "o/a b", "", "-/x", "o/x.git"])
def test_names_that_are_none(hub: Hub, version: Version, name: str) -> None:
    with pytest.raises(UsageError):
        augment.push(version, name)
    assert hub.asked == []


def test_a_damaged_version_is_not_pushed(hub: Hub, version: Version) -> None:
    (version.path / "README.md").write_text("other")

    with pytest.raises(FileDamaged):
        augment.push(version, "owner/remarks")
    assert hub.asked == []


def test_a_stranger_in_the_folder_is_not_pushed(hub: Hub, version: Version) -> None:
    (version.path / "secret.txt").write_text("key")

    with pytest.raises(Fault, match="no part of the version"):
        augment.push(version, "owner/remarks")
    assert hub.asked == []


def test_without_a_token_a_sentence(
    hub: Hub, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = CliRunner().invoke(app, ["push", str(version.path), "owner/remarks"])

    assert done.exit_code == 2
    assert "error: no token of the hub is known" in done.output
    assert "hf auth login" in done.output
    assert hub.asked == []


@pytest.mark.parametrize(
    ("path", "status", "hint"),
    [("/api/repos", 403, "may not write"), ("/api/repos", 401, "does not know this token"),
     ("/api/datasets/owner/remarks/commit", 412, "Somebody else"),
     ("/blobs", 400, "Nothing was committed")],
)  # fmt: skip
def test_what_the_hub_refuses_is_a_sentence(
    hub: Hub, version: Version, path: str, status: int, hint: str
) -> None:
    hub.refuse[path] = status

    with pytest.raises(HubRefused, match="the hub did not take owner/remarks") as found:
        augment.push(version, "owner/remarks")
    assert hint in found.value.hint
    assert found.value.exit_code == 3
    assert not any(repo.files for repo in hub.repos.values())


@pytest.mark.parametrize(
    ("home", "text", "told"),
    [
        ("/of/remarks", "/of/remarks/data", True),
        ("/root", "made in /root/secret.", True),
        ("/root", "`/root`", True),
        ('/home/mü"ller', '/home/mü"ller/x', True),
        ('/home/mü"ller', r"/home/m\u00fc\"ller/x", True),
        ("/root", "https://host/root/x", False),
        ("/root", "/rooted and /root-beer", False),
        ("/", "/", False),
    ],
)
def test_a_place_of_this_machine_is_not_told(
    hub: Hub, version: Version, monkeypatch: pytest.MonkeyPatch, home: str, text: str, told: bool
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path(home))
    monkeypatch.setattr("augment.versions.push.verify", lambda version: 3)
    with (version.path / "README.md").open("a") as card:
        card.write(text)

    if told:
        with pytest.raises(UsageError, match="names a place of this machine"):
            augment.push(version, "owner/remarks")
        assert hub.asked == []
    else:
        assert augment.push(version, "owner/remarks").url


def test_a_link_is_no_part_of_a_version(hub: Hub, version: Version, tmp_path: Path) -> None:
    (version.path / "README.md").rename(tmp_path / "elsewhere")
    (version.path / "README.md").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="is a link"):
        augment.push(version, "owner/remarks")
    assert hub.asked == []


@pytest.mark.parametrize("token", ["hf_\x01secret", "hf_s\xe4cret"])
def test_a_token_that_cannot_be_sent_is_not_shown(
    hub: Hub, version: Version, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)

    with pytest.raises(HubRefused) as found:
        augment.push(version, "owner/remarks")
    assert "cret" not in str(found.value) + found.value.hint


def test_the_command_pushes(hub: Hub, version: Version) -> None:
    """In a process of its own, as a person types it."""
    done = subprocess.run(
        [sys.executable, "-m", "augment.cli", "push", str(version.path), "owner/remarks", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, **ONLINE, "HF_ENDPOINT": hub.url},
    )

    assert done.returncode == 0, done.stderr
    assert '"private": true' in done.stdout
    assert set(hub.repos[NAME].files) == names(version)
