"""Programs that end with a blocking vault open. Each is a real process; every timeout only guards against hanging."""

from __future__ import annotations

import secrets
import signal
import sys
import textwrap
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager

import apsw
import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import PATIENCE, Process, World
from tests.acceptance.test_library import connect, settings_of
from tests.acceptance.test_service_life import wait_for_refresh
from tests.docs.pages import block

from cloudbeds_auth import sync as blocking

pytestmark = [pytest.mark.row("F106"), pytest.mark.long]  # processes that live for seconds

# A module of the program's own: opened when it is imported, and closed by nobody.
HOTELS = """
    import contextlib
    from cloudbeds_auth.sync import TokenVault

    stack = contextlib.ExitStack()
    vault = stack.enter_context(TokenVault.open())
"""
PROGRAMS_OWN = """
    from cloudbeds_auth.sync import TokenVault

    vault = TokenVault.from_environment()
"""
DOCUMENTED = block("docs/python.md#import")
BUSY = """
    from cloudbeds_auth.sync import TokenVault

    vault = TokenVault.open(upkeep=True).__enter__()
"""
# Begins a refresh, for which a daemon thread waits, and goes on when the test says so.
REFRESHING = """
    import sys, threading
    from cloudbeds_auth import Error
    from hotels import stack, vault

    def refresh():
        try:
            vault.refresh(sys.argv[1])
        except Error:
            pass

    threading.Thread(target=refresh, daemon=True).start()

    sys.stdin.readline()
"""
WAIT = """
    sys.stdin.readline()
"""
INTERRUPTED = """
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
"""
# Says when the main thread waits for the vault's end.
WATCH = """
    def watch():
        main = threading.main_thread().ident
        while "LoopThread.close_at_exit" not in " ".join(names(sys._current_frames()[main])):
            time.sleep(0.01)
        print("waiting", flush=True)

    def names(frame):
        while frame is not None:
            yield frame.f_code.co_qualname
            frame = frame.f_back

    import time
    threading.Thread(target=watch, daemon=True).start()
"""


@contextmanager
def program(made: World, *arguments: str, main: str, hotels: str = HOTELS) -> Iterator[Process]:
    """A program of two modules, in a folder of its own."""
    folder = made.folder / "program"
    folder.mkdir(exist_ok=True)
    (folder / "hotels.py").write_text(textwrap.dedent(hotels), "utf-8")
    (folder / "main.py").write_text(textwrap.dedent(main), "utf-8")
    python = [sys.executable, "-W", "ignore::DeprecationWarning"]  # of a fork beside threads, since Python 3.12
    process = Process("main.py", *arguments, env=made.settings, cwd=folder, command=python)
    try:
        yield process
    finally:
        process.stop(signal.SIGKILL)


def ends(process: Process) -> list[str]:
    """What it printed, on either output; it ends by itself, with status 0."""
    status = process.popen.wait(PATIENCE)
    process._reader.join(PATIENCE)
    assert status == 0, process.output
    return process.lines


def say(process: Process) -> None:
    """A line on its standard input."""
    assert process.popen.stdin
    process.popen.stdin.write("\n")
    process.popen.stdin.flush()


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """A vendor whose hotel approves at once."""
    return make_world("--auto-approve", CLOUDBEDS_AUTH_TOKEN_TIMEOUT="20")


@pytest.fixture
def connection(made: World) -> str:
    """A connected hotel."""
    with blocking.TokenVault.open(settings_of(made)) as vault:
        return connect(vault)


def generation(made: World, connection: str) -> int | None:
    """As it is stored."""
    with blocking.TokenVault.open(settings_of(made)) as vault:
        return vault.connection(connection).generation


@pytest.mark.parametrize(
    "hotels", [HOTELS, PROGRAMS_OWN, DOCUMENTED, BUSY], ids=["kept", "the program's own", "documented", "with upkeep"]
)
def test_a_script_that_opens_at_import(made: World, connection: str, hotels: str) -> None:
    """It works, ends by itself, and prints nothing of ours."""
    main = """
        import sys
        from hotels import vault
        print(vault.access_token(sys.argv[1]).generation)
    """
    with program(made, connection, main=main, hotels=hotels) as process:
        assert ends(process) == ["1"]


@pytest.mark.parametrize("closer", ["stack.close", "vault.close"])
def test_closed_from_atexit(made: World, connection: str, closer: str) -> None:
    """As a program does that knows no better moment: in silence."""
    main = f"""
        import atexit, sys
        from hotels import stack, vault
        atexit.register({closer})
        print(vault.access_token(sys.argv[1]).generation)
    """
    with program(made, connection, main=main) as process:
        assert ends(process) == ["1"]


def test_a_program_that_fails(made: World) -> None:
    """Its own traceback is all that is printed."""
    with program(made, main='from hotels import vault\nraise SystemExit("no hotels")') as process:
        assert process.popen.wait(PATIENCE) == 1
        process._reader.join(PATIENCE)
        assert process.lines == ["no hotels"]


def test_threads_that_outlive_the_main_one(made: World, connection: str) -> None:
    """The program ends with its last thread: until then the vault is open."""
    main = """
        import sys, threading
        from concurrent.futures import ThreadPoolExecutor
        from hotels import vault

        def ask():
            threading.main_thread().join()
            print(vault.refresh(sys.argv[1]).generation, flush=True)

        threading.Thread(target=ask).start()
    """
    with program(made, connection, main=main) as process:
        assert ends(process) == ["2"]


@pytest.fixture
def held(made: World, connection: str) -> None:
    """The next refresh is carried out by the vendor, and not answered until the faults are dropped."""
    made.vendor.control("faults", target="token", kind="hang_after")


def let_go(made: World) -> None:
    """The answer comes."""
    made.vendor.control("faults", "DELETE")


ASYNCHRONOUS = """
    from cloudbeds_auth import TokenVault

    vault = TokenVault.from_environment()
"""


def test_the_asynchronous_kind(made: World, connection: str) -> None:
    """Used by one event loop after another, and closed by nobody: it works, the program ends, and prints nothing."""
    main = """
        import asyncio, sys
        from hotels import vault

        async def ask():
            print((await vault.access_token(sys.argv[1])).generation)

        asyncio.run(ask())
        asyncio.run(ask())
    """
    with program(made, connection, main=main, hotels=ASYNCHRONOUS) as process:
        assert ends(process) == ["1", "1"]


@pytest.mark.usefixtures("held")
def test_an_event_loop_that_ends_before_the_answer_comes(made: World, connection: str) -> None:
    """Whoever waited is cancelled with its loop; the answer is waited for, and the pair is committed."""
    main = """
        import asyncio, sys
        from hotels import vault

        async def ask():
            task = asyncio.create_task(vault.refresh(sys.argv[1]))
            await asyncio.to_thread(sys.stdin.readline)
            print("ending", flush=True)

        asyncio.run(ask())
    """
    with program(made, connection, main=main, hotels=ASYNCHRONOUS) as process:
        wait_for_refresh(made, "hang_after", "issued")
        say(process)
        process.wait_for("ending")
        let_go(made)
        assert ends(process) == ["ending"]
    assert generation(made, connection) == 2
    assert made.vendor.counts() == {"issued": 1}


@pytest.mark.usefixtures("held")
def test_a_refresh_under_way(made: World, connection: str) -> None:
    """The answer is waited for, and the pair is committed when the process has ended."""
    with program(made, connection, main=REFRESHING.replace(WAIT, WATCH + WAIT)) as process:
        wait_for_refresh(made, "hang_after", "issued")
        say(process)
        process.wait_for("waiting")
        assert process.popen.poll() is None
        let_go(made)
        assert ends(process) == ["waiting"]
    assert generation(made, connection) == 2
    assert made.vendor.counts() == {"issued": 1}


def test_over_postgresql(make_world: MakeWorld, postgres_url: str) -> None:
    """With nothing under way, and with a refresh, which is committed."""
    key = b64encode(secrets.token_bytes(32)).decode()
    made = make_world(
        "--auto-approve", CLOUDBEDS_AUTH_DATABASE_URL=postgres_url, CLOUDBEDS_AUTH_ENCRYPTION_KEYS=key,
        CLOUDBEDS_AUTH_ADMIN_TOKEN=secrets.token_hex(32), CLOUDBEDS_AUTH_TOKEN_TIMEOUT="20",
    )  # fmt: skip
    with blocking.TokenVault.open(settings_of(made)) as vault:
        connection = connect(vault)
    main = "import sys\nfrom hotels import vault\nprint(vault.access_token(sys.argv[1]).generation)"
    with program(made, connection, main=main) as process:
        assert ends(process) == ["1"]
    made.vendor.control("faults", target="token", kind="hang_after")
    with program(made, connection, main=REFRESHING) as process:
        wait_for_refresh(made, "hang_after", "issued")
        say(process)
        let_go(made)
        assert ends(process) == []
    assert generation(made, connection) == 2


@pytest.mark.usefixtures("held")
def test_ctrl_c_twice(made: World, connection: str) -> None:
    """The second ends it at once, although the answer is not there; the parent token works."""
    with program(made, connection, main=REFRESHING.replace(WAIT, WATCH + INTERRUPTED)) as process:
        wait_for_refresh(made, "hang_after", "issued")
        process.popen.send_signal(signal.SIGINT)
        process.wait_for("waiting")
        process.popen.send_signal(signal.SIGINT)
        assert ends(process) == ["waiting"]
    assert generation(made, connection) == 1
    parent_works(made)


def parent_works(made: World) -> None:
    """The vendor takes the first refresh token, which is the one that is stored."""
    assert made.vendor.control("state", "GET")["grants"][0]["pairs"][0]["refresh_accepted"]


@pytest.mark.usefixtures("held")
def test_a_pair_that_cannot_be_committed(made: World, connection: str) -> None:
    """Five seconds after the answer the process ends, in silence; the parent token works."""
    with program(made, connection, main=REFRESHING) as process:
        wait_for_refresh(made, "hang_after", "issued")
        with closing(apsw.Connection(f"{made.folder}/hotels.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            say(process)
            let_go(made)
            assert ends(process) == []
            other.execute("ROLLBACK")
    assert generation(made, connection) == 1
    parent_works(made)


@pytest.mark.usefixtures("held")
def test_closed_by_a_signal_handler(made: World, connection: str) -> None:
    """While the main thread itself waits for the answer: that is committed, and the program goes on to its end."""
    main = """
        import signal, sys
        from hotels import vault

        def stop(number, frame):
            print("stopping", flush=True)
            vault.close()
            sys.exit()

        signal.signal(signal.SIGTERM, stop)
        vault.refresh(sys.argv[1])
    """
    with program(made, connection, main=main) as process:
        wait_for_refresh(made, "hang_after", "issued")
        process.popen.send_signal(signal.SIGTERM)
        process.wait_for("stopping")
        let_go(made)
        assert ends(process) == ["stopping"]
    assert generation(made, connection) == 2


@pytest.mark.usefixtures("held")
def test_children_of_a_program_that_opened_before_it_forked(made: World, connection: str) -> None:
    """As a server does that loads its application first. A child ends by itself, whether it used the vault or not, and
    does not wait for the answer that its parent waits for.
    """
    forking = """
    import os
    for uses in (True, False):
        child = os.fork()
        if child == 0:
            if uses:
                print("child", vault.connection(sys.argv[1]).generation, flush=True)
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    print("parent", flush=True)
    """
    with program(made, connection, main=REFRESHING + forking) as process:
        wait_for_refresh(made, "hang_after", "issued")
        say(process)
        process.wait_for("parent")
        let_go(made)
        assert ends(process) == ["child 1", "0", "0", "parent"]
    assert generation(made, connection) == 2


def test_a_pool_of_forked_processes(made: World, connection: str) -> None:
    """Each opens a vault of its own at its first call, and ends with the pool."""
    main = """
        import multiprocessing, sys
        from concurrent.futures import ProcessPoolExecutor
        from hotels import vault

        def ask(connection):
            return vault.access_token(connection).generation

        with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            print(*pool.map(ask, sys.argv[1:] * 4))
        print(ask(sys.argv[1]))
    """
    with program(made, connection, main=main) as process:
        assert ends(process) == ["1 1 1 1", "1"]


@pytest.mark.usefixtures("held")
def test_a_process_of_multiprocessing(made: World, connection: str) -> None:
    """Before Python 3.13 it runs no `atexit` functions when it ends: a refresh under way is committed all the same."""
    main = """
        import multiprocessing, sys, threading
        from cloudbeds_auth import Error
        from hotels import vault

        def refresh(connection):
            try:
                vault.refresh(connection)
            except Error:  # VaultClosed, where the process still lives when the caller is told
                pass

        def ask(connection, end):
            threading.Thread(target=refresh, args=[connection], daemon=True).start()
            end.wait()

        fork = multiprocessing.get_context("fork")
        end = fork.Event()
        child = fork.Process(target=ask, args=[sys.argv[1], end])
        child.start()
        sys.stdin.readline()
        end.set()
        child.join(0.5)
        print("ending", flush=True)
        child.join()
        print("parent", child.exitcode)
    """
    with program(made, connection, main=main) as process:
        wait_for_refresh(made, "hang_after", "issued")
        say(process)
        process.wait_for("ending")
        let_go(made)
        assert ends(process) == ["ending", "parent 0"]
    assert generation(made, connection) == 2
