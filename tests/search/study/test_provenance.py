import subprocess

import pytest

from search.study import provenance


def git(root, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    (root / "search").mkdir(parents=True)
    (root / "search" / "run.py").write_text("print(1)\n")
    git(root.parent, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    return root


def test_code_as_it_was_committed_has_the_name_of_its_commit(checkout):
    assert len(provenance.of_checkout(checkout)) == 12


def test_changed_code_is_dirty_with_a_hash_of_what_was_changed(checkout):
    clean = provenance.of_checkout(checkout)

    (checkout / "search" / "run.py").write_text("print(2)\n")
    changed = provenance.of_checkout(checkout)
    (checkout / "search" / "run.py").write_text("print(3)\n")
    otherwise = provenance.of_checkout(checkout)
    (checkout / "search" / "run.py").write_text("print(2)\n")

    assert changed.startswith(f"{clean}-dirty-")
    assert otherwise.startswith(f"{clean}-dirty-")
    assert changed != otherwise
    assert provenance.of_checkout(checkout) == changed


def test_a_new_file_of_code_is_a_change_and_one_beside_it_is_none(checkout):
    clean = provenance.of_checkout(checkout)

    (checkout / "notes.txt").write_text("beside")
    assert provenance.of_checkout(checkout) == clean
    (checkout / "search" / "new.py").write_text("print(1)\n")
    assert provenance.of_checkout(checkout).startswith(f"{clean}-dirty-")


def test_code_within_another_repository_has_not_its_commit(checkout):
    installed = checkout / "site-packages"
    installed.mkdir()

    assert provenance.of_checkout(installed) == "unknown"


def test_code_in_no_repository_has_no_commit(tmp_path):
    assert provenance.of_checkout(tmp_path) == "unknown"


def test_a_worker_has_the_commit_that_its_driver_sent(monkeypatch):
    monkeypatch.setenv(provenance.COMMIT, "1a2b3c4d5e6f")
    provenance.commit.cache_clear()

    assert provenance.commit() == "1a2b3c4d5e6f"
    monkeypatch.undo()
    provenance.commit.cache_clear()


def test_a_git_hook_of_another_repository_does_not_lend_its_commit(checkout, tmp_path, monkeypatch):
    own = provenance.of_checkout(checkout)
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "another")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))

    assert provenance.of_checkout(checkout) == own
