"""Settings: flag before environment before file before default, and a file that is never harmed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fluxhive import config, places
from fluxhive.core.errors import InputError


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of a home where nothing is set."""
    for name in ("CONTROL_URL", "USERNAME", "PASSWORD", "TOKEN", "LABEL", "CA_FILE"):
        monkeypatch.delenv(f"FLOWHIVE_{name}", raising=False)
    file = tmp_path / "config.toml"
    monkeypatch.setenv("FLOWHIVE_CONFIG", str(file))
    monkeypatch.setenv("FLOWHIVE_STATE_DIR", str(tmp_path / "state"))
    return file


def test_without_anything_the_defaults_hold() -> None:
    settings = config.load()
    assert settings.control_base_url == "http://127.0.0.1:8001"
    assert settings.heartbeat_s == 2.0
    assert set(settings.origins.values()) == {"default"}


def test_a_flag_goes_before_a_variable_before_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def url() -> config.Value:
        return config.resolve()["control_base_url"]

    path.write_text('control_base_url = "http://file:1/"\n')
    assert url() == ("http://file:1", str(path))
    monkeypatch.setenv("FLOWHIVE_CONTROL_URL", "https://variable:2")
    assert url() == ("https://variable:2", "FLOWHIVE_CONTROL_URL")
    flagged = config.resolve({"control_base_url": "http://flag:3"})["control_base_url"]
    assert flagged == ("http://flag:3", "command line")


def test_a_variable_set_to_nothing_counts_as_not_set(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text('[user]\nusername = "ada"\n')
    monkeypatch.setenv("FLOWHIVE_USERNAME", "")
    assert config.load().username == "ada"


def test_the_server_on_this_machine_is_found_after_the_file(path: Path) -> None:
    places.write_up(places.Up("http://127.0.0.1:8007", 1))
    found = config.resolve()["control_base_url"]
    assert found == ("http://127.0.0.1:8007", "the server on this machine")
    path.write_text('control_base_url = "http://file:1"\n')
    assert config.load().control_base_url == "http://file:1"


def test_the_administrators_token_goes_to_the_server_on_this_machine_only() -> None:
    places.write_up(places.Up("http://127.0.0.1:8007", 1))
    places.write_private(places.admin_token_path(), b"fh_u_admin\n")
    assert config.load().token == "fh_u_admin"
    assert config.load({"control_base_url": "http://other:1"}).token is None


def test_a_kept_login_belongs_to_its_server() -> None:
    kept = places.write_login("http://hive:8001", "fh_u_ada")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert config.load({"control_base_url": "http://hive:8001/"}).token == "fh_u_ada"
    assert config.load({"control_base_url": "http://other:8001"}).token is None


def test_a_key_is_set_with_comments_and_order_kept_and_the_file_private(path: Path) -> None:
    path.write_text('# our hive\nlabel = "old"  # by the window\n\n[user]\nusername = "ada"\n')
    path.chmod(0o644)
    config.set_key("label", "new")
    config.set_key("user.email", "ada@example.org")
    config.set_key("agent.max_cpus", "8")
    config.set_key("agent.allow_root", "yes")
    assert path.read_text() == (
        '# our hive\nlabel = "new"  # by the window\n\n'
        '[user]\nusername = "ada"\nemail = "ada@example.org"\n\n'
        "[agent]\nmax_cpus = 8\nallow_root = true\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text('label = "a"\n')
    path.symlink_to(real)
    config.set_key("label", "b")
    assert path.is_symlink()
    assert real.read_text() == 'label = "b"\n'


def test_a_key_is_taken_out_even_one_that_is_unknown(path: Path) -> None:
    path.write_text('control_url = "x"\nlabel = "a"\n')
    assert config.unset_key("control_url")
    assert not config.unset_key("user.email")
    assert path.read_text() == 'label = "a"\n'


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b'control_url = "x"', "control_url", "did you mean `control_base_url`"),
        (b'username = "x"', "username", "did you mean `user.username`"),
        (b'[user]\nmail = "x"', "user.mail", "did you mean `user.email`"),
        (b'[extra]\nx = "y"', "extra", "--unset extra"),
        (b"label = ", "not valid TOML", "repair the line"),
        (b'label = "a"\nlabel = "b"', "not valid TOML", "repair the line"),
        (b"\xff\xfe", "not UTF-8", "UTF-8"),
        (b"#" * ((1 << 20) + 1), "larger than 1 MiB", "FLOWHIVE_CONFIG"),
        (b"label = 5", "must be text", None),
        (b'user = "ada"', "user", None),
        (b"[server]\ngpu_reading_s = 0.2", "1 to 5 seconds", "for example 1"),
        (b"[agent]\nheartbeat_s = 9", "1 to 5 seconds", "for example 2"),
        (b"[agent]\nmax_cpus = 1.5", "whole number", "for example 8"),
        (b"[agent]\nmax_cpus = true", "must be a number", None),
        (b"[agent]\nallow_root = 2", "must be `true` or `false`", None),
        (b"[agent]\nheartbeat_s = nan", "must be a number", None),
    ],
)
def test_a_file_that_is_wrong_is_named_and_left_alone(
    path: Path, content: bytes, said: str, hint: str | None
) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        config.load()
    assert said in caught.value.text
    assert hint is None or hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b'control_url = "x"', b"label = ", b"\xff", b'user = "ada"'])
def test_a_file_that_is_wrong_is_not_written_over(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError):
        config.set_key("user.email", "ada@example.org")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "url",
    ["hive:8001", "ftp://hive", "http://", "http://hive:99999", "http://u:p@hive", "http://h?x=1",
     "http://h:0", "http://[::1", "", "http://a\nb"],
)  # fmt: skip
def test_a_bad_address_is_refused_with_an_example(path: Path, url: str) -> None:
    with pytest.raises(InputError) as caught:
        config.set_key("control_base_url", url)
    assert caught.value.field == "control_base_url"
    assert "http://127.0.0.1:8001" in (caught.value.hint or "")
    assert not path.exists()


def test_a_secret_is_not_repeated_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWHIVE_PASSWORD", "sec\x01ret")
    with pytest.raises(InputError) as caught:
        config.load()
    assert "ret" not in caught.value.text
    assert caught.value.value is None


def test_an_unknown_key_offers_the_closest() -> None:
    with pytest.raises(InputError) as caught:
        config.key_named("user.pasword")
    assert caught.value.hint == "did you mean `user.password`"


def test_a_file_that_cannot_be_read_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(InputError, match="cannot read the configuration file"):
        config.load()


def test_a_tokens_file_that_is_broken_says_how_to_go_on(path: Path) -> None:
    (path.parent / "tokens.json").write_text("nonsense")
    with pytest.raises(InputError, match="not a list of tokens") as caught:
        config.load()
    assert "rm " in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("agent.tags", " a100, nvme,a100,", "a100,nvme"),
        ("agent.sharing", "OFF", "off"),
        ("agent.sharing", "8", "8"),
        ("server.policy", "easy", "easy"),
    ],
)
def test_what_a_node_and_a_server_are_told_is_kept_tidy(key: str, given: str, kept: str) -> None:
    assert config.set_key(key, given) == kept
    assert config.resolve()[key].value == kept


def test_a_number_in_the_file_limits_sharing(path: Path) -> None:
    path.write_text("[agent]\nsharing = 4\n")
    assert config.load().sharing == "4"


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("agent.tags", "two words", "must be tags of letters, digits"),
        ("agent.tags", ",".join(f"t{n}" for n in range(51)), "must be at most 50 tags"),
        ("agent.sharing", "1", "must be `off`, or 2 to 8"),
        ("agent.sharing", "9", "must be `off`, or 2 to 8"),
        ("agent.sharing", "many", "must be `off`, or 2 to 8"),
        ("server.policy", "oracle", "must be one of hive, fifo, easy, declared"),
    ],
)
def test_a_bad_one_is_refused_with_an_example(key: str, given: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        config.set_key(key, given)
    assert error.value.hint is not None
    assert "for example" in error.value.hint
