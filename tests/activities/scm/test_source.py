import pytest

from activities.scm.errors import ScmError, ScmReason
from activities.scm.source import ScmCredential, ScmSource, join_url, parse_remote

TOKEN = ScmCredential(username="alice", password="s3cret")


@pytest.mark.parametrize(
    ("text", "url", "kind"),
    [
        ("https://github.com/team/app.git", "https://github.com/team/app.git", "http"),
        ("  https://u:p@Host:8443/app?x=1#f ", "https://host:8443/app?x=1", "http"),
        ("ssh://git@host:2222/app.git", "ssh://git@host:2222/app.git", "ssh"),
        ("ssh://git:pw@host/app.git", "ssh://git@host/app.git", "ssh"),
        ("git+ssh://host/app", "git+ssh://host/app", "ssh"),
        ("git@host:team/app.git", "git@host:team/app.git", "ssh"),
        ("host:app", "host:app", "ssh"),
        ("git@[::1]:app", "git@[::1]:app", "ssh"),
        ("git://host:9418/app", "git://host:9418/app", "git"),
        ("file:///srv/app", "/srv/app", "local"),
        ("file:///srv%2Fforge/app", "/srv/forge/app", "local"),
        ("/srv/app", "/srv/app", "local"),
    ],
)
def test_urls_are_understood_as_users_write_them(text: str, url: str, kind: str) -> None:
    remote = parse_remote(text, ScmCredential())

    assert (remote.url, remote.kind) == (url, kind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=touch /tmp/x",
        "--upload-pack=x",
        "https://",
        "https://host:port/x",
        "https://[::1/x",
        "ssh://-oProxyCommand=x/y",
        "-oProxyCommand=x:y",
        "ext::sh -c true",
        "ext::touch",
        "ftp://host/x",
        "svn://host/x",
        "file://",
        "app.git",
        "../app",
        "https://host/a b",
        "https://host/a\nb",
    ],
)
def test_urls_that_git_could_misread_are_refused(text: str) -> None:
    with pytest.raises(ScmError) as caught:
        parse_remote(text, ScmCredential())

    assert caught.value.reason is ScmReason.INVALID
    assert not caught.value.transient


def test_the_user_in_a_url_goes_before_the_credential() -> None:
    remote = parse_remote("https://bob:p%40ss@host/x", TOKEN)

    assert (remote.username, remote.password, remote.origin) == ("bob", "p@ss", "https://host")


def test_a_credential_signs_in_where_the_url_names_nobody() -> None:
    assert parse_remote("https://host/x", TOKEN).password == "s3cret"
    assert parse_remote("ssh://host/x", TOKEN).username == "alice"
    assert parse_remote("git@host:x", TOKEN).username == "git"
    assert parse_remote("git://host/x", TOKEN).username == ""


def test_secrets_are_not_in_a_repr() -> None:
    credential = ScmCredential("alice", "s3cret", "KEY", "phrase")

    shown = repr(credential) + repr(parse_remote("https://alice:s3cret@host/x", credential))
    assert not any(secret in shown for secret in ("alice", "s3cret", "KEY", "phrase"))


@pytest.mark.parametrize(
    "branch", ["-f", "a b", "a..b", "a:b", "a^", "a~1", "@{1}", "x/", "/x", "*", "a\x00", "x.lock"]
)
def test_branches_that_are_more_than_a_name_are_refused(branch: str) -> None:
    with pytest.raises(ScmError, match="is not the name of a branch"):
        ScmSource("git", "https://host/x", branch=branch).check()


def test_a_refspec_is_no_option() -> None:
    ScmSource("git", "https://host/x", refspec="+refs/pull/*:refs/remotes/origin/pull/*").check()

    with pytest.raises(ScmError, match="is not a refspec"):
        ScmSource("git", "https://host/x", refspec="refs/x --upload-pack=evil").check()


@pytest.mark.parametrize(
    ("base", "relative", "expected"),
    [
        ("https://host/team/app.git", "../roles.git", "https://host/team/roles.git"),
        ("https://host/team/app.git", "../../other/roles.git", "https://host/other/roles.git"),
        ("https://host/app.git", "../../../x", "https://host/x"),
        ("https://host/team/app", "./sub", "https://host/team/app/sub"),
        ("git@host:team/app.git", "../roles.git", "git@host:team/roles.git"),
        ("git@host:app.git", "../roles.git", "git@host:roles.git"),
        ("git@host:/srv/app.git", "../roles.git", "git@host:/srv/roles.git"),
        ("/srv/git/app", "../roles", "/srv/git/roles"),
        ("file:///srv/app", "../roles", "file:///srv/roles"),
        ("https://host/app", "https://other/x", "https://other/x"),
        ("https://host/app", "/srv/x", "/srv/x"),
    ],
)
def test_relative_submodule_urls(base: str, relative: str, expected: str) -> None:
    assert join_url(base, relative) == expected
