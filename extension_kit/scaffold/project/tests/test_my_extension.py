"""The extension in an execution environment like Lambda's: real processes, sockets and telemetry, frozen between invokes.

``lambda_sandbox`` comes with the kit: one environment for each test, which starts at its first invoke.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from my_extension.plugin import MyExtension

if TYPE_CHECKING:
    from extension_kit.testing import Sandbox


def test_every_line_is_counted(lambda_sandbox: Sandbox) -> None:
    lambda_sandbox.attach(MyExtension, variables={"MY_EXTENSION_WORD": "oh no"})
    lambda_sandbox.invoke(lines=["all is well", "oh no"])
    lambda_sandbox.shutdown()

    assert "[my-extension] spindown: 1 of 2 line(s) held 'oh no'" in lambda_sandbox.lines("my-extension")
    account = lambda_sandbox.account("my-extension")
    assert (account.received, account.delivered, account.dropped, account.pending) == (2, 2, 0, 0)
    assert lambda_sandbox.healthy


def test_no_line_is_lost_while_it_is_frozen(lambda_sandbox: Sandbox) -> None:
    """Between invokes no process runs; a line that was not handed over before comes when it runs again."""
    lambda_sandbox.attach(MyExtension)
    lambda_sandbox.invoke(lines=["ERROR one", "two"])
    assert lambda_sandbox.is_frozen
    lambda_sandbox.thaw()
    assert not lambda_sandbox.is_frozen
    lambda_sandbox.freeze()
    lambda_sandbox.invoke(lines=["ERROR three"])
    lambda_sandbox.shutdown()

    assert "[my-extension] spindown: 2 of 3 line(s) held 'ERROR'" in lambda_sandbox.lines("my-extension")


def test_a_batch_that_comes_twice_is_counted_once(lambda_sandbox: Sandbox) -> None:
    """The platform sends a batch again when it has not heard that it arrived; `extension-kit run --fault list` has more."""
    lambda_sandbox.attach(MyExtension)
    lambda_sandbox.fault("telemetry-duplicated")
    lambda_sandbox.invoke(lines=["ERROR one"])
    lambda_sandbox.shutdown()

    assert "[my-extension] spindown: 1 of 1 line(s) held 'ERROR'" in lambda_sandbox.lines("my-extension")


def test_it_hears_that_a_snapshot_is_resumed(lambda_sandbox: Sandbox) -> None:
    """An hour later, as with SnapStart: what ages must be made anew."""
    lambda_sandbox.attach(MyExtension)
    lambda_sandbox.invoke()
    lambda_sandbox.step_clock(3600)
    lambda_sandbox.invoke()
    lambda_sandbox.shutdown()

    assert "[my-extension] resumed: clock" in lambda_sandbox.lines("my-extension")


def test_a_wrong_setting_does_not_harm_the_function(lambda_sandbox: Sandbox) -> None:
    """One line says what is wrong, the default is used, the function answers."""
    lambda_sandbox.attach(MyExtension, variables={"MY_EXTENSION_WRD": "x", "MY_EXTENSION_WORD": "x" * 201})
    result = lambda_sandbox.invoke(lines=["ERROR"])
    lambda_sandbox.shutdown()

    said = "\n".join(lambda_sandbox.lines("my-extension"))
    assert "MY_EXTENSION_WRD is not a setting and is ignored; did you mean MY_EXTENSION_WORD?" in said
    assert "ERROR is used instead" in said
    assert not result.function_error
    assert lambda_sandbox.healthy
