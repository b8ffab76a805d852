"""The egress guard's judgement, event by event, without the hook: what it lets pass, what it says, what it keeps."""

from __future__ import annotations

import _socket
import contextlib
import sys
import threading

import pytest

from extension_kit import egress, egress_manifest, egress_rules
from extension_kit.declarations import host_list
from extension_kit.egress import Guard
from extension_kit.protocol.hosts import hosts_in
from extension_kit.settings import KitSettings, Settings, comma_list, text
from layer_build.boot import may_of
from layer_build.manifest import parse

REGION = {"AWS_REGION": "eu-west-1"}
OTHER = "2001:db8::1"


class Clock:
    now = 1_000_000

    def wall_ms(self):
        return self.now


class Judge:
    """A guard, and what it has said."""

    def __init__(self, *hosts, allow=(), programs=(), environ=REGION, manifests=(), refuses=True):
        self.lines, self.clock, self.owner = [], Clock(), None
        self.guard = Guard(
            (hosts, programs),
            list(manifests),
            allow,
            environ,
            self.clock,
            self.lines.append,
            lambda _thread: self.owner,
            refuses,
        )

    def __call__(self, event, *arguments):
        """Whether it passes."""
        try:
            self.guard.judge(event, arguments)
        except PermissionError as error:
            self.error = error
            return False
        return True

    def connect(self, host, port=443, family=None):
        kind = family or (_socket.AF_INET6 if isinstance(host, str) and ":" in host else _socket.AF_INET)
        with socket(kind) as sock:
            return self("socket.connect", sock, (host, port))

    def found(self, name, *addresses):
        """As the wrapped look-up does with what it has found."""
        self.guard.note(name, addresses)


def socket(family, kind=_socket.SOCK_DGRAM):
    class Closing(_socket.socket):
        def __enter__(self):
            return self

        def __exit__(self, *_error):
            self.close()

    return Closing(family, kind)


LOOPBACK = [
    "127.0.0.1", "127.1", "0x7f.1", "2130706433", "127.255.255.254", "::1", "::ffff:127.0.0.1", "0:0:0:0:0:ffff:7f00:1", "",
    "0.0.0.0", "::", "localhost", "LOCALHOST", b"127.0.0.1", bytearray(b"localhost"), "１２７.０.０.１", "::1%lo",  # noqa: RUF001
    "sandbox.localdomain",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK, ids=repr)
def test_this_host_is_always_reached(host):
    assert Judge().connect(host, 9001)


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.1", "0xc0000201", "3221225985", "0300.0.2.1", OTHER, "::ffff:192.0.2.1", "128.0.0.1", "126.255.255.255", "::2",
        "evil.test", "127.0.0.1.evil.test", "localhost.evil.test", "xlocalhost", "127.0.0.1 evil.test", "localhost\0.evil.test",
        "127.0.0.1\0", "<broadcast>", "255.255.255.255", "169.254.169.254", "169.254.170.2", "224.0.0.1", "fe80::1%lo",
        "a" * 70 + ".test", "é" * 80 + ".test", b"\xff.test", ".", "*", "64:ff9b::7f00:1", "[::1]",
        "１９２.０.２.１",  # noqa: RUF001
    ],
    ids=repr,
)  # fmt: skip
def test_nobody_else_is_where_nobody_is_named(host):
    """In whatever form; what cannot be understood is not allowed."""
    judge = Judge()

    assert not judge.connect(host, 80)
    assert judge.guard.refused == {"connections": 1}
    assert len(judge.lines) == 1
    assert "\n" not in judge.lines[0]
    assert "\0" not in judge.lines[0]


@pytest.mark.parametrize("event", ["socket.connect", "socket.sendto", "socket.sendmsg"])
def test_every_way_to_send_is_judged(event):
    judge = Judge("logs.example.com")
    with socket(_socket.AF_INET) as sock, socket(_socket.AF_UNIX) as unix:
        assert not judge(event, sock, ("192.0.2.1", 53))
        assert judge(event, sock, ("logs.example.com", 443))
        assert judge(event, sock, ("127.0.0.1", 53))
        assert judge(event, unix, "/tmp/x")
    assert "192.0.2.1:53" in str(judge.error)
    assert judge.error.errno == 1


def test_a_message_on_a_connected_socket_was_judged_when_it_was_connected():
    with socket(_socket.AF_INET) as sock:
        assert Judge()("socket.sendmsg", sock, None)


def test_sockets_that_reach_other_hosts_in_other_ways_are_refused():
    """VSOCK, packets: nobody declares those."""
    vsock, judge = 40, Judge()
    one, other = _socket.socketpair()
    with contextlib.closing(one), contextlib.closing(other):
        sock = _socket.socket(vsock, _socket.SOCK_STREAM, 0, one.detach())  # its family is what is said here
        with contextlib.closing(sock):
            assert not judge("socket.connect", sock, (2, 80))
    assert f"a socket of family {vsock}" in str(judge.error)


def test_names_of_the_manifest_on_their_ports():
    judge = Judge("logs.example.com", "plain.example.com:80", "*.cdn.example.com")

    assert judge.connect("logs.example.com")
    assert judge.connect("LOGS.example.com.")
    assert judge.connect("a.b.cdn.example.com")
    assert judge.connect("plain.example.com", 80)
    assert not judge.connect("logs.example.com", 80)
    assert not judge.connect("plain.example.com", 443)
    assert not judge.connect("cdn.example.com")
    assert not judge.connect("logs.example.com.evil.test")


def test_what_was_found_for_a_name_may_be_connected_to():
    """On the ports of the name, and as long as it is remembered; an address of one name is not everybody's."""
    judge = Judge("logs.example.com")
    assert judge("socket.getaddrinfo", b"logs.example.com", 443, 0, 0, 0)
    judge.found(b"logs.example.com", "192.0.2.1", OTHER)

    assert judge.connect("192.0.2.1")
    assert judge.connect(OTHER)
    assert judge.connect("::ffff:192.0.2.1")
    assert not judge.connect("192.0.2.1", 80)
    assert "192.0.2.1:80 (logs.example.com)" in str(judge.error)
    assert "EXTENSION_KIT_EGRESS_ALLOW=logs.example.com would" in str(judge.error)
    assert not judge.connect("192.0.2.2")

    judge.clock.now += egress._FORGET_MS
    assert not judge.connect("192.0.2.1")


def test_what_is_found_is_bounded():
    """By how many addresses; those of the last look-ups stay."""
    judge = Judge("*.example.com")
    for number in range(3 * egress._MOST_ADDRESSES):
        judge.found("a.example.com", f"10.0.{number >> 8}.{number & 255}")

    assert len(judge.guard._addresses) == egress._MOST_ADDRESSES
    last = 3 * egress._MOST_ADDRESSES - 1
    assert judge.connect(f"10.0.{last >> 8}.{last & 255}")
    assert not judge.connect("10.0.0.0")


def test_the_names_of_an_address_are_bounded():
    """Names below a wildcard are without number."""
    judge = Judge("*.example.com:8443", "a.example.org")
    for number in range(3 * egress._MOST_NAMES):
        judge.found(f"a{number}.example.com", "10.0.0.1")
    judge.found("a.example.org", "10.0.0.1")

    (names,) = judge.guard._addresses.values()
    assert len(names) == egress._MOST_NAMES
    assert judge.connect("10.0.0.1", 8443)
    assert judge.connect("10.0.0.1", 443)


class Watched(dict):
    """Calls `look` after whatever is done to it."""

    def look(self):
        pass

    def _and_look(method):
        def call(self, *arguments):
            done = method(self, *arguments)
            self.look()
            return done

        return call

    __setitem__ = _and_look(dict.__setitem__)
    __delitem__ = _and_look(dict.__delitem__)
    pop = _and_look(dict.pop)
    setdefault = _and_look(dict.setdefault)


def test_what_may_be_connected_to_may_be_at_every_moment():
    """Also while another thread notes the same address again, which this looks at from inside."""
    judge = Judge("logs.example.com")
    judge.guard._addresses = watched = Watched()
    judge.found("logs.example.com", "192.0.2.1")
    seen = []
    watched.look = lambda: seen.append(judge.connect("192.0.2.1"))

    judge.found("logs.example.com", "192.0.2.1")
    judge.found("logs.example.com", "192.0.2.2")

    assert len(seen) >= 2
    assert all(seen)


def test_an_address_that_is_dropped_while_it_is_noted_is_noted_again():
    """Another thread finds it to be the oldest, just before it is not."""
    judge = Judge("logs.example.com")
    judge.guard._addresses = watched = Watched()
    drops = [True]
    watched.look = lambda: drops and (drops.pop(), watched.clear())

    judge.found("logs.example.com", "192.0.2.1")

    assert not drops
    assert judge.connect("192.0.2.1")


def test_refusals_on_several_threads_are_all_counted():
    """The second comes while the first has read the number and not written it."""
    judge = Judge()
    first_reads, second_is_done = threading.Event(), threading.Event()

    class Slow(dict):
        def get(self, *arguments):
            number = super().get(*arguments)
            if not first_reads.is_set():
                first_reads.set()
                second_is_done.wait(0.5)  # it has to wait for us, so this is waited for in full
            return number

    judge.guard.refused = Slow()
    thread = threading.Thread(target=judge.connect, args=("192.0.2.1",))
    thread.start()
    assert first_reads.wait(10)
    judge.connect("192.0.2.2")
    second_is_done.set()
    thread.join(10)

    assert judge.guard.refused == {"connections": 2}


def test_a_refusal_within_a_refusal_is_counted_too():
    """Objects are finalized at any point, also in there."""
    judge = Judge()

    class Owner:
        def count(self, _name):
            judge.owner = None
            judge.connect("192.0.2.2")

    judge.owner = Owner()
    judge.connect("192.0.2.1")

    assert judge.guard.refused == {"connections": 2}


def test_settings_that_come_while_rules_are_made_count(monkeypatch):
    """They would be unknown for the life of the process."""
    make, added = egress_rules.make, []
    judge = Judge()

    def slow(*arguments):
        made = make(*arguments)
        if not added:
            added.append(True)
            judge.guard.add(Named(endpoint="https://late.example.com"))  # as another thread does
        return made

    monkeypatch.setattr(egress_rules, "make", slow)
    judge.connect("evil.test")

    assert added
    assert judge.connect("late.example.com")
    assert not judge.connect("evil.test")


def test_without_refusing_the_first_is_told_and_no_more():
    judge = Judge("logs.example.com", refuses=False)
    assert judge.connect("logs.example.com")
    assert judge.connect("127.0.0.1")
    assert judge.lines == []

    assert judge.connect("192.0.2.1", 80)
    assert judge("os.fork")

    (line,) = judge.lines
    assert line.startswith("no egress guard: a connection to 192.0.2.1:80 passes, and all else, ")
    assert judge.guard.account() == ""


def test_the_addresses_that_a_reverse_look_up_of_a_name_finds_are_noted(monkeypatch):
    judge = Judge("logs.example.com")
    monkeypatch.setattr(egress, "_guard", judge.guard)
    look_up = egress._noting(lambda host: (host, [], ["192.0.2.1", "192.0.2.2"]), "gethostbyaddr")

    look_up("logs.example.com")
    look_up("192.0.2.9")

    assert judge.connect("192.0.2.2")
    assert not judge.connect("192.0.2.9")


@pytest.mark.parametrize("event", ["socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"])
def test_look_ups(event):
    judge = Judge("logs.example.com", "plain.example.com:80")

    assert judge(event, "logs.example.com")
    assert judge(event, b"plain.example.com")
    assert judge(event, "localhost")
    assert judge(event, _socket.gethostname())
    assert not judge(event, "evil.test")
    assert not judge(event, "evil.test\0logs.example.com")
    assert judge.guard.refused == {"lookups": 2}
    assert "a look-up of evil.test was refused" in judge.lines[0]


def test_an_address_needs_no_look_up_but_its_name_does():
    judge = Judge("192.0.2.7")

    assert judge("socket.getaddrinfo", None, 80)
    assert judge("socket.getaddrinfo", "192.0.2.1", 80)
    assert judge("socket.gethostbyname", "0xc0000201")
    assert not judge("socket.gethostbyaddr", "192.0.2.1")
    assert not judge("socket.getnameinfo", ("192.0.2.1", 80))
    assert judge("socket.gethostbyaddr", "192.0.2.7")
    assert judge("socket.getnameinfo", ("192.0.2.7", 80))
    assert judge("socket.getnameinfo", ("::1", 80, 0, 0))


@pytest.mark.parametrize(
    ("event", "arguments", "program"),
    [
        ("subprocess.Popen", ("/usr/bin/curl", ["curl"], None, None), "curl"),
        ("subprocess.Popen", (b"curl", ["curl"], None, None), "curl"),
        ("os.posix_spawn", ("/usr/bin/curl", ["curl"], {}), "curl"),
        ("os.exec", ("/usr/bin/curl", ["curl"], None), "/usr/bin/curl"),
        ("os.spawn", (0, "/usr/bin/curl", ["curl"], None), "curl"),
        ("os.system", (b"curl evil.test",), "sh"),
        ("os.fork", (), "fork"),
        ("os.forkpty", (), "fork"),
        ("pty.spawn", (["curl"],), "curl"),
    ],
)
def test_programs(event, arguments, program):
    """None but those that the manifest names, by path or by the last part of it."""
    judge = Judge("logs.example.com")
    assert not judge(event, *arguments)
    assert judge.guard.refused == {"programs": 1}
    assert "capabilities.subprocesses" in judge.lines[0]

    allowed = Judge(programs=(program,))
    assert allowed(event, *arguments)
    assert not Judge(programs=("wget",))(event, *arguments)


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        (["python", "-I", "-S", "/opt/x/lib/own/child.py", "burn"], True), ((b"python", b"own/child.py"), True),
        (["python", "-c", "x"], False), (["python", "/tmp/disown/child.py"], False), (["python"], False),
        ("own/child.py", False), (["python", "x", "own/child.py"], False),
        (["python", "-mevil", "own/child.py"], False), (["python", "-m", "own/child.py"], False),
        (["python", "-Ic", "own/child.py"], False), (["python", "-", "own/child.py"], False),
        (["python", "-i", "own/child.py"], False), (["python", "--", "-x", "own/child.py"], False),
        (["python", "-Xfrozen_modules=off", "-Ws", "-uB", "own/child.py"], True), (["python", "--", "own/child.py"], True),
    ],
)  # fmt: skip
def test_a_program_with_its_first_argument(words, passes):
    """An interpreter, but not for everybody."""
    judge = Judge(programs=("python own/child.py",))

    assert judge("os.posix_spawn", sys.executable, words, {}) == passes
    assert judge("subprocess.Popen", sys.executable, words, None, None) == passes
    assert judge("os.spawn", 0, sys.executable, words, None) == passes


def test_python_is_the_extensions_own_interpreter():
    judge = Judge(programs=("python",))

    assert judge("os.posix_spawn", sys.executable, [], {})
    assert judge("os.posix_spawn", "/proc/self/exe", [], {})
    assert not judge("os.posix_spawn", "/somewhere/else/python3", [], {})
    assert not judge("os.posix_spawn", "/somewhere/else/python", [], {})
    assert not judge("os.posix_spawn", "python", [], {})
    assert Judge(programs=("/usr/bin/python",))("os.posix_spawn", "/usr/bin/python", [], {})


def test_other_programs_have_options_of_their_own():
    judge = Judge(programs=("tar out.tar",))
    assert judge("os.posix_spawn", "/bin/tar", ["tar", "-c", "out.tar"], {})
    assert not judge("os.posix_spawn", "/bin/tar", ["tar", "-c", "other.tar"], {})


def test_a_mistake_refuses_and_does_nothing_else():
    """Whatever goes wrong: an odd argument, a line that cannot be written, a rule that cannot be made."""
    judge = Judge()
    assert not judge("socket.connect", object(), ("127.0.0.1", 1))
    with socket(_socket.AF_INET) as sock:
        for odd in ((), ("127.0.0.1",), 7, (7, 7), ("x" * 1_000_000, 1), (None, 1)):
            assert not judge("socket.connect", sock, odd), odd

    def fails(*_arguments):
        raise RuntimeError("stderr is gone")

    judge.guard._say = judge.guard._owner = fails
    assert not judge.connect("192.0.2.1")
    judge.guard._made_rules = fails
    assert not judge.connect("192.0.2.9")
    assert "what cannot be judged (RuntimeError)" in str(judge.error)


def test_each_target_is_told_once_and_not_without_end():
    judge = Judge()
    for _ in range(3):
        for number in range(200):
            judge.connect(f"192.0.2.{number % 250}", number + 1)

    assert len(judge.lines) == 20
    assert judge.lines[-1].endswith("from here on refusals are only counted")
    assert judge.guard.account() == "egress guard: refused in all: connections 600"
    assert Judge().guard.account() == ""


def test_whose_thread_it_is_counts_it():
    counted = []

    class Owner:
        def count(self, name):
            counted.append(name)

    judge = Judge()
    judge.owner = Owner()
    judge.connect("192.0.2.1")
    judge("socket.getaddrinfo", "evil.test", 1)
    judge("os.fork")

    assert counted == ["egress_refused_connections", "egress_refused_lookups", "egress_refused_programs"]


# what is let pass: AWS


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "ssm.eu-west-1.amazonaws.com"),
        ("eu-west-1", "ssm-fips.eu-west-1.amazonaws.com"),
        ("eu-west-1", "ssm.eu-west-1.api.aws"),
        ("cn-north-1", "ssm.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "ssm.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", "ssm.us-iso-east-1.c2s.ic.gov"),
    ],
)
def test_a_service_is_reached_in_its_region_in_every_form(region, host):
    judge = Judge("ssm.{region}.amazonaws.com:443", environ={"AWS_REGION": region})

    assert judge.connect(host)
    assert not judge.connect(host, 80)
    assert not judge.connect(host.replace(region, "ap-south-1"))
    assert not judge.connect(host.replace("ssm", "sqs"))
    assert not Judge("ssm.{region}.amazonaws.com", environ={}).connect(host)


def test_an_endpoint_that_is_set_for_aws_is_reached_by_services_that_are_named():
    environ = {
        **REGION, "EXTENSION_KIT_AWS_ENDPOINT_URL": "http://vpce.example.com:8080",
        "EXTENSION_KIT_AWS_ENDPOINT_URL_S3": "https://192.0.2.9",
    }  # fmt: skip
    judge = Judge("ssm.{region}.amazonaws.com", "*.s3.{region}.amazonaws.com", environ=environ)

    assert judge.connect("vpce.example.com", 8080)
    assert judge.connect("192.0.2.9", 443)
    assert judge.connect("bucket.with.dots.s3.eu-west-1.amazonaws.com")
    assert judge.connect("b.s3.dualstack.eu-west-1.amazonaws.com")
    assert not judge.connect("vpce.example.com", 443)
    assert not Judge("logs.example.com", environ=environ).connect("vpce.example.com", 8080)
    wrong = Judge("ssm.{region}.amazonaws.com", environ={**REGION, "EXTENSION_KIT_AWS_ENDPOINT_URL": "*"})
    assert wrong.connect("ssm.eu-west-1.amazonaws.com")
    assert not wrong.connect("evil.test")


def test_a_region_in_another_name():
    judge = Judge("in.{region}.example.com:8443", "in-{region}.example.com:8443")
    assert judge.connect("in.eu-west-1.example.com", 8443)
    assert judge.connect("in-eu-west-1.example.com", 8443)
    assert not judge.connect("in.eu-west-1.example.com", 443)


@pytest.mark.parametrize(
    ("variables", "host", "port"),
    [
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v1/x"}, "169.254.170.2", 80),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23:8080/v1"}, "169.254.170.23", 8080),
        ({"AWS_LAMBDA_RUNTIME_API": "169.254.100.1:9001"}, "169.254.100.1", 9001),
    ],
)
def test_the_environments_own_endpoints(variables, host, port):
    judge = Judge(environ={**REGION, **variables})

    assert judge.connect(host, port)
    assert not judge.connect(host, port + 1)
    assert not judge.connect("169.254.169.254", 80)


@pytest.mark.parametrize(
    "url", ["http://evil.test/x", "http://192.0.2.1/x", "nonsense", "http://169.254.169.254/latest"]
)
def test_no_endpoint_for_credentials_but_a_local_one(url):
    judge = Judge(environ={"AWS_CONTAINER_CREDENTIALS_FULL_URI": url})
    assert not any(judge.connect(host, 80) for host in ("evil.test", "192.0.2.1", "169.254.169.254"))


# what is let pass: settings, EXTENSION_KIT_EGRESS_ALLOW


class Named(Settings):
    prefix = "NAMED_"
    endpoint = text("", secret=True, names="endpoint", help="x")
    others = comma_list((), names="endpoint", help="x")
    regions = comma_list((), names="region", help="x")
    note = text("", help="no host")


def test_what_settings_name_is_reached_as_soon_as_they_are_known():
    judge = Judge("ssm.{region}.amazonaws.com", "*")
    assert not judge.connect("in.example.com")
    assert not judge.connect("ssm.ap-south-1.amazonaws.com")

    judge.guard.add(
        Named(
            endpoint="https://key@in.example.com/v1?k=1", others=("http://192.0.2.5:8080",), regions=("ap-south-1",),
            note="https://note.example.com",
        )
    )  # fmt: skip

    assert judge.connect("in.example.com")
    assert judge.connect("192.0.2.5", 8080)
    assert judge.connect("ssm.ap-south-1.amazonaws.com")
    assert judge.connect("ssm.eu-west-1.amazonaws.com")
    assert not judge.connect("in.example.com", 80)
    assert not judge.connect("192.0.2.5", 80)
    assert not judge.connect("note.example.com")


@pytest.mark.parametrize(
    "endpoint",
    [
        "*",
        "https://*",
        "https://*.test/",
        "0.0.0.0/0",
        "https://0.0.0.0/0",
        "::/0",
        "*:443",
        "evil.test/../*",
        "[",
        "\\*",
    ],
)
def test_an_endpoint_that_is_wrong_is_no_hole(endpoint):
    judge = Judge("*")
    judge.guard.add(Named(endpoint=endpoint))

    assert not any(judge.connect(host) for host in ("other.test", "192.0.2.1", OTHER))


def test_an_endpoint_that_names_no_host_is_told_once_and_not_shown():
    """By its variable; as soon as it matters, and not again when the rules are made anew."""
    judge = Judge()
    judge.guard.add(Named(endpoint="http://key@a.example:1,http://b.example:2", others=("/tmp/lines", "c.example")))
    assert judge.lines == []

    assert not judge.connect("a.example", 1)
    judge.guard.add(Named())
    assert judge.connect("c.example", 1)

    about = [line for line in judge.lines if "names no host" in line]
    assert len(about) == 1
    assert about[0].startswith("egress guard: NAMED_ENDPOINT has what names no host that could be let pass: use a URL")
    assert "key" not in about[0]


def test_an_endpoint_with_two_forms_is_reached_by_either():
    """Python's own look-up asks for the one, requests and the like for the other."""
    judge = Judge(allow=("weiß.example",))
    judge.guard.add(Named(endpoint="https://straße.example/x"))

    for name in ("straße.example", "strasse.example", "xn--strae-oqa.example", "xn--wei-7ka.example", "weiss.example"):
        assert judge.connect(name), name


def test_what_an_operator_allows():
    judge = Judge(allow=("in.example.com", "*.example.org:8443", "10.0.0.0/8", "[fd00::]/8:443"))

    assert judge.connect("in.example.com", 1)
    assert judge.connect("a.example.org", 8443)
    assert judge.connect("10.255.0.1", 1)
    assert judge.connect("fd00::7", 443)
    assert not judge.connect("a.example.org", 443)
    assert not judge.connect("fd00::7", 80)
    assert not judge.connect("11.0.0.1")


def test_of_a_list_what_is_wrong_is_left_out_and_the_rest_counts():
    settings, warnings = KitSettings.parse(
        {"EXTENSION_KIT_EGRESS_ALLOW": " in.example.com , http://x/, 443,,10.0.0.0/8"}
    )

    assert settings.egress_allow == ("in.example.com", "10.0.0.0/8")
    assert len(warnings) == 1
    assert warnings[0].startswith(
        'EXTENSION_KIT_EGRESS_ALLOW: "http://x/, 443" is not allowed: use a comma-separated list'
    )
    assert KitSettings(egress_allow=("a.example",)).egress_allow == ("a.example",)
    assert host_list(help="x").show(("a", "b")) == "a,b"


# the function's own connections, through a proxy of an extension's


@pytest.mark.parametrize(
    ("on", "passes"), [("true", True), ("1", True), ("", False), ("false", False), ("ture", False)]
)
def test_the_functions_own_connections_pass_while_that_is_on(monkeypatch, on, passes):
    """On the thread that makes them, and only there; what is found meanwhile is not remembered as anybody's."""
    judge = Judge("* when ODD_PROXY", "late.example.com when ODD_PROXY", environ={"ODD_PROXY": on})
    monkeypatch.setattr(egress, "_guard", judge.guard)

    assert not judge.connect("192.0.2.1")
    with egress.OnBehalfOfFunction(), egress.OnBehalfOfFunction():
        assert judge.connect("192.0.2.1", 80) == passes
        assert judge("socket.getaddrinfo", "evil.test", 80) == passes
        judge.found("evil.test", "192.0.2.3")
    assert not judge.connect("192.0.2.1")
    assert not judge.connect("192.0.2.3")
    assert judge.connect("late.example.com") == passes
    assert not judge.guard._passing


def test_without_a_guard_it_changes_nothing(monkeypatch):
    monkeypatch.setattr(egress, "_guard", None)
    with egress.OnBehalfOfFunction():
        pass


def test_a_star_in_a_manifest_is_no_free_pass(monkeypatch):
    """It says that settings name whom it talks to."""
    judge = Judge("*")
    monkeypatch.setattr(egress, "_guard", judge.guard)
    with egress.OnBehalfOfFunction():
        assert not judge.connect("192.0.2.1")
        assert not judge.connect("evil.test")


# manifests beside plug-ins

MANIFEST = """name = "x"
plugins = ["x.plugin:X"]
[capabilities]
hosts = ["logs.example.com", { host = "plain.example.com:80", why = "x" }, { host = "*", when = "ODD" }]
subprocesses = ["tar", { program = "/bin/gzip", why = "x" }]
"""


def test_a_manifest_is_read_as_a_layers_builder_reads_it(tmp_path):
    file = tmp_path / "manifest.toml"
    file.write_text(MANIFEST)

    assert egress_manifest.read(str(file), pytest.fail) == may_of(parse(MANIFEST.encode(), "1"))
    judge = Judge(manifests=[str(file)])
    assert judge.connect("logs.example.com")
    assert judge.connect("plain.example.com", 80)
    assert judge("subprocess.Popen", "tar", [], None, None)
    assert not judge.connect("evil.test")


@pytest.mark.parametrize(
    "content",
    [
        "[",
        "capabilities = 7",
        "[capabilities]\nhosts = [7]",
        "[capabilities]\nhosts = [{}]",
        "[capabilities]\nhosts = [{host = 5}]",
        "[capabilities]\nhosts = [{host = 'a', when = 5}]",
        "[capabilities]\nsubprocesses = [5, {program = 6}]",
        None,
    ],
)
def test_a_manifest_that_cannot_be_read_allows_nothing_and_says_so_once(tmp_path, content):
    file = tmp_path / "manifest.toml"
    if content is not None:
        file.write_text(content)
    judge = Judge(manifests=[str(file)])

    assert not judge.connect("logs.example.com")
    assert not judge.connect("logs.example.org")
    assert judge.connect("127.0.0.1")
    assert sum("cannot be read, so it allows nothing" in line for line in judge.lines) == 1


def test_what_is_no_plugin_has_no_manifest():
    odd = type("Odd", (), {"__module__": None})
    assert egress_manifest.beside(odd) == egress_manifest.beside("no.such.module:X") == ""


def test_the_hosts_of_settings_are_read_by_the_same_rules():
    """What `hosts_in` gives is what a rule of the same text is."""
    assert hosts_in("a.example:1", egress.packed)[0][0].port == 1
