"""Which process holds a port."""

import os
import socket
import sys

from manager.ports import Holder, holder


def test_who_listens_is_named_by_kind_address_and_port() -> None:
    with socket.create_server(("127.0.0.5", 0)) as server, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.6", 0))
        tcp_port, udp_port = server.getsockname()[1], udp.getsockname()[1]
        found = holder("tcp", tcp_port)
        assert found is not None
        assert found.pid == os.getpid()
        assert holder("tcp", tcp_port, "127.0.0.5") == holder("tcp", tcp_port, "0.0.0.0") == found
        assert holder("tcp", tcp_port, "127.0.0.7") is None
        assert holder("udp", udp_port, "127.0.0.6") == found
        assert holder("udp", tcp_port, "127.0.0.5") is None
    assert holder("tcp", tcp_port) is None


def test_who_listens_everywhere_holds_the_port_of_each_address() -> None:
    with socket.create_server(("", 0)) as server:
        found = holder("tcp", server.getsockname()[1], "127.0.0.9")
        assert found is not None
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert holder("tcp", server.getsockname()[1], "::1") == found
    with socket.socket(socket.AF_INET6) as server:
        server.bind(("::ffff:127.0.0.1", 0))
        server.listen()
        assert holder("tcp", server.getsockname()[1], "127.0.0.1") == found


def test_a_program_is_named_by_what_its_interpreter_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = holder("tcp", server.getsockname()[1])
    assert found is not None
    assert not found.command.startswith(os.path.basename(sys.executable))
    assert str(Holder(7, "serf")) == "serf (pid 7)"
