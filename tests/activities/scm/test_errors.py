"""What servers and clients of several makers say, as they say it."""

import pytest

from activities.scm.errors import ScmReason, classify

SSH_TAIL = """
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists."""


@pytest.mark.parametrize(
    ("reason", "output"),
    [
        (ScmReason.REVISION, "fatal: couldn't find remote ref refs/heads/x"),
        (ScmReason.REVISION, "fatal: remote error: upload-pack: not our ref 0123456789012345678901234567890123456789"),
        (ScmReason.REVISION, "error: Server does not allow request for unadvertised object 0123"),
        (
            ScmReason.AUTHENTICATION,
            "remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://h/x/'",
        ),
        (ScmReason.AUTHENTICATION, "fatal: could not read Username for 'https://h': terminal prompts disabled"),
        (ScmReason.AUTHENTICATION, "fatal: unable to access 'https://h/x/': The requested URL returned error: 403"),
        (ScmReason.AUTHENTICATION, "git@h: Permission denied (publickey)." + SSH_TAIL),
        (
            ScmReason.AUTHENTICATION,
            "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures" + SSH_TAIL,
        ),
        (ScmReason.REPOSITORY, "remote: Repository not found.\nfatal: repository 'https://h/x/' not found"),
        (ScmReason.REPOSITORY, "ERROR: Repository not found." + SSH_TAIL),
        (ScmReason.REPOSITORY, "remote: The project you were looking for could not be found." + SSH_TAIL),
        (ScmReason.REPOSITORY, "fatal: '/srv/x' does not appear to be a git repository" + SSH_TAIL),
        (ScmReason.REPOSITORY, "fatal: remote error: access denied or repository not exported: /x"),
        (ScmReason.HOST, "fatal: unable to access 'https://h/x/': Could not resolve host: h"),
        (ScmReason.HOST, "ssh: Could not resolve hostname h: Name or service not known" + SSH_TAIL),
        (ScmReason.HOST, "fatal: unable to look up h (port 9418) (Temporary failure in name resolution)"),
        (ScmReason.NETWORK, "ssh: connect to host h port 22: Connection refused" + SSH_TAIL),
        (ScmReason.NETWORK, "ssh: connect to host h port 22: Connection timed out" + SSH_TAIL),
        (ScmReason.NETWORK, "kex_exchange_identification: Connection closed by remote host" + SSH_TAIL),
        (ScmReason.NETWORK, "fatal: unable to access 'https://h/': Failed to connect to h port 443 after 2 ms"),
        (ScmReason.NETWORK, "fatal: unable to access 'https://h/': The requested URL returned error: 503"),
        (ScmReason.NETWORK, "error: RPC failed; curl 56 GnuTLS recv error (-9)\nfatal: early EOF"),
        (ScmReason.NETWORK, "fatal: the remote end hung up unexpectedly"),
        (ScmReason.OTHER, SSH_TAIL),
        (
            ScmReason.CERTIFICATE,
            "fatal: unable to access 'https://h/': server certificate verification failed. CAfile: none",
        ),
        (
            ScmReason.CERTIFICATE,
            "fatal: unable to access 'https://h/': SSL certificate problem: certificate has expired",
        ),
        (ScmReason.HOST_KEY, "Host key verification failed." + SSH_TAIL),
        (ScmReason.TOOL, "error: cannot run ssh: No such file or directory\nfatal: unable to fork"),
        (ScmReason.TOOL, "git: 'remote-https' is not a git command. See 'git --help'."),
        (
            ScmReason.STORAGE,
            "fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output",
        ),
        (ScmReason.DAMAGED, "error: object file x/objects/ab/cd is empty\nfatal: loose object abcd is corrupt"),
        (ScmReason.DAMAGED, "fatal: not a git repository: 'repo.git'"),
        (ScmReason.INVALID, "fatal: transport 'file' not allowed"),
        (ScmReason.OTHER, "fatal: the moon is full"),
        (ScmReason.OTHER, ""),
    ],
)
def test_each_is_told_by_its_cause(reason: ScmReason, output: str) -> None:
    assert classify(output, "https://h/x", has_credential=True).reason is reason


def test_a_message_names_the_cause_and_what_to_do() -> None:
    output = "ssh: connect to host h port 22: Connection refused" + SSH_TAIL

    assert classify(output, "h:x", has_credential=True).message == (
        "h:x cannot be reached: ssh: connect to host h port 22: Connection refused. Check the address and port, and "
        "that this host may connect to it."
    )


def test_what_is_not_known_is_repeated() -> None:
    assert classify("fatal: the moon is full.", "https://h/x", True).message == (
        "git failed on https://h/x: the moon is full."
    )


def test_only_what_may_pass_by_itself_is_transient() -> None:
    transient = classify("Connection refused", "u", True)
    permanent = classify("Authentication failed", "u", True)

    assert transient.transient
    assert not permanent.transient
