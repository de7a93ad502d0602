"""The files that an operator names: what is read of them, and what is refused by name."""

import codecs
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wawp_exporter.config.checks import cross_check
from wawp_exporter.config.files import secrets_in
from wawp_exporter.config.load import check, load
from wawp_exporter.config.schema import Config
from wawp_exporter.errors import ConfigError

SECRET = "tr0ub4dor-and-3"
NOBODY = 65534
# Each place where a file with secrets can be named, and what else must stand beside it.
NAMED = {
    "web.metrics_token_file": {},
    "web.api_token_file": {},
    "sources.default.hmac_keys_file": {},
    "sources.default.token_file": {},
    "sources.default.api.key_file": {"url": "http://waha:3000"},
    "remedy.token_file": {},
}


def naming(key: str, value: str = "secret") -> dict[str, object]:
    """A configuration in which `key` names a file."""
    *sections, last = key.split(".")
    inner: dict[str, object] = {last: value, **NAMED.get(key, {})}
    for section in reversed(sections):
        inner = {section: inner}
    return inner


def refusal(folder: Path, key: str, value: str = "secret") -> str:
    """The one mistake of a configuration in which `key` names a file."""
    with pytest.raises(ConfigError) as refused:
        check(naming(key, value), folder)
    (mistake,) = refused.value.mistakes
    assert SECRET not in mistake
    return mistake


# -- what is taken


@pytest.mark.parametrize(
    "content",
    [
        b"old\nnew",
        b"old\r\n\r\n  new \t\r\n",
        b"old\rnew\r",
        b"# the old one\nold\n#\n\n  # and the new one\nnew\n",
        codecs.BOM_UTF8 + b"old\r\nnew\r\n",
        codecs.BOM_UTF8 + b"# made with Notepad\r\nold\r\nnew\r\n",
        codecs.BOM_UTF8 + b"old\n" + codecs.BOM_UTF8 + b"new\n",
        "\u00a0old\u00a0\n\u200bnew\u200b\n".encode(),
        "old\r\nnew\r\n".encode("utf-16"),
        codecs.BOM_UTF16_LE + "old\r\nnew\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "old\nnew".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "old\nnew".encode("utf-32-le"),
        codecs.BOM_UTF32_BE + "old\nnew".encode("utf-32-be"),
    ],
)
def test_the_keys_are_those_that_an_editor_shows(content: bytes) -> None:
    """Whatever Notepad, PowerShell or `cat` made around them: else every webhook is refused, and nobody knows why."""
    assert secrets_in(content) == (b"old", b"new")


def test_a_key_may_hold_any_visible_sign() -> None:
    """Also a # and blanks, and letters of any script."""
    assert secrets_in("a#b c=d/+'\"\\é漢😀\n".encode()) == ("a#b c=d/+'\"\\é漢😀".encode(),)


# -- what is refused


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty, expected at least one line"),
        (b" \r\n\t\n", "is empty, expected at least one line"),
        (codecs.BOM_UTF8, "holds no secret, expected at least one line"),
        (codecs.BOM_UTF16_LE, "holds no secret, expected at least one line"),
        (codecs.BOM_UTF8 + b"\r\n", "holds no secret, expected at least one line"),
        ("\u200b\n\u00a0\n".encode(), "holds no secret, expected at least one line"),
        (b"# a comment\n#\n", "holds no secret, expected at least one line"),
        (b"#" + SECRET.encode(), "line 1 begins with #, expected"),
        (b"a\n##\n", "line 2 begins with #, expected"),
        (SECRET.encode() + b" # the old one", "line 1 holds a space and #, expected a comment on a line of its own"),
        (SECRET.encode() + b"\t#", "line 1 holds a space and #, expected a comment on a line of its own"),
        (SECRET.encode("utf-16-le"), "line 1 holds the invisible character U+0000, expected text in UTF-8"),
        (b"\n" + SECRET.encode("utf-16-be"), "line 2 holds the invisible character U+0000, expected text in UTF-8"),
        (b"a\0", "line 1 holds the invisible character U+0000, expected text in UTF-8"),
        (b"a\x0bb", "line 1 holds the invisible character U+000B, expected text in UTF-8"),
        (b"a\tb", "line 1 holds the invisible character U+0009, expected text in UTF-8"),
        (b"a\x1b[0mb", "line 1 holds the invisible character U+001B, expected text in UTF-8"),
        ("a\u200bb".encode(), "line 1 holds the invisible character U+200B, expected text in UTF-8"),
        ("a\ufeffb".encode(), "line 1 holds the invisible character U+FEFF, expected text in UTF-8"),
        ("a\u202eb".encode(), "line 1 holds the invisible character U+202E, expected text in UTF-8"),
        ("a\u2028b".encode(), "line 1 holds the invisible character U+2028, expected text in UTF-8"),
        ("a\u0085b".encode(), "line 1 holds the invisible character U+0085, expected text in UTF-8"),
        (b"caf\xe9", "is not text in UTF-8, expected one secret a line"),
        (codecs.BOM_UTF16_LE + b"abc", "is not text in UTF-8, expected one secret a line"),
        (b"\x80\x02K\x00", "is not text in UTF-8, expected one secret a line"),
    ],
)
@pytest.mark.parametrize("key", NAMED)
def test_what_would_be_another_secret_is_refused_by_name(
    tmp_path: Path, key: str, content: bytes, problem: str
) -> None:
    """`check-config` is never content with a key under which every webhook would be refused."""
    (tmp_path / "secret").write_bytes(content)

    assert refusal(tmp_path, key).startswith(f"{key}: {tmp_path}/secret {problem}")


@pytest.mark.parametrize("key", [*NAMED, "web.tls.cert_file", "web.tls.key_file"])
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, key: str) -> None:
    """A pipe without a writer is not waited for, and what has no end is not read to it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"a" * 1_048_577)
    (tmp_path / "loop").symlink_to("loop")

    for name, problem in {
        "pipe": "Not a regular file",
        "long": "Longer than 1048576 bytes",
        "loop": "Too many levels of symbolic links",
        ".": "Is a directory",
        "nowhere": "No such file or directory",
        "/dev/zero": "Not a regular file",
    }.items():
        assert f": cannot read {tmp_path / name}: {problem}, expected a readable file" in refusal(tmp_path, key, name)
    assert "Not a path, expected a readable file" in refusal(tmp_path, key, "a\0b")


def test_an_unreadable_file_is_refused_by_name(tmp_path: Path) -> None:
    """Most often it belongs to somebody else."""
    (tmp_path / "secret").touch(mode=0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)  # root reads everything
    try:
        mistake = refusal(tmp_path, "web.api_token_file")
    finally:
        os.seteuid(before)

    assert mistake.endswith("Permission denied, expected a readable file")


def test_an_api_has_one_key(tmp_path: Path) -> None:
    """Which of several would be sent?"""
    (tmp_path / "secret").write_text("one\ntwo\n")

    assert refusal(tmp_path, "sources.default.api.key_file").endswith("secret holds 2 lines, expected one key")


@pytest.mark.parametrize("line", ["t0p", ":t0p", "s:", "a b:t0p", "s:töp", "s:t0p x", "s:t0p ftp://x"])
def test_wppconnect_has_a_token_for_each_session(tmp_path: Path, line: str) -> None:
    """A line that is not one would be a session that nobody asks for; what it holds is not shown."""
    (tmp_path / "secret").write_text(
        f"sales-uk:$2b$10$abc  https://exporter.example/webhook/wpp?session=sales-uk\n{line}\n"
    )

    with pytest.raises(ConfigError) as refused:
        check(
            {"sources": {"default": {"api": {"kind": "wppconnect", "url": "http://wpp", "key_file": "secret"}}}},
            tmp_path,
        )

    (mistake,) = refused.value.mistakes
    assert "secret 2 is no session:token, expected one a line" in mistake
    assert "t0p" not in mistake


@pytest.mark.parametrize("key", ["a b", "clé", "\u2019"])
def test_a_key_that_no_header_can_hold_is_refused(tmp_path: Path, key: str) -> None:
    """Else each call of the gateway fails, and the log names an error of a library."""
    (tmp_path / "secret").write_text(key)

    assert "cannot be sent in a header, expected ASCII" in refusal(tmp_path, "sources.default.api.key_file")


# -- read once


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is emptied between a check and a second reading would leave open what it is to lock."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)

    def emptied(config: Config, bad: set[object]) -> Iterator[str]:
        secret.write_text("")
        yield from cross_check(config, bad)

    monkeypatch.setattr("wawp_exporter.config.load.cross_check", emptied)
    sections = {"web": {"api_token_file": "secret"}, "sources": {"default": {"hmac_keys_file": "secret"}}}
    secrets = check(sections, tmp_path).secrets

    assert secret.read_text() == ""
    assert (secrets.api_tokens, secrets.hmac_keys) == ((SECRET.encode(),), {"default": (SECRET.encode(),)})


# -- the configuration itself


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_configuration_may_come_from_any_editor(tmp_path: Path, encoding: str) -> None:
    """PowerShell writes UTF-16 with a mark, Notepad UTF-8 with one; CRLF in both."""
    path = tmp_path / "wawp.yml"
    path.write_bytes("sessions:\r\n- {owner: Zoë}\r\n".encode(encoding))

    assert load(path, {}).config.sessions[0].owner == "Zoë"


def test_a_configuration_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """It must be there for a reload too."""
    os.mkfifo(tmp_path / "pipe")

    for name, problem in {
        "pipe": "Not a regular file",
        ".": "Is a directory",
        "/dev/zero": "Not a regular file",
    }.items():
        with pytest.raises(ConfigError) as refused:
            load(tmp_path / name, {})
        assert refused.value.mistakes == (f"{tmp_path / name}: cannot be read: {problem}, expected a YAML file",)
